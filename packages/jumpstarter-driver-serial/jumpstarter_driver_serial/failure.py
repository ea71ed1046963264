"""The errors of a script that did not get to its end."""

from jumpstarter.client.core import DriverError
from jumpstarter.common.exceptions import BusyError

from .script import ScriptResult


class ExpectError(DriverError):
    """A script on a console failed; `result` has what came until then."""

    result: ScriptResult


class ExpectTimeout(ExpectError, TimeoutError):
    """What a script waited for did not come in time."""


class ExpectBusy(ExpectError, BusyError):
    """Somebody else writes to the console."""


_KINDS: dict[str, type[ExpectError]] = {"timeout": ExpectTimeout, "busy": ExpectBusy}


def expect_error(result: ScriptResult, driver: str) -> ExpectError:
    """What to raise for a result that is not ok."""
    error = _KINDS.get(result.kind, ExpectError)(f"{driver or 'console'}: {result.failure}")
    error.result = result
    return error
