"""What goes wrong between a client and its controller."""

from __future__ import annotations

from ..common.exceptions import JumpstarterException


class ControllerError(JumpstarterException):
    """A controller answered that it does not do what it was asked for."""


class LeaseError(JumpstarterException):
    """A lease could not be had, or has ended. `code` tells which, in the words of `common.failures`."""

    def __init__(self, message: str, hint: str = "", *, code: str = "no-exporter") -> None:
        super().__init__(message, hint)
        self.code = code
