"""How a command ends: one line on stderr and an exit status, the same in every mode."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from _thread import get_ident, start_new_thread
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeVar

import click

from ..common.env import JMP_DEBUG
from ..common.exceptions import JumpstarterException
from ..common.failures import code_of, exit_of
from ..common.groups import leaves
from ..common.text import one_line, printable, redacted

F = TypeVar("F", bound=Callable[..., object])

OK = 0
USAGE = 2
CONFIG = 65
UNREACHABLE = 69
FAILED = 70
BUSY = 75
NOT_ALLOWED = 77

_CODES = {USAGE: "usage", CONFIG: "configuration", UNREACHABLE: "unreachable", BUSY: "busy", NOT_ALLOWED: "not-allowed"}
"""Code of an error of which only the exit status is known."""

_CODE_OF_RPC = {
    "UNAVAILABLE": "exporter-lost",
    "UNAUTHENTICATED": "unauthenticated",
    "PERMISSION_DENIED": "not-allowed",
}
"""Code of a gRPC error."""

_in_json = False

_listeners: list[Callable[[int], None]] = []

_PATIENCE = 1.0
"""Seconds that threads have to end after the command has."""

_HURRY = 2.0
"""Seconds that a command has to end when it is asked to a second time."""

_asked_by = 0
"""The signal that asked the process to end."""

_AGAIN = 0.001
"""Seconds after which a signal is looked at again that came at a bad moment."""

_MOST_AGAIN = 1000
"""How often, before it breaks into whatever that is."""

_put_off = 0
"""How often that was."""


class Terminated(BaseException):
    """A signal asked the process to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class CommandError(click.ClickException):
    """An error of our own that has its exit status with it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Report(NamedTuple):
    """An error in parts, and as the line that people read."""

    code: str
    message: str
    status: int
    line: str
    driver: str = ""
    device: str = ""
    operation: str = ""
    hint: str = ""
    causes: Sequence[str] = ()

    def as_json(self) -> str:
        """The parts as one JSON object."""
        import json

        parts: dict[str, Any] = {name: redacted(str(getattr(self, name))) for name in _PARTS}
        parts["causes"] = [redacted(cause) for cause in self.causes]
        return json.dumps({**parts, "status": self.status})


_PARTS = ("code", "driver", "device", "operation", "message", "hint")


def use_json(wanted: bool = True) -> None:
    """Say from now on what goes wrong as a JSON object, for programs, instead of a line."""
    global _in_json
    _in_json = wanted


def output_option(command: F) -> F:
    """`-o json`: results, and with them errors, for programs."""

    def choose(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value == "json":
            use_json()
        return value

    choice = click.Choice(["json"])
    help = "Print for programs instead, errors too."
    return click.option("-o", "--output", type=choice, callback=choose, is_eager=True, help=help)(command)


def say(line: str) -> None:
    """Say something on stderr that the command can do without, as where that is a file on a full disk."""
    with suppress(OSError):
        click.echo(line, err=True)


def warn(program: str, message: str) -> None:
    """Say on stderr what went wrong although the command goes on."""
    say(f"{program}: warning: {one_line(redacted(message))}")


def run(program: str, command: Callable[[], object]) -> int:
    """Run a command to its end and return the exit status; an error is one line on stderr."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(signum, _end_soon)
            sys.unraisablehook = _unraisable
    try:
        try:
            result = command()
            sys.stdout.flush()
        except BaseException as e:  # noqa: BLE001 the last place: whatever it is, it becomes a status
            return _end(program, e)
    except (KeyboardInterrupt, Terminated):  # while the error was told
        return 128 + _asked_by
    return result if type(result) is int else OK


def invoke(
    program: str,
    command: click.Command,
    args: Sequence[str],
    *,
    parent: click.Context | None = None,
    meta: Mapping[str, Any] | None = None,
) -> object:
    """Call a click command as its `main` does, but leave all errors to `run`. `meta` is for it and those below it."""
    try:
        with command.make_context(program, list(args), parent=parent) as context:
            context.meta.update(meta or {})
            return command.invoke(context)
    except click.exceptions.Exit as e:
        return e.exit_code


def before_end(tell: Callable[[int], None]) -> None:
    """Have somebody told the exit status before the process ends by `finish` or `exit_soon`."""
    _listeners.append(tell)


def finish(status: int) -> NoReturn:
    """End the process in order, but wait no longer than a moment for threads that are still busy."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is _end_soon:
            signal.signal(signum, signal.SIG_IGN)  # too late: it has ended
    _tell(status)
    if "threading" in sys.modules:
        exit_soon(status)
    sys.exit(status)


def exit_soon(status: int) -> None:
    """See to it that the process ends in a moment, whatever is still busy in it."""
    _tell(status)
    from threading import Timer

    watchdog = Timer(_PATIENCE, exit_at_once, [status])
    watchdog.daemon = True
    try:
        watchdog.start()
    except RuntimeError:  # without memory for a thread, there is none to wait for others either
        exit_at_once(status)


def _tell(status: int) -> None:
    for tell in _listeners:
        tell(status)


def exit_at_once(status: int) -> NoReturn:
    """End the process without waiting for anything."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it is gone
            status = status or 128 + signal.SIGPIPE
    os._exit(status)


def _end_soon(signum: int, frame: FrameType | None) -> None:
    """End the command in order; asked again, end the process in a moment, whatever the command still does.

    A second exception would break into what ends the command, which may have a lock that others wait for, or have the
    terminal still to be set back.
    """
    global _asked_by, _put_off
    if _asked_by:
        start_new_thread(_exit_after, (_HURRY, 128 + _asked_by))  # takes no lock that the command may have
        return
    if _is_between_locks(frame) and _put_off < _MOST_AGAIN:
        _put_off += 1
        start_new_thread(_ask_again, (get_ident(), signum))
        return
    _asked_by = signum
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated(signum)


def _is_between_locks(frame: FrameType | None) -> bool:
    """Whether an exception now would leave a condition's lock in the wrong state.

    `Condition.wait` releases it, and has it back for sure only where it has come to its `try`, which follows `gotit`.
    An exception before that becomes a RuntimeError ("cannot release un-acquired lock").
    """
    if frame is None or frame.f_globals.get("__name__") != "threading":
        return False
    owner, _, name = frame.f_code.co_qualname.rpartition(".")
    return owner == "Condition" and (name in _LOCKING or (name == "wait" and "gotit" not in frame.f_locals))


_LOCKING = {"__enter__", "__exit__", "_release_save", "_acquire_restore"}


def _ask_again(thread: int, signum: int) -> None:
    time.sleep(_AGAIN)
    signal.pthread_kill(thread, signum)


def _unraisable(lost: Any) -> None:
    """Ask again where the exception of a signal came up in a place that raises none, such as an object's end."""
    global _asked_by
    if isinstance(lost.exc_value, KeyboardInterrupt | Terminated) and _asked_by:
        signum, _asked_by = _asked_by, 0
        start_new_thread(_ask_again, (get_ident(), signum))
    else:
        sys.__unraisablehook__(lost)


def _exit_after(seconds: float, status: int) -> NoReturn:
    time.sleep(seconds)
    os._exit(status)


def _end(program: str, error: BaseException) -> int:
    match error:
        case BaseExceptionGroup():  # of a task group
            ends = [leaf for leaf in leaves(error) if not isinstance(leaf, Exception)]
            return _end(program, ends[0]) if ends else report(program, error)
        case Terminated():
            return 128 + error.signum
        case KeyboardInterrupt() | click.Abort():
            return 128 + signal.SIGINT
        case BrokenPipeError():
            _drop_output()
            return 128 + signal.SIGPIPE
        case SystemExit(code=code) if code is None or isinstance(code, int):
            return code or OK
        case click.UsageError() if _is_help(error):
            click.echo(error.format_message(), err=True)
            return USAGE
        case _:
            status = report(program, error)
            return 128 + _asked_by if _asked_by else status


def report(program: str, error: BaseException) -> int:
    """Say what went wrong, in one line on stderr; returns the exit status that stands for it."""
    if os.environ.get(JMP_DEBUG):
        click.echo(printable(redacted("".join(traceback.format_exception(error)))), err=True, nl=False)
    told = describe(error)
    try:
        if _in_json:
            click.echo(told.as_json(), err=True)
            return told.status
        problems: list[str] = getattr(error, "problems", None) or [told.line]  # of a configuration, one line each
        for problem in problems:
            click.echo(f"{program}: error: {one_line(redacted(problem))}", err=True)
    except OSError:
        _drop_output()
    return told.status


def describe(error: BaseException) -> Report:
    """What there is to say of an error."""
    match error:
        case click.UsageError():
            message = error.format_message()
            hint = f"see '{error.ctx.command_path} --help'" if error.ctx else ""
            if isinstance(error, click.NoSuchOption) and error.option_name in ("-o", "--output") and _is_of_j(error):
                hint = "write it before the device: j -o json ..."
            return _plain("usage", message, hint, line=f"{message} ({hint})" if hint else message)
        case CommandError():
            return _plain(_CODES.get(error.status, "failed"), error.message)._replace(status=error.status)
        case click.ClickException():
            status = FAILED if error.exit_code == 1 else error.exit_code
            return _plain(_CODES.get(status, "failed"), error.format_message())._replace(status=status)
        case SystemExit():
            return _plain("failed", str(error.code))
        case BaseExceptionGroup():
            parts = [describe(leaf) for leaf in leaves(error)]
            line = "; ".join(dict.fromkeys(part.line for part in parts))
            return parts[0]._replace(line=line, causes=[*parts[0].causes, *(part.line for part in parts[1:])])
        case _ if (code := _rpc_code(error)) is not None:  # a client that does not turn them into errors of its own
            details: str = getattr(error, "details", str)()
            return _plain(_CODE_OF_RPC.get(code, "failed"), details or code)
        case JumpstarterException():
            return _ours(error)
        case OSError():
            code = "not-allowed" if isinstance(error, PermissionError) else "io"
            return _plain(code, _with_notes(error, _os_text(error)))
        case _ if hasattr(error, "message"):  # of a library of somebody who follows our way
            return _plain(code_of(error), str(getattr(error, "message", "")) or str(error))
        case _:
            text = _with_notes(error, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
            return _plain("failed", text, f"{JMP_DEBUG}=1 shows where")


def _plain(code: str, message: str, hint: str = "", *, line: str = "") -> Report:
    line = line or (f"{message}; {hint}" if hint else message)
    return Report(code=code, message=message, hint=hint, status=exit_of(code), line=line)


def _ours(error: JumpstarterException) -> Report:
    """A member of the family; one that came over the wire says more."""
    message = error.message or str(error) or type(error).__name__
    plain = _plain(code_of(error), message, error.hint)
    remote = {
        name: value for name in ("driver", "device", "operation") if isinstance(value := getattr(error, name, ""), str)
    }
    causes = getattr(error, "causes", None)
    if causes is None:
        causes = _causes(error)
    return plain._replace(message=getattr(error, "reason", "") or message, causes=causes, **remote)


def _causes(error: BaseException) -> Sequence[str]:
    cause = error.__cause__
    if cause is None:
        return ()
    if (code := _rpc_code(cause)) is not None:
        return (f"{code}: {getattr(cause, 'details', str)()}",)
    return (f"{type(cause).__name__}: {cause}",)


def _os_text(error: OSError) -> str:
    """What the operating system says, without its number."""
    if error.errno is None or not error.strerror:
        return str(error) or type(error).__name__
    return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror


def _with_notes(error: BaseException, text: str) -> str:
    return "; ".join([text, *getattr(error, "__notes__", ())])


def _rpc_code(error: BaseException) -> str | None:
    """The name of the status that a gRPC error has."""
    code = getattr(error, "code", None)
    return getattr(code(), "name", None) if callable(code) and hasattr(error, "details") else None


def _is_of_j(error: click.UsageError) -> bool:
    return error.ctx is not None and error.ctx.command_path.startswith("j ")


def _is_help(error: click.UsageError) -> bool:
    return type(error).__name__ == "NoArgsIsHelpError"  # click 8.1 has none: there, help is a normal end


def _drop_output() -> None:
    """Nobody reads any more: let what is still buffered go nowhere, instead of failing once more at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(null, stream.fileno())
