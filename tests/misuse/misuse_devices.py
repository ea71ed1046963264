"""Drivers that fail in every way, for the cases of misuse."""

import errno
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio.abc import ObjectStream
from jumpstarter.common import exceptions
from jumpstarter.driver import Driver, export, exportstream


def _missing() -> None:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/dev/ttyUSB7")


def _denied() -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/dev/ttyUSB0")


def _unplugged() -> None:
    try:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    except OSError as e:
        raise ConnectionError("relay on /dev/ttyUSB0 does not answer; check its cable") from e


def _stuck_relay() -> None:
    raise exceptions.DeviceFaultyError("contact 2 of the relay is welded", "replace the relay")


FAILURES: dict[str, BaseException | Callable[[], None]] = {
    "value": ValueError("there is no channel 9; the board has 1 to 8"),
    "unable": NotImplementedError("a relay cannot measure; add a meter as a sibling"),
    "late": TimeoutError("no answer from the relay within 3 s; is it powered?"),
    "missing": _missing,
    "denied": _denied,
    "unplugged": _unplugged,
    "faulty": _stuck_relay,
    "absent": exceptions.DeviceAbsentError("no relay with serial 7F3A", "plug it in"),
    "busy": exceptions.BusyError("the relay belongs to ann@lab1 since 12:03", "ask ann to let it go"),
    "forbidden": exceptions.NotAllowedError("ann may only read", "ask the administrator of the lab"),
    "bug": KeyError("volts"),
    "silent": RuntimeError(),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "group": ExceptionGroup("tasks", [OSError("fan 1 does not turn"), OSError("fan 2 does not turn")]),
    "huge": RuntimeError("no " * 100_000),
    "escapes": RuntimeError("\x1b[2J\x1b]0;owned\x07 the screen is\r\ngone \u202etxt.exe"),
    "secret": OSError("cannot fetch https://ann:hunter2@images.lab/boot.img?token=abc123: refused"),
}


class Cut(ObjectStream[bytes]):
    """A byte stream that breaks at once."""

    async def receive(self) -> bytes:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), "/dev/ttyUSB0")

    async def send(self, item: bytes) -> None: ...

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


@dataclass(kw_only=True)
class Gadget(Driver):
    """Fails as it is told."""

    channel: int = 1

    @classmethod
    def client(cls) -> str:
        return "misuse_client.GadgetClient"

    @export
    def fail(self, how: str) -> None:
        """Fail in one of many ways."""
        failure = FAILURES[how]
        if isinstance(failure, BaseException):
            raise failure
        failure()

    @export
    def set(self, channel: int, on: bool = True) -> str:
        """Switch a channel."""
        return f"{channel} {on}"

    @export
    def echo(self, value: str) -> str:
        """Give back a text."""
        return value

    @export
    def unsendable(self) -> Any:
        """Return what cannot be sent."""
        return object()

    @export
    def large(self) -> str:
        """Return more than a message carries."""
        return "x" * (5 << 20)

    @export(timeout=0.3)
    def slow(self) -> None:
        """Take longer than the method's deadline."""
        time.sleep(1)

    @export(timeout=0.3)
    def hang(self) -> None:
        """Not end with the call."""
        time.sleep(4)

    @export
    def wait(self) -> None:
        """Take 30 s, and tell the test."""
        Path(os.environ["MISUSE_CALLS"]).touch()
        time.sleep(30)

    @export
    def count(self) -> Generator[int]:
        """One number, and an error."""
        yield 1
        raise OSError("the counter stopped at 1; reset it")

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """A byte stream that breaks."""
        yield Cut()

    @exportstream
    @asynccontextmanager
    async def refuse(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """A byte stream that cannot be opened."""
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        yield


class NoClient(Gadget):
    """Its client's package is not there."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_teapot.client.TeapotClient"


class BadValue(Gadget):
    """Cannot be made with these parameters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        raise ValueError(f"channel {self.channel} does not exist; the board has 1 to 8")


class BadCode(Gadget):
    """Has a fault in its constructor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        raise KeyError("volts")


class Exits(Gadget):
    """Ends the process, it thinks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        raise SystemExit(4)


class Absent(Gadget):
    """Its port is not there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _missing()


class OneBoard(Gadget):
    """Has a physical device, which only one can have."""

    def identity(self) -> str | None:
        return "misuse:board-7F3A"


class BadReset(Gadget):
    """Cannot be reset."""

    def reset(self) -> None:
        raise RuntimeError("the relay did not go off; check its supply")


class BadClose(Gadget):
    """Cannot be closed."""

    def close(self) -> None:
        raise OSError("the relay does not answer; check its cable")


class NotADriver:
    """A class of another kind."""
