"""What an exception becomes on the wire: a status and one text for every peer, and details for those that read them."""

from __future__ import annotations

import errno
import logging
import os
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import grpc
from anyio import BrokenResourceError
from google.protobuf.message import DecodeError
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.env import JMP_DEBUG
from ..common.exceptions import DeviceAbsentError, JumpstarterException
from ..common.failures import code_for_peer, status_of
from ..common.groups import leaves
from ..common.limits import MAX_DETAILS, MAX_TRACEBACK
from ..common.metadata import DEBUG_METADATA_KEY, ERROR_METADATA_KEY
from ..common.text import one_line, redacted

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger(__name__)

DRIVER_FAILURES = (Exception, SystemExit, KeyboardInterrupt, BaseExceptionGroup)
"""What a driver may raise without ending the exporter: the call fails, whatever it was."""

_FAULTS = (LookupError, TypeError, AttributeError, NameError, ArithmeticError, AssertionError, StopIteration, EOFError)
"""What a driver raises by mistake, and whose text means little without its name."""

_HINTS = {
    errno.ENOENT: "check that the device is plugged in and the path is right",
    errno.ENODEV: "check that the device is plugged in",
    errno.ENXIO: "check that the device is plugged in",
    errno.EACCES: "give the exporter's user the right to use it (its group, or a udev rule)",
    errno.EPERM: "give the exporter's user the right to use it (its group, or a udev rule)",
    errno.EBUSY: "stop the other program that uses it",
    errno.EIO: "check the cable and the power of the device",
    errno.ENOSPC: "make room on it",
    errno.ECONNREFUSED: "check that the device is on and serves that port",
    errno.EHOSTUNREACH: "check the address and that the device is on",
    errno.ETIMEDOUT: "check the address and that the device is on",
    errno.ECONNRESET: "check that the device is on",
    errno.EPIPE: "check that the device is on",
}
"""What to do about an error of the operating system that nobody put in words."""

_MOST_CAUSES = 4
_MOST_LEAVES = 3


class Failure(NamedTuple):
    """A failed call, as it is told to its client."""

    status: grpc.StatusCode
    text: str
    details: pb.ErrorDetails

    def message(self) -> pb.CallFailure:
        """It, as a message of the protocol."""
        number: int = self.status.value[0]  # pyright: ignore[reportAssignmentType] a pair of number and text
        return pb.CallFailure(status=number, text=self.text, error=self.details)


def failure_of(
    error: BaseException,
    *,
    driver: str = "",
    device: str = "",
    operation: str = "",
    opened: bool = False,
    with_traceback: bool = False,
) -> Failure:
    """What a client is told of an exception that a driver, or the way to it, raised.

    `driver` is its path, `device` the identity of its hardware; `opened` says that it broke an open byte stream.
    """
    found = list(leaves(error))
    first = found[0]
    code = _broken_stream(first) if opened else None
    cause = first if isinstance(first, JumpstarterException) else first.__cause__ or first
    if code == "invalid-argument":
        message = f"the frame is malformed: {cause}"
    elif code is not None:
        message = _text(cause)
    else:
        code = code_for_peer(first)
        message = _joined([_text(leaf) for leaf in found])
    hint = _cut(redacted(_hint(first, code)), 500)
    details = pb.ErrorDetails(
        code=code,
        driver=_cut(driver, 300),
        device=_cut(device, 200),
        operation=_cut(operation, 100),
        message=_cut(redacted(message), 1500),
        hint=hint,
        causes=[_cut(redacted(_named(cause)), 200) for cause in _causes(first)],
    )
    if with_traceback:
        details.traceback = _traceback(error)
    # other peers read the text alone, where an error of ours has its hint too, as its str() does
    said = f"{message}; {hint}" if hint and isinstance(first, JumpstarterException) else message
    return Failure(grpc.StatusCode[status_of(code)], _cut(redacted(said), MAX_DETAILS, encoded=True), details)


async def refuse(
    session: Session, context: Any, uuid: str, operation: str, error: BaseException, *, opened: bool = False
) -> NoReturn:
    """End a call of a driver's method with what went wrong, and say so in the log."""
    await abort(context, explain(session, context, uuid, operation, error, opened=opened))


def explain(
    session: Session, context: Any, uuid: str, operation: str, error: BaseException, *, opened: bool = False
) -> Failure:
    """What the client of a call that failed is told; says so in the log, too."""
    driver, device = whereabouts(session, uuid)
    if isinstance(error, DeviceAbsentError):
        session.upkeep.states.absent(uuid, driver, error)
    failure = failure_of(
        error,
        driver=driver,
        device=device,
        operation=operation,
        opened=opened,
        with_traceback=_may_see_traceback(context),
    )
    where = f"{driver}.{operation}" if driver else operation
    logger.info("%s failed (%s): %s", where, failure.details.code, one_line(failure.text))
    logger.debug("where it failed", exc_info=error)
    return failure


async def abort(context: Any, failure: Failure) -> NoReturn:
    """End a call with a failure."""
    trailing = ((ERROR_METADATA_KEY, failure.details.SerializeToString()),)
    await context.abort(failure.status, failure.text, trailing)
    raise AssertionError("abort returned")


def whereabouts(session: Session, uuid: str) -> tuple[str, str]:
    """Path and device of the instance with that uuid, as far as there are."""
    try:
        driver = session.instance(uuid)
    except (ValueError, LookupError):
        return "", ""
    return session.path(driver), redacted(session.upkeep.identity(driver))


def _may_see_traceback(context: Any) -> bool:
    """Whether the client asks for tracebacks, and is of this host or the exporter's operator wants them told."""
    metadata: dict[str, object] = dict(context.invocation_metadata() or ())
    if DEBUG_METADATA_KEY not in metadata:
        return False
    return str(context.peer()).startswith("unix:") or bool(os.environ.get(JMP_DEBUG))


def _broken_stream(error: BaseException) -> str | None:
    """The code of what broke an open byte stream, None for what else happened to it."""
    if isinstance(error.__cause__ or error, DecodeError):
        return "invalid-argument"
    return "stream-broken" if isinstance(error, BrokenResourceError | OSError) else None


def _text(error: BaseException) -> str:
    """The exception's own text with its notes; with its name too where the text alone says little."""
    text = _str(error)
    if isinstance(error, JumpstarterException):
        text = text.removesuffix(f"; {error.hint}") if error.hint else text
    elif text and isinstance(error, (*_FAULTS, SystemExit, KeyboardInterrupt)):
        text = f"{type(error).__name__}: {text}"
    return "; ".join([text or type(error).__name__, *map(str, getattr(error, "__notes__", ()))])


def _str(error: BaseException) -> str:
    """The text of an exception, nothing where it fails to say it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 a class of somebody else: its call has failed all the same
        return ""


def _joined(texts: list[str]) -> str:
    """The texts of several errors as one."""
    different = list(dict.fromkeys(texts))
    more = len(different) - _MOST_LEAVES
    return "; ".join(different[:_MOST_LEAVES] + ([f"and {more} more"] if more > 0 else []))


def _hint(error: BaseException, code: str) -> str:
    """What to do: the error's own word, or what helps against errors of its kind."""
    hint = getattr(error, "hint", None)
    if isinstance(hint, str) and hint:
        return hint
    if isinstance(error, OSError) and error.errno is not None and _str(error).startswith("[Errno"):
        return _HINTS.get(error.errno, "")
    if type(error).__name__ == "PydanticSerializationError":
        return "a fault of the driver: let it return plain values, a dataclass or a model"
    if isinstance(error, SystemExit | KeyboardInterrupt) or (
        code == "failed" and (isinstance(error, _FAULTS) or not _str(error))
    ):
        return "a fault of the driver; JMP_DEBUG=1 shows where"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exceptions behind one, the direct one first."""
    seen = {id(error)}
    cause = _behind(error)
    while cause is not None and id(cause) not in seen and len(seen) <= _MOST_CAUSES:
        yield cause
        seen.add(id(cause))
        cause = _behind(cause)


def _behind(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _named(error: BaseException) -> str:
    text = _str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _traceback(error: BaseException) -> str:
    """The traceback, of which the end says most."""
    text = redacted("".join(traceback.format_exception(error, limit=-30)))
    data = text.encode(errors="replace")
    if len(data) > MAX_TRACEBACK:
        text = "…" + data[-MAX_TRACEBACK:].decode(errors="ignore")
    return text


def _cut(text: str, most: int, *, encoded: bool = False) -> str:
    """As much of the text as takes at most so many bytes; in a status, gRPC writes what is not ASCII as %xx."""
    text = text[: most + 1].encode("utf-8", "backslashreplace").decode()
    factor = 3 if encoded else 1
    size = 0
    for i, character in enumerate(text):
        size += 1 if " " <= character <= "~" and character != "%" else factor * len(character.encode())
        if size > most:
            return f"{text[:i]}…"
    return text
