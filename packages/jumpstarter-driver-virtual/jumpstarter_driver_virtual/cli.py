"""The commands of the simulated board and of its parts."""

import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click
from jumpstarter.client.decorators import driver_click_group

from .faults import Fault

if TYPE_CHECKING:
    from .client import ButtonClient, ConsoleClient, HttpClient, LedClient, VirtualBoardClient

FAULT = click.Choice([str(fault) for fault in Fault])


def board_commands(client: "VirtualBoardClient", base: click.Group) -> click.Group:
    """Add the board's own commands to those of its parts."""

    @base.command()
    def state() -> None:
        """Tell all there is to know about the board."""
        for name, value in sorted(client.state().items()):
            click.echo(f"{name}: {_text(value)}")

    @base.command()
    @click.argument("fault", type=FAULT, metavar="FAULT")
    def inject(fault: str) -> None:
        """Break the board on purpose by a FAULT.

        boot-hang stops the next boot, console-garbage spoils what the console sends, power-drop switches off now and
        in the middle of every boot, medium-absent takes the medium away.
        """
        client.inject(fault)

    @base.command()
    @click.argument("fault", type=FAULT, metavar="FAULT", required=False)
    def clear(fault: str | None) -> None:
        """End a FAULT, or all of them."""
        client.clear(fault)

    @base.command()
    def faults() -> None:
        """List the faults that the board has now."""
        for fault in client.faults():
            click.echo(fault)

    return base


def console_commands(client: "ConsoleClient") -> click.Group:
    """`start-console` and `pipe`."""

    @driver_click_group(client)
    def base() -> None:
        """Use the serial console."""

    @base.command()
    def start_console() -> None:
        """Use the console in this terminal; Ctrl-B three times leaves it."""
        from .attach import Attachment, Keys, Until, raw_terminal, write_stdout

        if not sys.stdin.isatty():
            raise click.UsageError("the input is not a terminal; use pipe")
        click.echo("console open; Ctrl-B three times leaves it", err=True)
        with raw_terminal(sys.stdin.fileno()):
            Attachment(sink=Until(write_stdout, None), input_fd=sys.stdin.fileno(), source=Keys()).run(client)
        click.echo("\nconsole left", err=True)

    @base.command()
    @click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, too.")
    @click.option("-a", "--append", is_flag=True, help="Append to the file instead of replacing it.")
    @click.option("-i", "--input", "force_input", is_flag=True, help="Send the standard input even from a terminal.")
    @click.option("--no-input", is_flag=True, help="Do not send the standard input.")
    @click.option("--no-output", is_flag=True, help="Send the standard input, and end when all of it was sent.")
    @click.option("--until", metavar="TEXT", help="End as soon as the console has sent TEXT.")
    @click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after that time.")
    def pipe(
        output: Path | None,
        append: bool,
        force_input: bool,
        no_input: bool,
        no_output: bool,
        until: str | None,
        timeout: float | None,
    ) -> None:
        """Print what the console sends, and send it what is piped in, until Ctrl-C.

        With --until, the status is 0 if TEXT came, and 70 if the time was over before.
        """
        from .attach import Attachment, Until

        if no_input and (force_input or no_output):
            raise click.UsageError("--no-input excludes --input and --no-output")
        if append and output is None:
            raise click.UsageError("--append needs --output FILE")
        sends = no_output or force_input or (not no_input and not sys.stdin.isatty())
        with ExitStack() as stack:
            file = stack.enter_context(output.open("ab" if append else "wb")) if output else None
            stack.enter_context(suppress(KeyboardInterrupt))
            attachment = Attachment(
                sink=Until(_writer(file, not no_output), until),
                input_fd=sys.stdin.fileno() if sends else None,
                opened=lambda: click.echo("console open; Ctrl-C ends it", err=True),
                timeout=timeout,
                ends_with_input=no_output,
            )
            if not attachment.run(client) and until is not None:
                raise TimeoutError(f"console: no {until!r} within {timeout:g} s")

    return base


def button_commands(client: "ButtonClient") -> click.Group:
    """`press`, `release` and `read`."""

    @driver_click_group(client)
    def base() -> None:
        """Use the button."""

    @base.command()
    def press() -> None:
        """Press the button, and hold it."""
        client.press()

    @base.command()
    def release() -> None:
        """Release the button."""
        client.release()

    @base.command()
    def read() -> None:
        """Tell whether the button is pressed (active)."""
        click.echo(str(client.read()))

    return base


def led_commands(client: "LedClient") -> click.Group:
    """`read`, `wait-for-active` and `wait-for-inactive`."""

    @driver_click_group(client)
    def base() -> None:
        """Watch the LED."""

    timeout_option = click.option(
        "-t",
        "--timeout",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        default=3600,
        show_default=True,
        help="Longest time to wait.",
    )

    @base.command()
    def read() -> None:
        """Tell whether the LED is lit (active)."""
        click.echo(str(client.read()))

    @base.command()
    @timeout_option
    def wait_for_active(timeout: float) -> None:
        """Wait until the LED is lit."""
        client.wait_for_active(timeout)

    @base.command()
    @timeout_option
    def wait_for_inactive(timeout: float) -> None:
        """Wait until the LED is dark."""
        client.wait_for_inactive(timeout)

    return base


def http_commands(client: "HttpClient", base: click.Group) -> click.Group:
    """Add `get` to the commands of every network driver."""

    @base.command()
    @click.argument("path", default="/")
    def get(path: str) -> None:
        """Fetch the page at PATH (default: /) and print it."""
        click.echo(client.get(path), nl=False)

    return base


def _writer(file: BinaryIO | None, to_stdout: bool) -> Any:
    """Return what writes bytes to a file, standard output, both or neither."""
    from .attach import write_stdout

    def write(data: bytes) -> None:
        if file is not None:
            file.write(data)
            file.flush()
        if to_stdout:
            write_stdout(data)

    return write


def _text(value: Any) -> str:
    """Return a part of the state for people."""
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{key} {item}" for key, item in cast("dict[str, Any]", value).items())
        case list():
            return ", ".join(map(str, cast("list[Any]", value))) or "none"
        case None:
            return "none"
        case _:
            return str(value)
