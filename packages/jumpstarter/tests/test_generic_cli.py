"""The command line that is made for a driver without one, over a real socket."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from jumpstarter.cli.devices import describe, describe_as_json
from jumpstarter.client import DriverClient
from jumpstarter.common import utils
from jumpstarter.driver import Driver, export
from pydantic import SecretStr
from takers import Colour, Taker


class Bench(Taker):
    """What is on the left bench.

    All of it.
    """

    @export
    def toggle(self, channel: int, wait: float = 0.0, dry_run: bool = False, colour: Colour = Colour.RED) -> bool:
        """Switch a channel over; returns whether it is on now.

        It clicks.
        """
        return channel > 0 and not dry_run

    @export
    def nothing(self) -> None:
        pass

    @export
    def text(self) -> str:
        return "\x1b[31mred\u202e\nnext"

    @export
    def state(self) -> dict[str, Any]:
        return {"name": "left", "on": True, "volts": [5.0, 3.3], "since": None}

    @export
    def names(self) -> list[str]:
        return ["a", "b c"]

    @export
    def watch(self, count: int = 3) -> Generator[dict[str, int]]:
        """Show the changes."""
        for i in range(count):
            yield {"i": i}

    @export
    def help(self, help: str = "me") -> str:
        return help

    @export
    def log_in(self, user: str, password: SecretStr) -> str:
        return f"{user} {len(password.get_secret_value())}"

    @export
    def fail(self) -> None:
        raise OSError("relay stuck")


def run(driver: Driver, *args: str, input: str | bytes = "", as_json: bool = False) -> Result:
    """A command of the driver's client."""
    client: Any
    with utils.serve(driver) as client:
        command: click.Command = client.cli()

        def invoke() -> None:
            with command.make_context("j bench", list(args)) as context:
                context.meta["jumpstarter.output"] = "json" if as_json else None
                command.invoke(context)

        @click.command(add_help_option=False)
        def whole() -> None:
            invoke()

        return CliRunner().invoke(whole, [], input=input)


HELP = """\
Usage: j bench toggle [OPTIONS] CHANNEL

  Switch a channel over; returns whether it is on now.

  It clicks.

Options:
  --channel INT             [required]
  --wait FLOAT              [default: 0.0]
  --dry-run / --no-dry-run  [default: false]
  --colour [RED|GREEN]      [default: RED]
  --timeout SECONDS         Give up after that time.  [x>0]
  --help                    Show this message and exit.
"""


def test_help_of_a_command() -> None:
    assert run(Bench(), "toggle", "--help").output == HELP


GROUP_HELP = """\
Usage: j bench [OPTIONS] COMMAND [ARGS]...

  What is on the left bench.

Options:
  --help  Show this message and exit.

Commands:
  off   Make it dark
  on    Make it shine.
  side  The one beside it
"""


class Lamp(Driver):
    """What is on the left bench."""

    @export
    def on(self) -> None:
        """Make it shine.

        At once.
        """

    @export
    def off(self) -> None:
        """Make it dark."""


def test_help_of_a_device() -> None:
    lamp = Lamp(methods_description={"off": "Make it dark"}, children={"side": Lamp(description="The one beside it")})
    assert run(lamp, "--help").output == GROUP_HELP
    assert run(lamp, "side", "on").exit_code == 0


@pytest.mark.parametrize(
    ("name", "texts", "arrived"),
    [
        ("bool", ["--value"], "True"),
        ("bool", ["--no-value"], "False"),
        ("bool", ["yes"], "True"),
        ("int", ["2"], "2"),
        ("int", ["-5"], "-5"),
        ("int", ["--value", "-5"], "-5"),
        ("int", ["--value=0x10"], "16"),
        ("int", ["010"], "10"),
        ("int", [str(2**70)], str(2**70)),
        ("float", ["-1.5"], "-1.5"),
        ("float", ["-inf"], "-inf"),
        ("str", ["-5"], "'-5'"),
        ("str", ["--", "--help"], "'--help'"),
        ("str", ["ü"], "'ü'"),
        ("bytes", ["de:ad be ef"], "b'\\xde\\xad\\xbe\\xef'"),
        ("bytes", ["-"], "b'from\\xffstdin'"),
        ("uuid", ["12345678-1234-5678-1234-567812345678"], "UUID('12345678-1234-5678-1234-567812345678')"),
        ("path", ["/a/b"], "/a/b"),
        ("datetime", ["2030-01-31T12:00"], "2030-01-31T12:00:00"),
        ("date", ["2030-01-31"], "2030-01-31"),
        ("time", ["12:30"], "12:30:00"),
        ("timedelta", ["90"], "0:01:30"),
        ("timedelta", ["1h30m"], "1:30:00"),
        ("decimal", ["1.10"], "1.10"),
        ("list", ["1", "-2", "3"], "[1, -2, 3]"),
        ("list", ["--value", "1", "--value", "2"], "[1, 2]"),
        ("list", ["[]"], "[]"),
        ("pair", ["1", "a"], "(1, 'a')"),
        ("pair", ["--value", "1", "a"], "(1, 'a')"),
        ("tuple", ["1", "2"], "(1, 2)"),
        ("set", ["b", "a", "b"], "['a', 'b']"),
        ("dict", ["a=1", "b=2"], "{'a': 1, 'b': 2}"),
        ("dict", ["--value", '{"a": 1}', "--value", "b=2"], "{'a': 1, 'b': 2}"),
        ("optional", [], "5"),
        ("optional", ["--value", "7"], "7"),
        ("optional", ["--value", "null"], "None"),
        ("optional-list", ["--value", "7"], "[7]"),
        ("union", ["7"], "7"),
        ("union", ["x"], "'x'"),
        ("literal", ["high"], "'high'"),
        ("literal", ["3"], "3"),
        ("enum", ["GREEN"], "GREEN"),
        ("enum", ["green"], "GREEN"),
        ("enum", ["red"], "RED"),
        ("point", ["x=1"], "Point(x=1, y=0.5)"),
        ("point", ['{"x": 1, "y": 2}'], "Point(x=1, y=2.0)"),
        ("window", ["title=a", "size=[3, 4]"], "Window(title='a', size=(3, 4))"),
        ("points", ['{"x": 1}', '{"x": 2}'], "[Point(x=1, y=0.5), Point(x=2, y=0.5)]"),
        ("any", ['{"a": [null]}'], "{'a': [None]}"),
        ("any", ["text"], "'text'"),
        ("several", ["1", "2", "3", "4"], "1 [2, 3] 4"),
        ("several", ["1", "2", "--second", "3"], "1 [3] 2"),
        ("variadic", ["1", "2", "3", "--more", "x=4"], "1 (2, 3) {'x': 4}"),
        ("keyword", ["--b", "5", "--timeout", "6"], "1 5 6.0"),
    ],
)
def test_every_type_can_be_typed(name: str, texts: list[str], arrived: str) -> None:
    result = run(Bench(), f"take-{name}", *texts, input=b"from\xffstdin")
    assert result.exception is None, result
    assert result.output == f"{arrived}\n"


def test_bytes_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\x00\xff")
    assert run(Bench(), "take_bytes", f"@{tmp_path}/image").output == "b'\\x00\\xff'\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["togle"], "no command 'togle'; did you mean 'toggle'?"),
        (["toggle"], "missing CHANNEL (INT)"),
        (["toggle", "x"], "Invalid value for '--channel': expected an integer, such as 16 or 0x10, got 'x'"),
        (["toggle", "--chanel", "1"], "no option --chanel; did you mean '--channel'?"),
        (["toggle", "-o", "json", "1"], "no option -o here; write it before the device: j -o json ..."),
        (["toggle", "1", "2"], "unexpected argument '2'; other parameters are options: --wait, --dry-run, --colour"),
        (["toggle", "1", "--colour", "REDD"], "Invalid value for '--colour': 'REDD' is not one of RED, GREEN; did you"),
        (["take-several", "1"], "missing SECOND (INT) and THIRD (INT)"),
        (["take-float", "x"], "expected a number, got 'x'"),
        (
            ["take-bytes", "xyz"],
            "expected bytes in hexadecimal (de ad be ef), @FILE, or - for standard input, got 'xyz'",
        ),
        (["take-bytes", "@/nowhere"], "cannot read /nowhere: No such file or directory"),
        (["take-uuid", "x"], "expected a UUID, got 'x'"),
        (["take-datetime", "noon"], "expected a date and time, such as 2030-01-31T12:00, got 'noon'"),
        (["take-timedelta", "long"], "expected seconds, or a time such as 1h30m, got 'long'"),
        (["take-list", "1", "x"], "expected an integer, such as 16 or 0x10, got 'x'"),
        (["take-dict", "a"], "expected KEY=VALUE or a JSON object, got 'a'"),
        (["take-dict", "a=x"], "expected an integer, such as 16 or 0x10, got 'x'"),
        (["take-point", "z=1"], "Point (x, y) has no field 'z'"),
        (["take-point", '{"x": "a"}'], "Invalid value for '--value': key 'x': expected int, got 'a' (str)"),
        (["take-literal", "hihg"], "'hihg' is not one of low, high, 3; did you mean 'high'?"),
        (["take-any", "\x1b", "\x1b]0;x\x07"], "unexpected argument '\\\\x1b]0;x\\\\x07'"),
    ],
)
def test_misuse_is_a_usage_error_of_one_line(args: list[str], message: str) -> None:
    client: Any
    with utils.serve(Bench()) as client:
        command: click.Command = client.cli()
        with pytest.raises(click.UsageError) as caught, command.make_context("j bench", args) as context:
            command.invoke(context)
    assert caught.value.exit_code == 2
    text = caught.value.format_message()
    assert message in text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("args", "people", "programs"),
    [
        (["nothing"], "", "null\n"),
        (["toggle", "1"], "true\n", "true\n"),
        (
            ["state"],
            "name: left\non: true\nvolts: [5.0, 3.3]\nsince: null\n",
            '{"name": "left", "on": true, "volts": [5.0, 3.3], "since": null}\n',
        ),
        (["names"], "a\nb c\n", '["a", "b c"]\n'),
        (["watch"], '{"i": 0}\n{"i": 1}\n{"i": 2}\n', '{"i": 0}\n{"i": 1}\n{"i": 2}\n'),
        (["text"], "\x1b[31mred\u202e\nnext\n", '"\\u001b[31mred\\u202e\\nnext"\n'),
    ],
)
def test_results_are_for_people_or_for_programs(args: list[str], people: str, programs: str) -> None:
    assert run(Bench(), *args).output == people
    assert run(Bench(), *args, as_json=True).output == programs


def test_a_parameter_called_help_leaves_help_what_it_is() -> None:
    assert "--help-" in run(Bench(), "help", "--help").output
    assert run(Bench(), "help", "--help-", "you").output == "you\n"


def test_a_secret_is_not_asked_for_where_nobody_can_answer() -> None:
    result = run(Bench(), "log-in", "me")
    assert isinstance(result.exception, SystemExit)
    assert "missing PASSWORD (TEXT)" in result.output
    assert run(Bench(), "log-in", "me", "--password", "1234").output == "me 4\n"


class Clashing(Driver):
    @export
    def side(self) -> str:
        return "the method"

    @export
    def close(self) -> None:
        super().close()


def test_names_that_clash_are_reached_with_an_underscore() -> None:
    with_child = Clashing(children={"side": Lamp()})
    assert run(with_child, "side").output == "the method\n"
    assert run(with_child, "side_", "on").exit_code == 0
    assert "side_" in run(with_child, "--help").output
    assert run(Clashing(), "close").exit_code == 0


class WithoutCli(DriverClient):
    """A hand-written client that has no commands."""


class HandWritten(Bench):
    @classmethod
    def client(cls) -> str:
        return f"{__name__}.WithoutCli"


class Extended(DriverClient):
    """One that adds to those that are made for it."""

    def cli(self) -> click.Group:
        made: Any = super()
        group: click.Group = made.cli()

        @group.command()
        def extra() -> None:  # pyright: ignore[reportUnusedFunction]
            click.echo("extra")

        return group


def test_a_hand_written_client_without_commands_has_the_generic_ones() -> None:
    client: Any
    with utils.serve(HandWritten()) as client:
        assert type(client).__name__ == "WithoutCli"
        assert describe(client).startswith("└─ WithoutCli  Use HandWritten.  [fail, help, log-in, ")
    assert run(HandWritten(), "toggle", "1").output == "true\n"


class HandWrittenToo(Lamp):
    @classmethod
    def client(cls) -> str:
        return f"{__name__}.Extended"


def test_a_hand_written_client_can_add_to_the_generic_commands() -> None:
    assert run(HandWrittenToo(), "extra").output == "extra\n"
    assert run(HandWrittenToo(), "on").exit_code == 0
    assert "extra" in run(HandWrittenToo(), "--help").output


def test_the_list_of_devices_has_the_methods() -> None:
    with utils.serve(Lamp(children={"bench": Bench(), "lamp": Lamp(description="On the wall")})) as client:
        text = describe(client)
        devices = json.loads(describe_as_json(client))
    assert "├─ bench  What is on the left bench.  [fail, help, log-in, names, nothing, state, take-any," in text
    assert ", …]" in text
    assert "└─ lamp   On the wall  [off, on]" in text
    assert [child["path"] for child in devices["children"]] == ["bench", "lamp"]
    assert devices["children"][1]["methods"] == ["off", "on"]
