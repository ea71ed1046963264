"""Drivers for devices that come, go, fail and hang, and that write down what happens to them."""

import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio.abc import ObjectStream
from jumpstarter.common.exceptions import DeviceAbsentError
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.common import create_memory_stream


@dataclass(kw_only=True)
class Noting(Driver):
    """A driver that notes events in a file."""

    record: str
    """File that gets one line per event."""

    tag: str = ""
    """Name in these lines."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def note(self, event: str) -> None:
        with Path(self.record).open("a") as file:
            file.write(f"{self.tag} {event}\n")


@dataclass(kw_only=True)
class Port(Noting):
    """Needs a device that is a file."""

    device: str = ""
    """The file."""

    physical: str | None = None
    """Identity, if any."""

    fail_make: str = ""
    fail_reset: str = ""
    fail_close: str = ""
    """`hang`, or the name of the exception to raise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.note("make")
        if self.device:
            Path(self.device).read_bytes()
        misbehave(self.fail_make)
        self.is_on = False

    def identity(self) -> str | None:
        return self.physical

    def reset(self) -> None:
        self.note("reset")
        misbehave(self.fail_reset)
        super().reset()

    def close(self) -> None:
        self.note("close")
        misbehave(self.fail_close)
        super().close()
        self.note("closed")

    @export
    def ping(self) -> str:
        """Answer."""
        if self.device and not Path(self.device).exists():
            raise DeviceAbsentError(f"port {self.device} is gone", "plug it in again")
        return "pong"

    @export
    def items(self) -> Generator[int]:
        """Two items."""
        yield from (1, 2)

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ObjectStream[bytes]]:
        """A stream of one word."""
        near, far = create_memory_stream()
        async with near, far:
            await near.send(b"word")
            await near.send_eof()
            yield far


@dataclass(kw_only=True)
class Supply(Port):
    """Something that must be off between sessions."""

    release_default = "off"
    seconds: float = 0.0

    @export
    def on(self) -> None:
        self.note("on")

    @export
    async def off(self) -> None:
        self.note("off")
        if self.fail_close == "off":
            raise OSError("the relay does not answer")


@dataclass(kw_only=True)
class Needy(Noting):
    """Uses a driver below it when it is made, and keeps it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.note("make")
        self.port = self.children["port"]
        if not isinstance(self.port, Port):
            raise TypeError("port: give it a Port")
        if self.port.is_on:
            raise ValueError("port: is on")

    @export
    def ask(self) -> str:
        """What the port answers."""
        assert isinstance(self.port, Port)
        return self.port.ping()


@dataclass(kw_only=True)
class Stuck(Supply):
    """Whose `off` does not end."""

    @export
    def off(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.note("off")
        time.sleep(60)


def misbehave(how: str) -> None:
    """Hang, raise, or until a file is there, `until:FILE`."""
    if how == "hang":
        time.sleep(60)
    elif how.startswith("until:"):
        while not os.path.exists(how.removeprefix("until:")):  # noqa: PTH110 as fast as can be
            time.sleep(0.02)
    elif how.startswith("unless:"):
        if not Path(how.removeprefix("unless:")).exists():
            raise OSError("it does not answer")
    elif how:
        raise {"RuntimeError": RuntimeError, "OSError": OSError, "ValueError": ValueError, "SystemExit": SystemExit}[
            how
        ]("as asked for")
