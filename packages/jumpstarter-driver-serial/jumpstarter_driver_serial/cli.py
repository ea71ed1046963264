"""The commands of a serial console."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click
from jumpstarter.client.decorators import driver_click_group
from jumpstarter.common.exceptions import BusyError, DeviceAbsentError

if TYPE_CHECKING:
    from .attached import Attached
    from .client import PySerialClient
    from .script import Step

_SINCE_HELP = "Begin at an offset, 30s ago, a time such as 12:30:05, boot, start or now."

_seconds = click.FloatRange(min=0)
_since = click.option("--since", metavar="PLACE", help=_SINCE_HELP)
_unplug = click.option(
    "--unplug", metavar="POLICY", help="When the port is lost: fail, wait=SECONDS or mark (default: as configured)."
)
_take = click.option("--take", is_flag=True, help="Write even where somebody else does.")
_raw = click.option("--raw", is_flag=True, help="Let the terminal have all control sequences of the device.")


def serial_commands(client: "PySerialClient") -> click.Group:
    """All commands of a console."""

    @driver_click_group(client)
    def base() -> None:
        """Use the serial console."""

    _add_console(base, client)
    _add_pipe(base, client)
    _add_log(base, client)
    _add_sending(base, client)
    _add_lines(base, client)
    _add_knowledge(base, client)
    return base


def _add_console(base: click.Group, client: "PySerialClient") -> None:
    """`console`, and its other name."""

    @base.command()
    @click.option("--escape", default="^]", metavar="KEY", show_default=True, help="Key before commands; then ? helps.")
    @click.option("--since", default="now", metavar="PLACE", help="Show what came since, too; see log.")
    @click.option("--resize", is_flag=True, help="Tell the shell on the device this terminal's size, at every change.")
    @_take
    @_raw
    def console(escape: str, since: str, resize: bool, take: bool, raw: bool) -> None:
        """Use the console in this terminal; Ctrl-] and q leave it.

        When the port is lost the console waits until it is back.
        """
        from .interactive import use_console

        use_console(client, escape=escape, since=since, resize=resize, take=take, raw=raw)

    @base.command(hidden=True)
    @_raw
    def start_console(raw: bool) -> None:
        """Use the console in this terminal; Ctrl-B three times leaves it. The same as console."""
        from .interactive import use_console

        use_console(client, escape="^]", since="now", resize=False, take=False, raw=raw)


def _add_pipe(base: click.Group, client: "PySerialClient") -> None:
    """`pipe`."""

    @base.command()
    @click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, too.")
    @click.option("-a", "--append", is_flag=True, help="Append to the file instead of replacing it.")
    @click.option("-i", "--input", "force_input", is_flag=True, help="Send the standard input even from a terminal.")
    @click.option("--no-input", is_flag=True, help="Do not send the standard input.")
    @click.option("--no-output", is_flag=True, help="Send the standard input, and end when all of it was sent.")
    @click.option("--until", metavar="TEXT", help="End as soon as the console has sent TEXT.")
    @click.option("--timeout", type=_seconds, metavar="SECONDS", help="Give up after that time.")
    @_since
    @_unplug
    @_take
    @_raw
    def pipe(**options: Any) -> None:
        """Print what the console sends, and send it what is piped in, until Ctrl-C.

        With --until, the status is 0 if TEXT came, and 70 if the time was over before. It is 70 where the port is lost
        and does not come back as the policy allows.
        """
        _Pipe(client=client, **options).run()


@dataclass(kw_only=True)
class _Pipe:
    """A `pipe` as it was asked for."""

    client: "PySerialClient"
    output: Path | None
    append: bool
    force_input: bool
    no_input: bool
    no_output: bool
    until: str | None
    timeout: float | None
    since: str | None
    unplug: str | None
    take: bool
    raw: bool

    def run(self) -> None:
        """Until it has what it waits for, or Ctrl-C."""
        if self.no_input and (self.force_input or self.no_output):
            raise click.UsageError("--no-input excludes --input and --no-output")
        if self.append and self.output is None:
            raise click.UsageError("--append needs --output FILE")
        with ExitStack() as stack:
            mode = "ab" if self.append else "wb"
            file = cast(BinaryIO, stack.enter_context(self.output.open(mode))) if self.output else None
            stack.enter_context(suppress(KeyboardInterrupt))
            show = _printer(stack, file, to_stdout=not self.no_output, raw=self.raw)
            attached = stack.enter_context(self.client.attach(since=self.since, unplug=self.unplug, take=self.take))
            click.echo("console open; Ctrl-C ends it", err=True)
            self._join(attached, show)

    def _join(self, attached: "Attached", show: Callable[[bytes], None]) -> None:
        """Raises TimeoutError, and where it is about sending alone, BusyError or DeviceAbsentError."""
        from .joined import Joined, Until

        sends = self.no_output or self.force_input or (not self.no_input and not sys.stdin.isatty())
        joined = Joined(
            show=Until(show, self.until),
            tell=_tell,
            input_fd=sys.stdin.fileno() if sends else None,
            source=lambda typed: self._send(attached, typed),
            timeout=self.timeout,
        )
        in_time = joined.run(attached)
        if self.no_output and joined.refused:
            text = f"console {attached.beginning.where}: {joined.refused} bytes were refused"
            raise DeviceAbsentError(text) if joined.is_lost else BusyError(text, "take over (--take)")
        if not in_time and (self.until is not None or self.no_output):
            missing = f"no {self.until!r}" if self.until else "not all was sent"
            raise TimeoutError(f"console: {missing} within {self.timeout:g} s")

    def _send(self, attached: "Attached", typed: bytes) -> bool:
        """Pass on what was typed; at its end, ask to be told when all was sent, where that is all."""
        if typed:
            attached.send(typed)
        elif self.no_output:
            attached.sync("sent")
        return False


def _add_log(base: click.Group, client: "PySerialClient") -> None:
    """`log`."""

    @base.command()
    @click.option("--since", default="start", show_default=True, metavar="PLACE", help=_SINCE_HELP)
    @click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
    @click.option("-t", "--timestamps", is_flag=True, help="Print before each line when it began.")
    @_unplug
    @_raw
    def log(since: str, follow: bool, timestamps: bool, unplug: str | None, raw: bool) -> None:
        """Print what the console has said since PLACE; by default since the session began."""
        from .items import Data
        from .joined import Joined

        with ExitStack() as stack:
            stack.enter_context(suppress(KeyboardInterrupt))
            show = _printer(stack, None, to_stdout=True, raw=raw)
            attached = stack.enter_context(client.attach(since=since, follow=follow, unplug=unplug))
            stamp = _Stamped(show) if timestamps else None
            joined = Joined(show=lambda data: bool(show(data)), tell=_tell)
            for item in attached:
                if stamp is not None and isinstance(item, Data):
                    stamp(item)
                else:
                    joined.take(item)


def _add_sending(base: click.Group, client: "PySerialClient") -> None:
    """`send` and `expect`."""

    @base.command()
    @click.argument("text")
    @click.option("-n", "--no-enter", is_flag=True, help="Send TEXT only, without Enter after it.")
    @_take
    def send(text: str, no_enter: bool, take: bool) -> None:
        """Send TEXT and Enter."""
        client.send(text if no_enter else f"{text}\r", take=take)

    @base.command()
    @click.argument("pattern", required=False)
    @click.option("--script", type=click.Path(path_type=Path, exists=True), metavar="FILE", help="Run a YAML script.")
    @click.option(
        "--timeout",
        type=_seconds,
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="For PATTERN.",
    )
    @_since
    @_take
    def expect(pattern: str | None, script: Path | None, timeout: float, since: str | None, take: bool) -> None:
        """Wait until PATTERN comes, or run a script of waiting and sending, at the exporter.

        PATTERN is a regular expression. Prints what came up to the end of the last match; the status is 70 where
        something did not come in time.
        """
        if (pattern is None) == (script is None):
            raise click.UsageError("give either PATTERN or --script FILE")
        _expect(client, load_script(script) if script is not None else pattern or "", since, timeout, take)


def _add_lines(base: click.Group, client: "PySerialClient") -> None:
    """`break`, `dtr`, `rts` and `baudrate`."""

    @base.command("break")
    @click.option("--duration", type=_seconds, default=0.25, show_default=True, metavar="SECONDS", help="How long.")
    def send_break(duration: float) -> None:
        """Hold the line in break."""
        client.send_break(duration)

    @base.command()
    @click.argument("level", type=click.Choice(["on", "off"]))
    def dtr(level: str) -> None:
        """Set DTR, without opening the port anew."""
        client.set_dtr(level == "on")

    @base.command()
    @click.argument("level", type=click.Choice(["on", "off"]))
    def rts(level: str) -> None:
        """Set RTS, without opening the port anew."""
        client.set_rts(level == "on")

    @base.command()
    @click.argument("rate", type=click.IntRange(min=1), metavar="BAUD")
    def baudrate(rate: int) -> None:
        """Change the rate until the session ends."""
        client.set_baudrate(rate)


def _add_knowledge(base: click.Group, client: "PySerialClient") -> None:
    """`mark` and `status`."""

    @base.command()
    @click.argument("text", default="boot")
    def mark(text: str) -> None:
        """Put a mark (default: boot) into the history; `--since boot` begins at the last such one."""
        click.echo(client.mark(text))

    @base.command()
    def status() -> None:
        """Tell what there is to know of the port."""
        for name, value in client.status().items():
            click.echo(f"{name}: {_text(value)}")


def load_script(path: Path) -> "list[Step]":
    """The steps of a YAML file, a list of mappings; click.UsageError says what is wrong."""
    import yaml

    from .script import Step

    try:
        loaded: Any = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as e:
        raise click.UsageError(f"{path}: {e}") from e
    if not isinstance(loaded, list):
        raise click.UsageError(f"{path}: a script is a list of steps")
    steps: list[Step] = []
    for number, entry in enumerate(cast("list[Any]", loaded), 1):
        try:
            steps.append(Step(**entry))
        except TypeError as e:
            known = ", ".join(Step.__dataclass_fields__)
            raise click.UsageError(f"{path}: step {number}: {entry!r} is none; a step has {known}") from e
    return steps


def _expect(client: "PySerialClient", steps: "list[Step] | str", since: str | None, timeout: float, take: bool) -> None:
    from .failure import ExpectError

    def show(text: str) -> None:
        stdout = sys.stdout.isatty()
        click.echo(_safe(text.encode()) if stdout else text.encode(), nl=False)

    try:
        result = client.expect(steps, since=since, timeout=timeout, take=take)
    except ExpectError as e:
        show("".join(step.before + step.match for step in e.result.steps) + e.result.rest)
        raise
    show("".join(step.before + step.match for step in result.steps))
    click.echo()


def _safe(data: bytes) -> bytes:
    from .safe import SafeTerminal

    terminal = SafeTerminal()
    return terminal.feed(data) + terminal.close()


def _tell(text: str) -> None:
    click.echo(f"[console {text}]", err=True)


def _printer(stack: ExitStack, file: BinaryIO | None, *, to_stdout: bool, raw: bool) -> Callable[[bytes], None]:
    """What writes bytes to a file, standard output, both or neither; a terminal gets what is safe for it."""
    from .safe import SafeTerminal
    from .terminal import write_stdout

    terminal = SafeTerminal() if sys.stdout.isatty() and not raw else None
    if terminal is not None and to_stdout:
        stack.callback(lambda: write_stdout(terminal.close()))

    def write(data: bytes) -> None:
        if file is not None:
            file.write(data)
            file.flush()
        if to_stdout:
            write_stdout(data if terminal is None else terminal.feed(data))

    return write


class _Stamped:
    """Writes each line with the time at which it began."""

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        self._at_start = True

    def __call__(self, item: Any) -> None:
        stamp = time.strftime("%H:%M:%S", time.localtime(item.time)) + f".{int(item.time % 1 * 1000):03d} "
        out = bytearray()
        for line in item.data.splitlines(keepends=True):
            if self._at_start:
                out += stamp.encode()
            out += line
            self._at_start = line.endswith((b"\n", b"\r"))
        self._show(bytes(out))


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name} {'on' if level else 'off'}" for name, level in value.items())  # pyright: ignore
        case _:
            return str(value)
