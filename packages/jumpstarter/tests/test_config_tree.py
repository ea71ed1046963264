"""From configurations to driver trees: all is checked before a driver is made."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.config.exporter import (
    ExporterConfigV1Alpha1,
    ExporterConfigV1Alpha1DriverInstance,
    ObjectMeta,
    check_file,
)
from jumpstarter.config.problems import InvalidConfigurationError

Entry = ExporterConfigV1Alpha1DriverInstance
LIST = "; jmp driver list shows those that are installed"

MODULES = {
    "lab_drivers/__init__.py": "",
    "lab_drivers/driver.py": """
        from abc import ABCMeta, abstractmethod
        from dataclasses import dataclass, field
        from enum import Enum
        from pathlib import Path
        from typing import Literal

        from jumpstarter.driver import Driver
        from pydantic import Field, field_validator
        from pydantic.dataclasses import dataclass as pydantic_dataclass

        made = []
        closed = []

        class Color(Enum):
            RED = "red"
            GREEN = "green"

        @dataclass(kw_only=True)
        class Base(Driver):
            @classmethod
            def client(cls):
                return "jumpstarter.client.DriverClient"

            def __post_init__(self):
                super().__post_init__()
                made.append(type(self).__name__)

            def close(self):
                closed.append(type(self).__name__)
                super().close()

        @dataclass(kw_only=True)
        class Lamp(Base):
            port: int
            host: str = "localhost"
            path: Path = Path("/dev/null")
            side: Literal["host", "dut"] = "host"
            color: Color = Color.RED
            limits: dict[str, list[float]] = field(default_factory=dict)
            password: str | None = None
            alias: str = None
            state: str = field(default="off", init=False)

        class Bare(Lamp):
            pass

        @pydantic_dataclass(kw_only=True)
        class Model(Base):
            port: int = Field(ge=1)
            names: list[str] = Field(default_factory=list)
            tags: list[str] = Field(default_factory=list)

            @field_validator("tags", mode="before")
            @classmethod
            def split(cls, value):
                return value.split() if isinstance(value, str) else value

            @field_validator("names")
            @classmethod
            def few(cls, value):
                if len(value) > 2:
                    raise ValueError("more than two names")
                return value

        class Written(Base):
            def __init__(self, url: str, **kwargs):
                super().__init__(**kwargs)
                self.url = url

        class Narrow(Base):
            def __init__(self, url: "str"):
                super().__init__()
                self.url = url

        @dataclass(kw_only=True)
        class Hub(Base):
            def __post_init__(self):
                super().__post_init__()
                self.children["left"] = Lamp(port=1)

        class Broken(Base):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                raise OSError(5, "no such bus")

        class Strict(Base):
            def __post_init__(self):
                from jumpstarter.common.exceptions import ConfigurationError
                raise ConfigurationError("needs a child 'power'")

        class Half(Driver, metaclass=ABCMeta):
            @abstractmethod
            def on(self):
                ...

        class NoDriver:
            pass

        def lamp():
            pass
        """,
    "lab_drivers/base.py": """
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import TYPE_CHECKING
        from lab_drivers.driver import Base
        if TYPE_CHECKING:
            from nowhere import Unknown
        Here = int

        @dataclass(kw_only=True)
        class Remote(Base):
            count: Here
            other: Unknown = None
        """,
    "lab_drivers/derived.py": """
        from dataclasses import dataclass
        from lab_drivers.base import Remote

        @dataclass(kw_only=True)
        class Derived(Remote):
            more: list[str]
        """,
    "lab_drivers/composed.py": """
        from dataclasses import dataclass
        from jumpstarter_driver_composite.driver import Composite
        from lab_drivers.driver import Lamp

        @dataclass(kw_only=True)
        class Harness(Composite):
            inner: str = "lamp"

            def __post_init__(self):
                super().__post_init__()
                self.children[self.inner] = Lamp(port=1)
        """,
    "lab_drivers/needs_usb.py": "import a_library_that_is_not_here\n",
    "lab_drivers/typo.py": "def on(:\n    pass\n",
    "lab_drivers/leaves.py": "raise SystemExit(3)\n",
}


@pytest.fixture(scope="module", autouse=True)
def lab_drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A package of drivers, as another author would write it."""
    folder = tmp_path_factory.mktemp("site")
    for name, source in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(dedent(source))
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab_drivers"]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def made() -> list[str]:
    """Names of the driver classes that were made, in their order."""
    from lab_drivers.driver import closed, made  # pyright: ignore

    made.clear()  # pyright: ignore
    closed.clear()  # pyright: ignore
    return made  # pyright: ignore


@pytest.fixture
def closed() -> list[str]:
    """Names of the driver classes that were closed."""
    from lab_drivers.driver import closed  # pyright: ignore

    return closed  # pyright: ignore


@pytest.fixture
def composite() -> None:
    """The drivers that hold a tree together are a package of their own."""
    pytest.importorskip("jumpstarter_driver_composite.driver")


def make(text: str) -> Any:
    return Entry.from_str(dedent(text)).instantiate()


def lines_of(error: BaseException) -> list[str]:
    assert isinstance(error, InvalidConfigurationError)
    assert error.problems == str(error).splitlines()
    return error.problems


def entry_problems(text: str) -> list[str]:
    """What is wrong with an entry; looking for it makes no driver."""
    with pytest.raises(ConfigurationError) as caught:
        Entry.from_str(dedent(text)).check()
    return [line.removeprefix("<string>:") for line in lines_of(caught.value)]


def tree(export: str, tmp_path: Path) -> ExporterConfigV1Alpha1:
    path = tmp_path / "lab.yaml"
    path.write_text("metadata: {namespace: null, name: a}\nexport:\n" + indent(dedent(export), "  "))
    return ExporterConfigV1Alpha1.load_path(path)


def tree_problems(export: str, tmp_path: Path) -> list[str]:
    """What is wrong with a tree, without the folder of its file; positions count from its third line."""
    config = tree(export, tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        config.check()
    return [line.replace(f"{tmp_path}/", "") for line in lines_of(caught.value)]


def test_parameters_arrive_as_the_class_annotates_them() -> None:
    lamp = make("""\
        type: lab_drivers.driver.Lamp
        description: Over the desk
        methods_description: {"on": Light}
        config:
          port: 80.0
          path: /dev/lamp
          side: dut
          color: green
          limits: {amps: [1, 2.5]}
          alias: null
          log_level: DEBUG
          labels: {room: "7"}
        """)
    assert (lamp.port, type(lamp.port)) == (80, int)
    assert (lamp.host, lamp.path, lamp.side) == ("localhost", Path("/dev/lamp"), "dut")
    assert lamp.color.name == "GREEN"
    assert lamp.limits == {"amps": [1.0, 2.5]}
    assert (lamp.description, lamp.methods_description) == ("Over the desk", {"on": "Light"})
    assert (lamp.alias, lamp.log_level, lamp.labels) == (None, "DEBUG", {"room": "7"})


@pytest.mark.parametrize("name", ["Lamp", "Bare", "Model"])
def test_every_kind_of_class_is_checked_alike(name: str) -> None:
    assert make(f"{{type: lab_drivers.driver.{name}, config: {{port: 80}}}}").port == 80
    entry = f"type: lab_drivers.driver.{name}\nconfig:\n  "
    assert entry_problems(f"{entry}port: '80'\n  prot: 1\n") == [
        "3:3 config.port: expected int, got '80' (str); write it without quotes",
        f"4:3 config.prot: unknown parameter of {name}; did you mean 'port'?",
    ]
    assert entry_problems(f"{entry}prot: 1\n") == [
        f"3:3 config.prot: unknown parameter of {name}; did you mean 'port'?"
    ]
    assert entry_problems(f"{entry}port: yes\n") == ["3:3 config.port: expected int, got True (bool)"]
    assert entry_problems(f"type: lab_drivers.driver.{name}\n") == [
        f"1:1 file: {name} needs the parameter 'port' (int) under 'config'"
    ]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("color: blue", "3:3 config.color: expected 'red' or 'green', got 'blue' (str)"),
        ("side: dud", "3:3 config.side: expected 'host' or 'dut', got 'dud' (str); did you mean 'dut'?"),
        ("host: 0127", '3:3 config.host: expected str, got 0127 (int); write it as "0127"'),
        ("host: off", '3:3 config.host: expected str, got off (bool); write it as "off"'),
        ("limits:\n    amps:\n      - 1\n      - x", "6:9 config.limits.amps[1]: expected float, got 'x' (str)"),
        ("password: 4711", "3:3 config.password: expected str or nothing (null), got int; the value is not shown"),
        ("state: on", "3:3 config.state: unknown parameter of Lamp; Lamp sets it itself"),
        (
            "zzz: 1",
            "3:3 config.zzz: unknown parameter of Lamp; "
            "it takes port, host, path, side, color, limits, password, alias",
        ),
        ("description: x", "3:3 config.description: belongs beside 'type', not under 'config'"),
        ("children: {}", "3:3 config.children: belongs beside 'type', not under 'config'"),
        ("uuid: x", "3:3 config.uuid: expected UUID, got 'x' (str)"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_position(config: str, expected: str) -> None:
    assert entry_problems(f"type: lab_drivers.driver.Lamp\nconfig:\n  {config}\n  port: 1\n") == [expected]


def test_what_pydantic_classes_check_themselves_is_left_to_them() -> None:
    model = make("{type: lab_drivers.driver.Model, config: {port: 1, tags: a b}}")
    assert model.tags == ["a", "b"]
    text = "{type: lab_drivers.driver.Model, config: {port: 0, names: [a, b, c]}}"
    with pytest.raises(ConfigurationError) as caught:
        make(text)
    assert lines_of(caught.value) == [
        "<string>:1:43 config.port: lab_drivers.driver.Model: Input should be greater than or equal to 1",
        "<string>:1:52 config.names: lab_drivers.driver.Model: Value error, more than two names",
    ]
    assert type(caught.value.__cause__).__name__ == "ValidationError"


def test_constructors_written_by_hand_take_what_they_say() -> None:
    assert make("{type: lab_drivers.driver.Written, config: {url: a, log_level: DEBUG}}").log_level == "DEBUG"
    assert make("{type: lab_drivers.driver.Narrow, config: {url: a}}").url == "a"
    assert entry_problems("{type: lab_drivers.driver.Written, config: {url: 1, log_level: 2}}") == [
        '1:45 config.url: expected str, got 1 (int); write it as "1"',
        '1:53 config.log_level: expected str, got 2 (int); write it as "2"',
    ]
    assert entry_problems("{type: lab_drivers.driver.Narrow, config: {url: 1, log_level: a}, description: b}") == [
        '1:44 config.url: expected str, got 1 (int); write it as "1"',
        "1:52 config.log_level: unknown parameter of Narrow; it takes url",
        "1:67 description: Narrow takes no description",
    ]


def test_annotations_are_resolved_where_the_base_class_stands() -> None:
    derived = make("{type: lab_drivers.derived.Derived, config: {count: 1, other: [any], more: [a]}}")
    assert (derived.count, derived.other, derived.more) == (1, ["any"], ["a"])
    assert entry_problems("{type: lab_drivers.derived.Derived, config: {count: a, more: [1]}}") == [
        "1:46 config.count: expected int, got 'a' (str)",
        '1:63 config.more[0]: expected str, got 1 (int); write it as "1"',
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "jumpstarter_driver_nosuch.driver.Thing",
            "package 'jumpstarter_driver_nosuch' is not installed; pip install jumpstarter-driver-nosuch",
        ),
        ("lab_drivers.drivr.Lamp", "package 'lab_drivers' has no module 'drivr'; did you mean 'driver'?"),
        ("lab_drivers.driver.Lmap", "module 'lab_drivers.driver' has no class 'Lmap'; did you mean 'Lamp'?"),
        ("lab_drivers.derived.Zzz", "module 'lab_drivers.derived' has no class 'Zzz'; its drivers: Remote, Derived"),
        (
            "lab_drivers.driver.lamp",
            "function 'lamp' is no driver: it does not derive from jumpstarter.driver.Driver" + LIST,
        ),
        (
            "lab_drivers.driver.NoDriver",
            "class 'NoDriver' is no driver: it does not derive from jumpstarter.driver.Driver" + LIST,
        ),
        ("lab_drivers.driver.Half", "class 'Half' is no complete driver: it does not define on"),
        (
            "lab_drivers.needs_usb.Lamp",
            "module 'lab_drivers.needs_usb' is there, but cannot be imported: "
            "ModuleNotFoundError: No module named 'a_library_that_is_not_here' (needs_usb.py line 1)",
        ),
        (
            "lab_drivers.typo.Lamp",
            "module 'lab_drivers.typo' is there, but cannot be imported: SyntaxError: invalid syntax (typo.py, line 1)",
        ),
        (
            "lab_drivers.leaves.Lamp",
            "module 'lab_drivers.leaves' is there, but cannot be imported: SystemExit: 3 (leaves.py line 1)",
        ),
        ("Zzz", "'Zzz' is not the dotted path of a class" + LIST),
        ("lab_drivers.", "'lab_drivers.' is not the dotted path of a class" + LIST),
        ("lab drivers.Lamp", "'lab drivers.Lamp' is not the dotted path of a class" + LIST),
        (".driver.Lamp", "'.driver.Lamp' is not the dotted path of a class" + LIST),
    ],
)
def test_a_class_that_cannot_be_had(path: str, message: str) -> None:
    assert entry_problems(f"type: {path}") == [f"1:1 type: {message}"]


@pytest.mark.usefixtures("composite")
def test_the_path_of_a_driver_is_suggested_by_its_short_name() -> None:
    assert entry_problems("type: Composite") == [
        "1:1 type: 'Composite' is not the dotted path of a class; "
        "did you mean 'jumpstarter_driver_composite.driver.Composite'?"
    ]
    assert entry_problems("type: jumpstarter_driver_composit.driver.Composite") == [
        "1:1 type: package 'jumpstarter_driver_composit' is not installed; "
        "pip install jumpstarter-driver-composit (or did you mean 'jumpstarter_driver_composite'?)"
    ]


def test_an_error_of_a_constructor_names_entry_and_class(closed: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make("""\
            type: lab_drivers.driver.Bare
            config: {port: 1}
            children:
              good: {type: lab_drivers.driver.Lamp, config: {port: 2}}
              bad: {type: lab_drivers.driver.Broken}
            """)
    assert lines_of(caught.value) == [
        "<string>:5:3 children.bad: lab_drivers.driver.Broken cannot be made: OSError: [Errno 5] no such bus"
    ]
    assert isinstance(caught.value.__cause__, OSError)
    assert closed == ["Lamp"]


def test_a_configuration_error_of_a_constructor_is_told_in_its_own_words() -> None:
    with pytest.raises(ConfigurationError, match=r"^<string>:1:1 file: lab_drivers\.driver\.Strict: needs a child"):
        make("type: lab_drivers.driver.Strict")


def test_checking_makes_no_driver(made: list[str]) -> None:
    entry = Entry.from_str("{type: lab_drivers.driver.Lamp, config: {port: 1}}")
    entry.check()
    assert made == []
    entry.instantiate()
    assert made == ["Lamp"]


def test_one_wrong_parameter_keeps_all_drivers_from_being_made(made: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        make("""\
            type: lab_drivers.driver.Base
            children:
              good: {type: lab_drivers.driver.Lamp, config: {port: 2}}
              bad: {type: lab_drivers.driver.Lamp, config: {port: a}}
            """)
    assert made == []


def test_an_entry_made_in_python_has_no_position() -> None:
    assert Entry(type="lab_drivers.driver.Lamp", config={"port": 1}).instantiate().name == "unknown"
    entry = Entry(
        type="lab_drivers.driver.Base",
        children={"lamp": Entry(type="lab_drivers.driver.Lamp", config={"port": "a", "hots": "b"})},
    )
    with pytest.raises(ConfigurationError) as caught:
        entry.instantiate()
    assert lines_of(caught.value) == [
        "children.lamp.config.port: expected int, got 'a' (str)",
        "children.lamp.config.hots: unknown parameter of Lamp; did you mean 'host'?",
    ]


def test_an_entry_may_have_a_file_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "lamp.yaml"
    path.write_text("type: lab_drivers.driver.Lamp\nconfig: {port: x}\n")
    with pytest.raises(ConfigurationError, match=r"lamp\.yaml:2:10 config\.port: expected int"):
        Entry.from_path(path).instantiate()


@pytest.mark.usefixtures("composite")
class TestTree:
    """Composites and references, which another package brings."""

    def test_a_tree_is_made_of_drivers_composites_and_references(self, tmp_path: Path) -> None:
        config = tree(
            """\
            again: {ref: group.lamp}
            group:
              description: Everything of one board
              children:
                lamp: {type: lab_drivers.driver.Lamp, config: {port: 1}}
                more: {ref: again}
            """,
            tmp_path,
        )
        config.description = "Lab"
        root = config.instantiate()
        names = [(name, type(driver).__name__) for _, _, name, driver in root.enumerate()]
        assert names == [
            (None, "Composite"),
            ("again", "Lamp"),
            ("group", "Composite"),
            ("lamp", "Lamp"),
            ("more", "Lamp"),
        ]
        assert root.description == "Lab"
        assert root.children["group"].description == "Everything of one board"

    def test_a_driver_that_is_not_installed_is_named_with_what_to_install(self, tmp_path: Path) -> None:
        problems = tree_problems(
            """\
            dutlink:
              type: jumpstarter_driver_gadgetron.driver.Dutlink
              config: {storage_device: /dev/sda}
            """,
            tmp_path,
        )
        assert problems == [
            "lab.yaml:4:5 export.dutlink.type: package 'jumpstarter_driver_gadgetron' is not installed; "
            "pip install jumpstarter-driver-gadgetron"
        ]

    def test_everything_wrong_with_a_file_is_reported_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "lab.yaml"
        path.write_text(
            dedent("""\
            metadata: {namespace: null, name: a}
            endpont: x
            export:
              a: {typ: lab_drivers.driver.Lamp}
              b: {type: lab_drivers.driver.Lamp, config: {port: x}}
              c: {type: lab_drivers.driver.Lmap}
            """)
        )
        with pytest.raises(ConfigurationError) as caught:
            check_file(path)
        assert [line.removeprefix(f"{tmp_path}/") for line in lines_of(caught.value)] == [
            "lab.yaml:2:1 endpont: unknown key; did you mean 'endpoint'?",
            "lab.yaml:4:7 export.a.typ: unknown key; did you mean 'type'?",
            "lab.yaml:5:47 export.b.config.port: expected int, got 'x' (str)",
            "lab.yaml:6:7 export.c.type: module 'lab_drivers.driver' has no class 'Lmap'; did you mean 'Lamp'?",
        ]

    def test_a_file_without_faults_is_fine(self, tmp_path: Path, made: list[str]) -> None:
        tree("a: {type: lab_drivers.driver.Lamp, config: {port: 1}}", tmp_path)
        check_file(tmp_path / "lab.yaml")
        assert made == []

    @pytest.mark.parametrize(
        ("export", "expected"),
        [
            ("a: {ref: b}", "3:7 export.a.ref: there is no entry 'b'"),
            (
                "lamp: {children: {}}\nb: {ref: lmap}",
                "4:7 export.b.ref: there is no entry 'lmap'; did you mean 'lamp'?",
            ),
            ("a: {ref: ''}", "3:7 export.a.ref: there is no entry ''"),
            ("a: {ref: a}", "3:7 export.a.ref: the reference leads back to itself (a -> a)"),
            ("a: {ref: b}\nb: {ref: a}", "4:7 export.b.ref: the reference leads back to itself (a -> b -> a)"),
            (
                "a: {children: {b: {ref: a}}}",
                "3:22 export.a.children.b.ref: the reference leads back to itself (a -> a.b -> a)",
            ),
            ("a: {ref: a.b}", "3:7 export.a.ref: the reference leads back to itself (a -> a)"),
        ],
    )
    def test_a_reference_that_leads_nowhere(self, tmp_path: Path, export: str, expected: str) -> None:
        assert tree_problems(export, tmp_path) == [f"lab.yaml:{expected}"]

    def test_references_that_multiply_are_refused(self, tmp_path: Path) -> None:
        lines = ["c0: {type: lab_drivers.driver.Base}"]
        lines += [f"c{i + 1}: {{children: {{a: {{ref: c{i}}}, b: {{ref: c{i}}}}}}}" for i in range(30)]
        assert tree_problems("\n".join(lines), tmp_path) == [
            "lab.yaml:15:3 export.c12: more than 10000 entries, with references followed"
        ]

    def test_references_in_a_long_row_are_refused(self, tmp_path: Path) -> None:
        lines = [f"c{i}: {{ref: c{i + 1}}}" for i in range(2000)]
        lines.append("c2000: {type: lab_drivers.driver.Base}")
        assert tree_problems("\n".join(lines), tmp_path) == [
            "lab.yaml:67:3 export.c64: more than 64 entries from the root to here"
        ]

    def test_references_within_references_are_refused_where_they_are_too_many(self, tmp_path: Path) -> None:
        lines = [f"c{i}: {{ref: c{i + 1}.x}}" for i in range(2000)]
        lines.append("c2000: {children: {x: {type: lab_drivers.driver.Base}}}")
        assert tree_problems("\n".join(lines), tmp_path) == [
            "lab.yaml:68:3 export.c65: more than 64 references in a row"
        ]

    def test_a_reference_to_a_child_that_a_driver_makes_itself(self, tmp_path: Path, closed: list[str]) -> None:
        hub = "hub: {type: lab_drivers.driver.Hub}\n"
        root = tree(f"{hub}lamp: {{ref: hub.left}}", tmp_path).instantiate()
        assert [name for _, _, name, _ in root.enumerate()] == [None, "hub", "left", "lamp"]
        config = tree(f"{hub}lamp: {{ref: hub.right}}", tmp_path)
        config.check()
        with pytest.raises(
            ConfigurationError,
            match=r":4:10 export\.lamp\.ref: 'hub' \(Hub\) has no driver 'right' below it; it has left",
        ):
            config.instantiate()
        assert closed == ["Hub", "Lamp"]

    def test_a_composite_of_another_author_is_checked_like_ours(self, tmp_path: Path, closed: list[str]) -> None:
        harness = "harness: {type: lab_drivers.composed.Harness, "
        root = tree(f"{harness}children: {{power: {{ref: harness.lamp}}}}}}", tmp_path).instantiate()
        assert [name for _, _, name, _ in root.enumerate()] == [None, "harness", "power", "lamp"]
        hides = "the name 'stream' hides an attribute of the client object; choose another"
        assert tree_problems(f"{harness}children: {{stream: {{ref: harness.lamp}}}}}}", tmp_path) == [
            f"lab.yaml:3:60 export.harness.children.stream: {hides}"
        ]
        with pytest.raises(ConfigurationError, match=hides):
            tree(f"{harness}config: {{inner: stream}}}}", tmp_path).instantiate()
        assert closed == ["Lamp"]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("call", "export.call: the name 'call' hides an attribute of the client object; choose another"),
            ("a.b", "export.\"a.b\": the name of an entry cannot contain '.'"),
            ("a/b", "export.a/b: the name of an entry cannot contain '/'"),
            ('"a\\e"', "export.\"a\\x1b\": the name of an entry cannot contain '\\x1b'"),
            ("''", 'export."": the name of an entry is empty'),
        ],
    )
    def test_names_that_no_entry_can_have(self, tmp_path: Path, name: str, expected: str) -> None:
        assert tree_problems(f"{name}: {{type: lab_drivers.driver.Base}}", tmp_path) == [f"lab.yaml:3:3 {expected}"]

    def test_the_socket_of_a_configuration_is_gone_when_it_is_no_longer_served(self, tmp_path: Path) -> None:
        config = tree("lamp: {type: lab_drivers.driver.Lamp, config: {port: 1}}", tmp_path)
        with config.serve_unix() as path:
            assert Path(path).is_socket()
        assert not Path(path).exists()


class Without:
    """Finds no package of a name."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_tree_needs_the_package_of_composites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("jumpstarter_driver_composite")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Without("jumpstarter_driver_composite"), *sys.meta_path])
    assert tree_problems("a: {children: {}}", tmp_path) == [
        "lab.yaml:2:1 export: package 'jumpstarter_driver_composite' is not installed; "
        "pip install jumpstarter-driver-composite"
    ]


def test_loading_and_making_needs_no_pydantic(tmp_path: Path) -> None:
    pytest.importorskip("jumpstarter_driver_composite.driver")
    program = """
import json, sys
from jumpstarter.config.exporter import ExporterConfigV1Alpha1, ObjectMeta
export = {"a": {"type": "jumpstarter_driver_composite.driver.Composite", "config": {"log_level": "INFO"}}}
ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace=None, name="a"), export=export).instantiate()
print(json.dumps([name for name in ("pydantic", "rich", "grpc") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == []


names = st.sampled_from("abc")
refs = st.lists(names, min_size=1, max_size=3).map(".".join)
entries = st.recursive(
    st.builds(Entry, ref=refs) | st.just(Entry(type="lab_drivers.driver.Hub")),
    lambda inner: st.builds(Entry, children=st.dictionaries(names, inner, max_size=3)),
    max_leaves=8,
)


@pytest.mark.usefixtures("composite")
@given(st.dictionaries(names, entries, min_size=1, max_size=3))
@settings(max_examples=150)
def test_a_tree_that_passes_the_check_can_be_told_to_a_client(export: dict[str, Entry]) -> None:
    config = ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace=None, name="a"), export=export)
    try:
        root = config.instantiate()
    except ConfigurationError as e:
        assert lines_of(e)
        return
    assert len(root.enumerate()) >= 1
