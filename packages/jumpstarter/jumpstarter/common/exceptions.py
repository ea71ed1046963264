"""The exceptions that the core raises, beside those of Python.

What a driver raises is described in `jumpstarter.client.core`, where it arrives.
"""

from __future__ import annotations

import builtins
import sys


class JumpstarterException(Exception):
    """Base of the project's own exceptions: `message` says what failed and where, `hint` what to do."""

    message: str = ""  # for subclasses that do not call our __init__
    hint: str = ""

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The message, the cause where there is one, and the hint."""
        is_of_grpc = callable(
            getattr(self.__cause__, "details", None)
        )  # a page of text, and the message has its reason
        cause = "" if is_of_grpc else str(self.__cause__ or "")
        text = self.message or super().__str__()
        text = f"{text} (Caused by: {cause})" if cause else text
        return f"{text}; {self.hint}" if self.hint else text

    def print(self) -> None:
        """Write the message to stderr, in red on a terminal."""
        text = str(self)
        sys.stderr.write(f"\x1b[31m{text}\x1b[0m\n" if sys.stderr.isatty() else f"{text}\n")


class ConnectionError(JumpstarterException):
    """The exporter or controller could not be reached, or was lost. Not the builtin of that name."""


class ExporterOfflineError(ConnectionError):
    """The exporter that a lease names is not connected."""


class ExporterUnreachableError(ConnectionError):
    """Nothing answers at the exporter's address."""


class BusyError(JumpstarterException):
    """The address, session or device belongs to somebody else; the message says to whom."""


class SessionEndedError(ConnectionError):
    """The session that a call belongs to has ended; the message says why."""


class ExporterStoppingError(ConnectionError):
    """The exporter is about to end, and takes no more calls."""


class HookFailedError(JumpstarterException):
    """A script that runs around the sessions of an exporter failed, so that it cannot be used."""


class DeviceAbsentError(JumpstarterException):
    """The device of a driver is not there: unplugged, switched off, or of another serial number."""


class DeviceFaultyError(JumpstarterException):
    """The device is there and does not work, or its driver could not be started."""


class DriverStuckError(JumpstarterException):
    """An earlier call of the driver does not end, so that it cannot take another."""


class LimitError(JumpstarterException):
    """A limit of the exporter is reached; the message names it."""


class NotAllowedError(JumpstarterException):
    """Whoever asks may not do that."""


class NotReady(JumpstarterException):
    """The session does not take driver calls in its present status."""


class UnknownInstance(JumpstarterException, LookupError):
    """No driver instance has that identity."""


class UnknownMethod(JumpstarterException, LookupError):
    """The instance exports no such method, or not in that way."""


class CallTimeoutError(JumpstarterException, builtins.TimeoutError):
    """A call did not end before its deadline."""


class ConfigurationError(JumpstarterException):
    """A configuration is wrong; the message names file, line and key."""


class ArgumentError(JumpstarterException):
    """A function or command was called in a way that can never work."""


class FileNotFoundError(JumpstarterException, builtins.FileNotFoundError):
    """A file that was named does not exist."""


class ReauthenticationFailed(JumpstarterException):
    """The token has expired and could not be renewed."""


class EnvironmentVariableNotSetError(JumpstarterException):
    """An environment variable that is needed is not set."""


class MissingDriverError(JumpstarterException):
    """The class of a driver's client cannot be used here: not installed, or not allowed."""

    def __init__(self, message: str, class_path: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.class_path = class_path
