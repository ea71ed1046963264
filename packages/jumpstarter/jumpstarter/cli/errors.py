"""How a command ends: one line on stderr and an exit status, the same in every mode."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import click

from ..common.text import one_line, printable

OK = 0
USAGE = 2
CONFIG = 65
UNREACHABLE = 69
FAILED = 70
BUSY = 75
NOT_ALLOWED = 77

_STATUS = {
    "jumpstarter.common.exceptions.ConfigurationError": CONFIG,
    "jumpstarter.common.exceptions.FileNotFoundError": CONFIG,
    "jumpstarter.common.exceptions.ArgumentError": USAGE,
    "jumpstarter.common.exceptions.ConnectionError": UNREACHABLE,
    "jumpstarter.common.exceptions.EnvironmentVariableNotSetError": UNREACHABLE,
    "jumpstarter.common.exceptions.BusyError": BUSY,
    "jumpstarter.common.exceptions.ReauthenticationFailed": NOT_ALLOWED,
    "jumpstarter.client.core.ExporterLost": UNREACHABLE,
    "jumpstarter.client.core.NotAllowed": NOT_ALLOWED,
    "jumpstarter.client.core.ExporterNotReady": BUSY,
    "jumpstarter.client.core.DriverError": FAILED,
}
"""Exit status by class, as text: a command that cannot raise a class need not import it."""

_STATUS_OF_CODE = {
    "UNAVAILABLE": UNREACHABLE,
    "UNAUTHENTICATED": NOT_ALLOWED,
    "PERMISSION_DENIED": NOT_ALLOWED,
}
"""Exit status by the code of a gRPC error."""

_PATIENCE = 1.0
"""Seconds that threads have to end after the command has."""


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


def warn(program: str, message: str) -> None:
    """Say on stderr what went wrong although the command goes on."""
    click.echo(f"{program}: warning: {one_line(message)}", err=True)


def run(program: str, command: Callable[[], object]) -> int:
    """Run a command to its end and return the exit status; an error is one line on stderr."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) == signal.SIG_DFL:
            signal.signal(signum, _terminate)
    try:
        result = command()
        sys.stdout.flush()
    except BaseException as e:  # noqa: BLE001 the last place: whatever it is, it becomes a status
        return _end(program, e)
    return result if type(result) is int else OK


def invoke(program: str, command: click.Command, args: Sequence[str], *, parent: click.Context | None = None) -> object:
    """Call a click command as its `main` does, but leave all errors to `run`."""
    try:
        with command.make_context(program, list(args), parent=parent) as context:
            return command.invoke(context)
    except click.exceptions.Exit as e:
        return e.exit_code


def finish(status: int) -> NoReturn:
    """End the process in order, but wait no longer than a moment for threads that are still busy."""
    if "threading" in sys.modules:
        exit_soon(status)
    sys.exit(status)


def exit_soon(status: int) -> None:
    """See to it that the process ends in a moment, whatever is still busy in it."""
    from threading import Timer

    watchdog = Timer(_PATIENCE, exit_at_once, [status])
    watchdog.daemon = True
    watchdog.start()


def exit_at_once(status: int) -> NoReturn:
    """End the process without waiting for anything."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it is gone
            status = status or 128 + signal.SIGPIPE
    os._exit(status)


def status_of(error: BaseException) -> int:
    """The exit status that stands for an error."""
    for cls in type(error).__mro__:
        if status := _STATUS.get(f"{cls.__module__}.{cls.__qualname__}"):
            return status
    return FAILED


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated(signum)


def _end(program: str, error: BaseException) -> int:
    match error:
        case BaseExceptionGroup(exceptions=(single,)):  # of a task group with one failure
            return _end(program, single)
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
            return report(program, error)


def report(program: str, error: BaseException) -> int:
    """Say what went wrong, in one line on stderr; returns the exit status that stands for it."""
    if os.environ.get("JMP_DEBUG"):
        click.echo(printable("".join(traceback.format_exception(error))), err=True, nl=False)
    message, status = _describe(error)
    problems: list[str] = getattr(error, "problems", None) or [message]  # of a configuration, one line each
    try:
        for problem in problems:
            click.echo(f"{program}: error: {one_line(problem)}", err=True)
    except OSError:
        _drop_output()
    return status


def _describe(error: BaseException) -> tuple[str, int]:
    match error:
        case click.UsageError():
            hint = f" (see '{error.ctx.command_path} --help')" if error.ctx else ""
            return error.format_message() + hint, USAGE
        case CommandError():
            return error.message, error.status
        case click.ClickException():
            return error.format_message(), FAILED if error.exit_code == 1 else error.exit_code
        case SystemExit():
            return str(error.code), FAILED
        case BaseExceptionGroup():
            return "; ".join(_describe(e)[0] for e in error.exceptions), status_of(error.exceptions[0])
        case _ if _is_ours(error):
            return getattr(error, "message", "") or str(error), status_of(error)
        case OSError():
            return _with_notes(error, str(error)), NOT_ALLOWED if isinstance(error, PermissionError) else FAILED
        case _ if (code := _rpc_code(error)) is not None:  # a client that does not turn them into errors of its own
            details: str = getattr(error, "details", str)()
            return details or code, _STATUS_OF_CODE.get(code, FAILED)
        case _:
            text = _with_notes(error, f"{type(error).__name__}: {error}")
            return f"{text}; JMP_DEBUG=1 shows where", status_of(error)


def _with_notes(error: BaseException, text: str) -> str:
    return "; ".join([text, *getattr(error, "__notes__", ())])


def _rpc_code(error: BaseException) -> str | None:
    """The name of the status that a gRPC error has."""
    code = getattr(error, "code", None)
    return getattr(code(), "name", None) if callable(code) and hasattr(error, "details") else None


def _is_ours(error: BaseException) -> bool:
    return any(f"{cls.__module__}.{cls.__qualname__}" in _STATUS for cls in type(error).__mro__) or hasattr(
        error, "message"
    )


def _is_help(error: click.UsageError) -> bool:
    return type(error).__name__ == "NoArgsIsHelpError"  # click 8.1 has none: there, help is a normal end


def _drop_output() -> None:
    """Nobody reads any more: let what is still buffered go nowhere, instead of failing once more at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(null, stream.fileno())
