"""The format of exporter configurations, and the files that they are in."""

import json
import stat
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumpstarter.common.exceptions import ArgumentError, ConfigurationError
from jumpstarter.config.common import CONFIG_API_VERSION
from jumpstarter.config.exporter import (
    ExporterConfigV1Alpha1,
    ExporterConfigV1Alpha1DriverInstance,
    FailureDetectionConfigV1Alpha1,
    HookConfigV1Alpha1,
    HookInstanceConfigV1Alpha1,
    ObjectMeta,
    TLSConfigV1Alpha1,
)
from jumpstarter.config.jsonschema import json_schema

Entry = ExporterConfigV1Alpha1DriverInstance

SEED = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: demo
endpoint: grpc.jumpstarter.example.com:443
token: xxxxx
export:
  dutlink:                                        # name of the driver instance
    type: jumpstarter_driver_dutlink.driver.Dutlink   # fully qualified Python class
    config:                                       # parameters of that class
      storage_device: "/dev/disk/by-id/usb-SanDisk_3.2_Gen_1_5B4C0AB025C0-0:0"
  power:                                          # a second driver for the same device
    type: jumpstarter_driver_dutlink.driver.DutlinkPower
    config:
      serial: "c415a913"
"""

FULL = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {namespace: null, name: demo}
tls: {ca: Zm9v, insecure: true}
grpcOptions: {grpc.keepalive_time_ms: 5000, grpc.primary_user_agent: lab}
description: The board by the window
motd: Mind the fan
export:
  group:
    description: Everything of one board
    children:
      power: {type: a.b.Power, description: Mains, methods_description: {"on": Light}, config: {serial: "1"}}
      again: {ref: group.power}
      empty: {children: {}}
hooks:
  beforeLease: {script: echo hi, exec: /bin/bash, timeout: 10, onFailure: endLease}
  afterLease: {script: echo bye}
failureDetection: {maxRapidFailures: 3, rapidFailureWindow: 30}
exitOnLeaseEnd: true
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JMP_NAMESPACE", raising=False)
    monkeypatch.delenv("JMP_NAME", raising=False)


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders of the user and of the machine."""
    user, system = tmp_path / "user", tmp_path / "system"
    system.mkdir()
    monkeypatch.setattr(ExporterConfigV1Alpha1, "BASE_PATH", user)
    monkeypatch.setattr(ExporterConfigV1Alpha1, "SYSTEM_CONFIG_PATH", system)
    return user, system


def load(tmp_path: Path, text: str) -> ExporterConfigV1Alpha1:
    path = tmp_path / "lab.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return ExporterConfigV1Alpha1.load_path(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a text, without the folder of its file."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def with_head(text: str) -> str:
    return "metadata: {namespace: default, name: demo}\n" + dedent(text)


def test_the_usual_file_for_a_controller_loads(tmp_path: Path) -> None:
    config = load(tmp_path, SEED)
    assert (config.apiVersion, config.kind) == (CONFIG_API_VERSION, "ExporterConfig")
    assert config.metadata == ObjectMeta(namespace="default", name="demo")
    assert (config.endpoint, config.token) == ("grpc.jumpstarter.example.com:443", "xxxxx")
    assert (config.alias, config.path) == ("lab", tmp_path / "lab.yaml")
    assert config.export["power"].type == "jumpstarter_driver_dutlink.driver.DutlinkPower"
    assert config.export["power"].config == {"serial": "c415a913"}


def test_every_key_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, FULL) == ExporterConfigV1Alpha1(
        metadata=ObjectMeta(namespace=None, name="demo"),
        tls=TLSConfigV1Alpha1(ca="Zm9v", insecure=True),
        grpcOptions={"grpc.keepalive_time_ms": 5000, "grpc.primary_user_agent": "lab"},
        description="The board by the window",
        motd="Mind the fan",
        export={
            "group": Entry(
                description="Everything of one board",
                children={
                    "power": Entry(
                        type="a.b.Power",
                        description="Mains",
                        methods_description={"on": "Light"},
                        config={"serial": "1"},
                    ),
                    "again": Entry(ref="group.power"),
                    "empty": Entry(),
                },
            )
        },
        hooks=HookConfigV1Alpha1(
            before_lease=HookInstanceConfigV1Alpha1(
                script="echo hi", exec_="/bin/bash", timeout=10, on_failure="endLease"
            ),
            after_lease=HookInstanceConfigV1Alpha1(script="echo bye"),
        ),
        failure_detection=FailureDetectionConfigV1Alpha1(max_rapid_failures=3, rapid_failure_window=30),
        exit_on_lease_end=True,
    )


def test_the_other_spelling_of_keys_is_read_too(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        with_head("""\
        hooks:
          before_lease: {script: a, exec_: b, on_failure: exit}
          after_lease: {script: c}
        failureDetection: {max_rapid_failures: 1, rapid_failure_window: 2}
        """),
    )
    assert config.hooks.before_lease == HookInstanceConfigV1Alpha1(script="a", exec_="b", on_failure="exit")
    assert config.hooks.after_lease == HookInstanceConfigV1Alpha1(script="c")
    assert config.failure_detection == FailureDetectionConfigV1Alpha1(max_rapid_failures=1, rapid_failure_window=2)


def test_a_key_with_nothing_below_it_is_empty(tmp_path: Path) -> None:
    config = load(tmp_path, with_head("tls:\ngrpcOptions:\nhooks:\nfailureDetection:\nexport:\ntoken:\n"))
    assert config == ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace="default", name="demo"))


def test_namespace_and_name_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JMP_NAMESPACE", "lab")
    monkeypatch.setenv("JMP_NAME", "board")
    assert load(tmp_path, "metadata: {}\n").metadata == ObjectMeta(namespace="lab", name="board")
    assert load(tmp_path, "metadata:\n  name: mine\n").metadata == ObjectMeta(namespace="lab", name="mine")
    assert problems(tmp_path, "export: {}\n") == ["lab.yaml:1:1 file: missing 'metadata'"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("endpont: x", ["2:1 endpont: unknown key; did you mean 'endpoint'?"]),
        ("grpc_options: {}", ["2:1 grpc_options: unknown key; did you mean 'grpcOptions'?"]),
        ("tls: {zzz: 1}", ["2:7 tls.zzz: unknown key; known here: ca, insecure"]),
        ("kind: ClientConfig", ["2:1 kind: expected 'ExporterConfig', got 'ClientConfig' (str)"]),
        (
            "apiVersion: jumpstarter.dev/v1",
            [
                "2:1 apiVersion: expected 'jumpstarter.dev/v1alpha1', got 'jumpstarter.dev/v1' (str); "
                "did you mean 'jumpstarter.dev/v1alpha1'?"
            ],
        ),
        ("endpoint: 8080", ['2:1 endpoint: expected str or nothing (null), got 8080 (int); write it as "8080"']),
        ("description: off", ['2:1 description: expected str or nothing (null), got off (bool); write it as "off"']),
        ("motd: 0017", ['2:1 motd: expected str or nothing (null), got 0017 (int); write it as "0017"']),
        ("token: 4711", ["2:1 token: expected str or nothing (null), got int; the value is not shown"]),
        ("tls: yes", ["2:1 tls: expected mapping, got True (bool)"]),
        ("tls: {insecure: 1}", ["2:7 tls.insecure: expected bool, got 1 (int)"]),
        (
            "grpcOptions: {grpc.x: [1]}",
            ['2:15 grpcOptions."grpc.x": expected str or int, got [1] (list)'],
        ),
        ("hooks: {beforeLease: {}}", ["2:9 hooks.beforeLease: missing 'script'"]),
        (
            "hooks: {beforeLease: {script: a, timeout: 0, onFailure: endlease}}",
            [
                "2:34 hooks.beforeLease.timeout: expected at least 1, got 0",
                "2:46 hooks.beforeLease.onFailure: expected 'warn', 'endLease' or 'exit', got 'endlease' (str); "
                "did you mean 'endLease'?",
            ],
        ),
        (
            "hooks:\n  beforeLease: {script: a}\n  before_lease: {script: b}",
            ["4:3 hooks.before_lease: the same as 'beforeLease'"],
        ),
        ("exitOnLeaseEnd: 'yes'", ["2:1 exitOnLeaseEnd: expected bool, got 'yes' (str)"]),
        ("1: 2", ['2:1 1: YAML reads this key as int; write it as "1"']),
        ("export: [a]", ["2:1 export: expected mapping, got ['a'] (list)"]),
    ],
)
def test_what_is_wrong_with_a_key(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems(tmp_path, with_head(text)) == [f"lab.yaml:{line}" for line in expected]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("a:", "3:3 export.a: expected an entry, got nothing (null); give it 'type', 'children' or 'ref'"),
        ("a: {}", "3:3 export.a: neither a driver, a composite nor a reference; give it 'type', 'children' or 'ref'"),
        ("a: x.y.Z", "3:3 export.a: expected an entry, got 'x.y.Z' (str); write 'type: x.y.Z'"),
        ("a: {typ: x.y.Z}", "3:7 export.a.typ: unknown key; did you mean 'type'?"),
        ("a: {type: }", "3:7 export.a.type: expected str, got nothing (null)"),
        ("a: {type: 5}", '3:7 export.a.type: expected str or nothing (null), got 5 (int); write it as "5"'),
        ("a: {type: x.Y, port: 5}", "3:18 export.a.port: unknown key; parameters of the driver belong under 'config'"),
        (
            "a: {type: x.Y, b: {type: x.Z}}",
            "3:18 export.a.b: unknown key; entries below this one belong under 'children'",
        ),
        ("a: {type: x.Y, ref: b}", "3:18 export.a.ref: 'ref' and 'type' exclude each other; remove one of them"),
        ("a: {children: {}, ref: b}", "3:21 export.a.ref: 'ref' and 'children' exclude each other; remove one of them"),
        (
            "a: {children: {}, config: {b: 1}}",
            "3:21 export.a.config: has no meaning for a composite; it belongs to an entry with 'type'",
        ),
        (
            "a: {ref: b, description: c}",
            "3:15 export.a.description: has no meaning for a reference; it belongs to an entry with 'type'",
        ),
        ("a: {type: x.Y, config: 5}", "3:18 export.a.config: expected mapping, got 5 (int)"),
        ("a: {type: x.Y, config: {on: 5}}", '3:27 export.a.config.on: YAML reads this key as bool; write it as "on"'),
        ("off: {type: x.Y}", '3:3 export.off: YAML reads this key as bool; write it as "off"'),
        (
            "a: {type: x.Y, methods_description: {'on': 5}}",
            '3:40 export.a.methods_description.on: expected str, got 5 (int); write it as "5"',
        ),
        (
            "a: {type: x.Y, methods_description: {on: Light}}",
            '3:40 export.a.methods_description.on: YAML reads this key as bool; write it as "on"',
        ),
        ("a: {children: {b: {reff: 1}}}", "3:22 export.a.children.b.reff: unknown key; did you mean 'ref'?"),
    ],
)
def test_what_is_wrong_with_an_entry(tmp_path: Path, entry: str, expected: str) -> None:
    assert problems(tmp_path, with_head(f"export:\n  {entry}\n")) == [f"lab.yaml:{expected}"]


def test_an_entry_without_parameters_may_say_so(tmp_path: Path) -> None:
    config = load(tmp_path, with_head("export: {a: {type: x.Y, config: null, children: null}}"))
    assert config.export == {"a": Entry(type="x.Y")}


def test_everything_wrong_is_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
        metadata:
          nam: demo
        export:
          a: {typ: x}
        endpont: y
        """
    assert problems(tmp_path, text) == [
        "lab.yaml:1:1 metadata: missing 'namespace'; write it here, or set JMP_NAMESPACE",
        "lab.yaml:2:3 metadata.nam: unknown key; did you mean 'name'?",
        "lab.yaml:4:7 export.a.typ: unknown key; did you mean 'type'?",
        "lab.yaml:5:1 endpont: unknown key; did you mean 'endpoint'?",
    ]


def test_a_token_is_not_shown() -> None:
    config = ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace=None, name="a"), token="hush")
    assert "hush" not in repr(config)


def test_entries_made_in_python_may_be_plain_data() -> None:
    export: Any = {"a": {"type": "x.Y"}, "b": Entry(ref="a")}
    config = ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace=None, name="a"), export=export)
    assert config.export == {"a": Entry(type="x.Y"), "b": Entry(ref="a")}
    export = {"a": {"typ": "x.Y"}}
    with pytest.raises(ConfigurationError, match=r"^a\.typ: unknown key; did you mean 'type'\?$"):
        ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace=None, name="a"), export=export)


def test_saved_files_are_private_whole_and_read_the_same(tmp_path: Path, homes: tuple[Path, Path]) -> None:
    config = load(tmp_path, FULL)
    config.token = "hush"
    path = ExporterConfigV1Alpha1.save(config)
    assert path == homes[0] / "lab.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["lab.yaml"]
    assert ExporterConfigV1Alpha1.load("lab") == config


def test_defaults_are_not_written() -> None:
    config = ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace=None, name="a"))
    assert ExporterConfigV1Alpha1.dump_yaml(config) == dedent("""\
        apiVersion: jumpstarter.dev/v1alpha1
        kind: ExporterConfig
        metadata:
          namespace: null
          name: a
        export: {}
        """)


def test_saving_over_a_link_keeps_the_link(tmp_path: Path) -> None:
    target, link = tmp_path / "kept" / "lab.yaml", tmp_path / "link.yaml"
    link.symlink_to(target)
    config = ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace=None, name="a"))
    ExporterConfigV1Alpha1.save(config, link)
    assert link.is_symlink()
    assert ExporterConfigV1Alpha1.load_path(target) == config


def test_the_users_files_go_before_the_machines(homes: tuple[Path, Path]) -> None:
    user, system = homes
    (system / "a.yaml").write_text("metadata: {namespace: null, name: machine}\n")
    (system / "b.yaml").write_text("metadata: {namespace: null, name: machine}\n")
    ExporterConfigV1Alpha1.save(ExporterConfigV1Alpha1(metadata=ObjectMeta(namespace=None, name="mine"), alias="a"))
    (user / "c.yaml").write_text("nonsense\n")
    listed = ExporterConfigV1Alpha1.list()
    assert [(config.alias, config.metadata.name) for config in listed.items] == [("a", "mine"), ("b", "machine")]
    assert listed.problems == [f"{user}/c.yaml:1:1 file: expected a mapping (key: value), got a str"]
    assert ExporterConfigV1Alpha1.exists("a")
    assert ExporterConfigV1Alpha1.delete("a") == user / "a.yaml"
    assert ExporterConfigV1Alpha1.load("a").metadata.name == "machine"
    with pytest.raises(FileNotFoundError, match="there is no exporter configuration 'a'"):
        ExporterConfigV1Alpha1.delete("a")


def test_a_missing_configuration_names_the_places_where_it_could_be(homes: tuple[Path, Path]) -> None:
    user, system = homes
    assert not ExporterConfigV1Alpha1.exists("lab")
    with pytest.raises(ConfigurationError) as caught:
        ExporterConfigV1Alpha1.load("lab")
    assert str(caught.value) == (
        f"there is no exporter configuration 'lab'; put it in {user / 'lab.yaml'} or {system / 'lab.yaml'}"
    )


@pytest.mark.parametrize("alias", ["", ".", "..", "../lab", "a/b", "a\\b", "a\0b"])
def test_an_alias_is_no_path(alias: str) -> None:
    with pytest.raises(ArgumentError):
        ExporterConfigV1Alpha1.load(alias)


def test_the_schema_knows_every_key() -> None:
    schema = json_schema()
    json.dumps(schema)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["metadata"]
    hooks = schema["properties"]["hooks"]["anyOf"][0]["properties"]
    assert hooks["beforeLease"]["anyOf"][0]["properties"]["onFailure"]["enum"] == ["warn", "endLease", "exit"]
    assert [sorted(kind["required"]) for kind in schema["$defs"]["entry"]["oneOf"]] == [["type"], ["children"], ["ref"]]


texts = st.text(max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
drivers = st.builds(
    Entry,
    type=texts,
    description=st.none() | texts,
    methods_description=st.dictionaries(texts, texts, max_size=2),
    config=st.dictionaries(texts, plain, max_size=3),
)
entries = st.recursive(
    drivers | st.builds(Entry, ref=texts),
    lambda inner: st.builds(Entry, description=st.none() | texts, children=st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
configs = st.builds(
    ExporterConfigV1Alpha1,
    metadata=st.builds(ObjectMeta, namespace=st.none() | texts, name=texts),
    endpoint=st.none() | texts,
    token=st.none() | texts,
    tls=st.builds(TLSConfigV1Alpha1, ca=texts, insecure=st.booleans()),
    grpcOptions=st.dictionaries(texts, texts | st.integers(), max_size=2),
    description=st.none() | texts,
    export=st.dictionaries(texts, entries, max_size=3),
    hooks=st.builds(HookConfigV1Alpha1, before_lease=st.none() | st.builds(HookInstanceConfigV1Alpha1, script=texts)),
    exit_on_lease_end=st.booleans(),
)


@given(configs)
@settings(max_examples=40)
def test_what_is_written_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, config: ExporterConfigV1Alpha1
) -> None:
    path = tmp_path_factory.getbasetemp() / "same.yaml"
    path.write_text(ExporterConfigV1Alpha1.dump_yaml(config), encoding="utf-8")
    assert ExporterConfigV1Alpha1.load_path(path) == config


keys = st.sampled_from(["apiVersion", "metadata", "name", "namespace", "export", "type", "config", "children", "ref"])
nonsense = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | texts, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(keys | texts, nonsense, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_data_is_a_configuration_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    try:
        ExporterConfigV1Alpha1.load_path(path)
    except ConfigurationError as e:
        assert all(line.startswith(f"{path}:") for line in str(e).splitlines())
