"""Composite and Proxy, over the wire where clients see them."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
import types
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner
from jumpstarter.client.core import DriverError
from jumpstarter.common import utils
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export
from jumpstarter_driver_composite.client import CompositeClient
from jumpstarter_driver_composite.driver import Composite, CompositeInterface, Proxy, check_child_name
from jumpstarter_driver_composite.names import RESERVED_NAMES


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; children and their methods are known at run time only."""
    return utils.serve(root)


def bench(devices: types.ModuleType, **more: Driver) -> Composite:
    """A tree of two levels."""
    return Composite(
        children={
            "desk": Composite(children={"lamp": devices.Lamp(text="desk lamp")}),
            "lamp": devices.Lamp(),
            **more,
        }
    )


class Harness(CompositeInterface, Driver):
    """A composite with methods."""

    @export
    def stage(self, number: int) -> str:
        return f"stage {number}"

    @export
    def count(self) -> int:
        return len(self.children)


class TestNames:
    def test_reserved_names_are_the_public_attributes_of_the_client(self) -> None:
        attributes = {*dir(CompositeClient), *(field.name for field in dataclasses.fields(CompositeClient))}
        assert {name for name in attributes if not name.startswith("_")} == RESERVED_NAMES

    @pytest.mark.parametrize("name", ["call", "stream", "close", "children", "cli", "name", "__dict__", "_where", ""])
    def test_a_name_that_hides_an_attribute_is_refused(self, name: str, devices: types.ModuleType) -> None:
        assert check_child_name(name)
        with pytest.raises(ConfigurationError, match="name"):
            Composite(children={name: devices.Lamp()})

    @pytest.mark.parametrize("name", ["power", "my-board", "0", "on", "read"])
    def test_other_names_are_fine(self, name: str, devices: types.ModuleType) -> None:
        assert check_child_name(name) is None
        with serve(Composite(children={name: devices.Lamp()})) as client:
            assert getattr(client, name).light() == "on"

    def test_a_child_that_a_subclass_adds_later_is_checked_before_it_is_served(self, devices: types.ModuleType) -> None:
        root = Composite()
        root.children["call"] = devices.Lamp()
        with pytest.raises(ConfigurationError, match="'call' hides"), serve(root):
            pass

    def test_an_exporter_does_not_import_the_client(self) -> None:
        code = (
            "import sys, jumpstarter_driver_composite.driver;"
            "bad = {'click', 'grpc', 'pydantic', 'jumpstarter.client'} & set(sys.modules); assert not bad, bad"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestClient:
    def test_children_are_attributes_at_every_level(self, devices: types.ModuleType) -> None:
        with serve(bench(devices)) as client:
            assert client.lamp.light() == "on"
            assert client.desk.lamp.light() == "desk lamp"
            assert client.desk.lamp is client.children["desk"].children["lamp"]
            assert {"lamp", "desk", "call"} <= set(dir(client))

    def test_an_unknown_child_is_an_attribute_error_with_a_suggestion(self, devices: types.ModuleType) -> None:
        with serve(bench(devices)) as client:
            with pytest.raises(AttributeError, match=r"the root .* 'lmap'; did you mean 'lamp'\? .*desk, lamp"):
                _ = client.lmap
            with pytest.raises(AttributeError, match=r"desk .*'power' .*children: lamp"):
                _ = client.desk.power
            assert not hasattr(client, "power")

    def test_a_client_without_fields_yet_can_be_asked_for_attributes(self) -> None:
        blank = CompositeClient.__new__(CompositeClient)
        assert not hasattr(blank, "lamp")
        assert copy.copy(blank) is not blank

    def test_a_custom_composite_fills_its_children_itself(self, devices: types.ModuleType) -> None:
        @dataclass(kw_only=True)
        class Board(CompositeInterface, Driver):
            def __post_init__(self) -> None:
                super().__post_init__()
                self.children["lamp"] = devices.Lamp(text="board")

            @export
            def hello(self) -> str:
                return f"hello from {len(self.children)}"

        with serve(Composite(children={"board": Board()})) as client:
            assert client.board.lamp.light() == "board"
            assert client.board.call("hello") == "hello from 1"

    def test_every_child_is_reset_and_closed_once(self, devices: types.ModuleType) -> None:
        root = bench(devices)
        with serve(root):
            pass
        lamps: list[Any] = [root.children["lamp"], root.children["desk"].children["lamp"]]
        assert [(lamp.resets, lamp.closes) for lamp in lamps] == [(1, 1), (1, 1)]


class TestCommands:
    def run(self, root: Driver, *args: str) -> Any:
        with serve(root) as client:
            return CliRunner().invoke(client.cli(), args)

    def test_a_child_is_a_command_and_only_the_chosen_one_is_made(self, devices: types.ModuleType) -> None:
        result = self.run(bench(devices), "desk", "lamp", "light")
        assert (result.output, result.exit_code) == ("desk lamp\n", 0)
        assert devices.LampClient.made <= 2  # click asks once more for the command that it runs

    def test_help_lists_the_exporters_description_before_the_clients_own(self, devices: types.ModuleType) -> None:
        root = bench(devices, aisle=devices.Lamp(description="Above the aisle"))
        output = self.run(root, "--help").output
        assert "Use the devices of this group" in output
        assert [line.split(maxsplit=1) for line in output.splitlines()[-3:]] == [
            ["desk", "Use the devices of this group."],
            ["lamp", "A lamp."],
            ["aisle", "Above the aisle"],
        ]

    def test_children_with_descriptions_are_listed_without_their_commands(self, devices: types.ModuleType) -> None:
        root = Composite(children={"a": devices.Lamp(description="first"), "b": devices.Lamp(description="second")})
        assert "second" in self.run(root, "--help").output
        assert devices.LampClient.made == 0

    def test_the_description_of_the_composite_is_its_help(self, devices: types.ModuleType) -> None:
        root = Composite(description="The left bench", children={"lamp": devices.Lamp()})
        assert "The left bench" in self.run(root, "--help").output

    def test_children_without_commands_of_their_own_have_generic_ones(
        self, devices: types.ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("_JMP_SUPPRESS_DRIVER_WARNINGS", "1")
        root = bench(devices, silent=devices.Silent(), foreign=devices.Foreign())
        output = self.run(root, "--help").output
        assert "lamp" in output
        assert "silent" in output
        assert self.run(root, "foreign", "light").output == "on\n"

    def test_methods_of_the_composite_itself_are_there_where_it_has_no_client_of_its_own(
        self, devices: types.ModuleType
    ) -> None:
        harness = Harness(children={"lamp": devices.Lamp(), "count": devices.Lamp()})
        with serve(harness) as client:
            assert client.stage(2) == "stage 2"
            assert client.count.light() == "on"  # children go first, as they always did
            with pytest.raises(ValueError, match="number: expected int"):
                client.stage("two")
        assert self.run(harness, "stage", "2").output == "stage 2\n"
        assert self.run(harness, "count", "light").output == "on\n"

    def test_a_wrong_command_is_a_usage_error_with_a_suggestion(self, devices: types.ModuleType) -> None:
        result = self.run(bench(devices), "lmap", "light")
        assert result.exit_code == 2
        assert "no command 'lmap'; did you mean 'lamp'?" in result.output

    def test_a_subclass_adds_commands_to_those_of_the_children(self, devices: types.ModuleType) -> None:
        with serve(bench(devices)) as client:
            group = client.cli()

            @group.command()
            def all_off() -> None:
                """Switch all lamps off."""

            listed = CliRunner().invoke(group, ["--help"]).output
            assert "all-off" in listed
            assert "lamp" in listed
            assert CliRunner().invoke(group, ["all-off"]).exit_code == 0

    def test_log_level_reaches_the_group_and_nobody_else(self, devices: types.ModuleType) -> None:
        import logging

        other = logging.getLogger("other").getEffectiveLevel()
        root = logging.getLogger().level
        with serve(bench(devices)) as client:
            assert CliRunner().invoke(client.cli(), ["--log-level", "debug", "lamp", "light"]).exit_code == 0
            assert client.desk.lamp.logger.level == logging.DEBUG
        assert logging.getLogger("other").getEffectiveLevel() == other
        assert logging.getLogger().level == root


class TestProxy:
    def test_a_proxy_is_its_target_under_another_name(self, devices: types.ModuleType) -> None:
        with serve(bench(devices, also=Proxy(ref="desk.lamp"), side=Proxy(ref="desk"))) as client:
            assert client.also.light() == "desk lamp"
            assert client.also.uuid == client.desk.lamp.uuid
            assert client.side.lamp.light() == "desk lamp"

    def test_a_proxy_may_come_before_its_target_and_lead_through_others(self, devices: types.ModuleType) -> None:
        tree = Composite(
            children={
                "first": Proxy(ref="second"),
                "through": Proxy(ref="table.lamp"),
                "second": Proxy(ref="lamp"),
                "table": Proxy(ref="desk"),
                "desk": Composite(children={"lamp": devices.Lamp(text="desk lamp")}),
                "lamp": devices.Lamp(),
            }
        )
        with serve(tree) as client:
            assert client.first.light() == "on"
            assert client.through.light() == "desk lamp"

    def test_a_target_is_reset_and_closed_once(self, devices: types.ModuleType) -> None:
        root = bench(devices, also=Proxy(ref="lamp"), again=Proxy(ref="lamp"))
        with serve(root):
            pass
        lamp: Any = root.children["lamp"]
        assert (lamp.resets, lamp.closes) == (1, 1)

    def test_python_code_reaches_the_target_once_the_tree_is_served(self, devices: types.ModuleType) -> None:
        proxy: Any = Proxy(ref="lamp")
        assert not hasattr(proxy, "text")
        with pytest.raises(AttributeError, match=r"'text'.*'lamp' has no target before"):
            _ = proxy.text
        with serve(bench(devices, also=proxy)):
            assert proxy.text == "on"
            assert proxy.light() == "on"
            assert not hasattr(proxy, "nothing")

    def test_a_proxy_can_be_copied(self) -> None:
        assert copy.deepcopy(Proxy(ref="a.b")).ref == "a.b"

    @pytest.mark.parametrize(
        ("ref", "problem"),
        [
            ("lmap", r"there is no driver 'lmap' at the root of the tree; did you mean 'lamp'\?"),
            ("desk.light", r"there is no driver 'light' in 'desk'"),
            ("lamp.bulb", r"there is no driver 'bulb' in 'lamp'"),
            ("", r"there is no driver ''"),
            ("desk.", r"there is no driver '' in 'desk'"),
        ],
    )
    def test_a_missing_target_names_proxy_and_ref(self, ref: str, problem: str, devices: types.ModuleType) -> None:
        root = bench(devices, also=Proxy(ref=ref))
        with pytest.raises(ConfigurationError, match=f"proxy 'also' with ref {ref!r}: {problem}"), serve(root):
            pass

    @pytest.mark.parametrize(
        "children",
        [
            {"a": Proxy(ref="a")},
            {"a": Proxy(ref="b"), "b": Proxy(ref="a")},
            {"a": Proxy(ref="b.c"), "b": Proxy(ref="a")},
            {"a": Proxy(ref="b"), "b": Proxy(ref="c"), "c": Proxy(ref="b")},
            {"a": Composite(children={"b": Proxy(ref="a")})},
            {"a": Composite(children={"b": Proxy(ref="c")}), "c": Composite(children={"d": Proxy(ref="a")})},
        ],
        ids=["itself", "each other", "through a child", "two others", "its parent", "two composites"],
    )
    def test_a_cycle_is_a_configuration_error(self, children: dict[str, Driver]) -> None:
        with pytest.raises(ConfigurationError, match=r"proxy '.*' with ref '.*': the reference leads back to itself"):
            Composite(children=children).enumerate()

    def test_a_proxy_to_the_same_target_twice_is_no_cycle(self, devices: types.ModuleType) -> None:
        tree = Composite(
            children={
                "one": Composite(children={"lamp": Proxy(ref="lamp")}),
                "two": Composite(children={"lamp": Proxy(ref="one.lamp"), "all": Proxy(ref="one")}),
                "lamp": devices.Lamp(),
            }
        )
        with serve(tree) as client:
            assert client.two.all.lamp.light() == "on"

    def test_a_proxy_alone_has_no_target(self) -> None:
        with pytest.raises(ConfigurationError, match="no driver 'lamp' at the root"), serve(Proxy(ref="lamp")):
            pass

    def test_the_error_of_a_target_reaches_the_client(self, devices: types.ModuleType) -> None:
        with serve(bench(devices, also=Proxy(ref="lamp"))) as client, pytest.raises(DriverError, match=r"also\.dim"):
            client.also.call("dim")
