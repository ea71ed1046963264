"""The exceptions that the core raises, beside those of Python.

What a driver raises is described in `jumpstarter.client.core`, where it arrives.
"""

from __future__ import annotations

import builtins
import sys


class JumpstarterException(Exception):
    """Base of the project's own exceptions; `message` says what failed, where, and what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        """The message, followed by the cause where there is one."""
        cause = self.__cause__
        return f"{self.message} (Caused by: {cause})" if cause is not None else self.message

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

    def __init__(self, message: str, class_path: str) -> None:
        super().__init__(message)
        self.class_path = class_path
