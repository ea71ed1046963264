"""The drivers of the parts of the simulated board. They share the board, which belongs to `VirtualBoard`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, ClassVar

from anyio import CancelScope, fail_after, sleep, wait_readable
from jumpstarter.common.exceptions import DeviceAbsentError
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.threads import in_thread
from jumpstarter_driver_network.connect import connect_unix
from jumpstarter_driver_network.interface import NetworkInterface
from jumpstarter_driver_network.streams import SocketStream
from jumpstarter_driver_power.interface import PowerInterface
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_storage.common import Position
from jumpstarter_driver_storage.mux import StorageMux

from .emulator import Board, Stage
from .emulator import Position as Place

if TYPE_CHECKING:
    from jumpstarter_driver_power.common import PowerReading


@dataclass(kw_only=True)
class BoardPower(PowerInterface, Driver):
    """The supply of the simulated board, and its meter."""

    board: Board = field(repr=False)

    interval: float = 0.1
    """Seconds between two readings."""

    @export
    def on(self) -> None:
        """Connect the supply."""
        self.board.power_on()
        self.logger.info("power on")

    @export
    def off(self) -> None:
        """Disconnect the supply."""
        self.board.power_off()
        self.logger.info("power off")

    @export
    async def read(self) -> "AsyncGenerator[PowerReading]":
        """Measure volt and ampere for as long as somebody asks."""
        reading_of = await in_thread(_reading_class)
        while True:
            voltage, current = await in_thread(self.board.reading)
            yield reading_of(voltage=voltage, current=current)
            await sleep(self.interval)


def _reading_class() -> "type[PowerReading]":
    from jumpstarter_driver_power.common import PowerReading  # slow: it imports pydantic

    return PowerReading


@dataclass(kw_only=True)
class BoardConsole(PySerial):
    """The serial console of the simulated board, on a pseudo-terminal."""

    board: Board = field(repr=False)

    url: str = ""
    """The board's own port, unless it is another."""

    log_file: str | None = ""
    """Nowhere: the board is gone with its exporter."""

    def __post_init__(self) -> None:
        self.url = self.url or self.board.console_path
        super().__post_init__()


@dataclass(kw_only=True)
class BoardStorage(StorageMux):
    """The medium that the simulated board boots from, behind a mux between the host and the board.

    It is at the board between sessions, as after a reset, unless it holds only part of an image.
    """

    release_default: ClassVar[str] = "dut"

    board: Board = field(repr=False)

    storage_timeout: float = 0.5

    key: str | None = None
    """Name of the medium where it outlives the board."""

    def switch(self, position: Position) -> None:
        self.board.move_medium(Place(position))
        self.logger.info("medium to %s", position)

    def position(self) -> Position:
        return Position(self.board.state()["medium"])

    def medium(self) -> Path:
        try:
            return self.board.medium_at_host()
        except OSError as e:
            raise DeviceAbsentError(str(e)) from e

    def medium_key(self) -> str | None:
        return self.key

    def reset(self) -> None:
        """Keep the medium from the board where it holds only part of an image."""
        super().reset()
        if self.incomplete() is not None:
            self.switch(Position.HOST)


@dataclass(kw_only=True)
class BoardButton(Driver):
    """The button of the simulated board: an output of the exporter, active when pressed; released after use."""

    release_default: ClassVar[str] = "off"

    board: Board = field(repr=False)

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_virtual.client.ButtonClient"

    @export
    def press(self) -> None:
        """Press the button, and hold it."""
        self.board.set_button(True)
        self.logger.info("button pressed")

    @export
    def release(self) -> None:
        """Release the button."""
        self.board.set_button(False)
        self.logger.info("button released")

    @export
    def on(self) -> None:
        """Press the button, by the name that digital outputs have for it."""
        self.press()

    @export
    def off(self) -> None:
        """Release the button, by the name that digital outputs have for it."""
        self.release()

    @export
    def read_pin(self) -> int:
        """1 while the button is pressed, otherwise 0."""
        return int(self.board.button)


@dataclass(kw_only=True)
class BoardLed(Driver):
    """The LED of the simulated board: an input of the exporter, active when lit."""

    board: Board = field(repr=False)

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_virtual.client.LedClient"

    @export
    def read_pin(self) -> int:
        """1 while the LED is lit, otherwise 0."""
        return int(self.board.led)

    @export(concurrent=True)
    async def wait_for_active(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 a parameter on the wire
        """Wait until the LED is lit; raises TimeoutError after `timeout` seconds, None waits for ever."""
        await self._wait(True, timeout)

    @export(concurrent=True)
    async def wait_for_inactive(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 a parameter on the wire
        """Wait until the LED is dark; raises TimeoutError after `timeout` seconds, None waits for ever."""
        await self._wait(False, timeout)

    async def _wait(self, lit: bool, timeout: float | None) -> None:  # noqa: ASYNC109
        async with self._changes() as changes:
            try:
                with fail_after(timeout):
                    while await in_thread(self._is_lit) != lit:
                        await wait_readable(changes)
                        changes.recv(4096)
            except TimeoutError:
                wanted, stage = "on" if lit else "off", await in_thread(self._stage)
                raise TimeoutError(f"led: not {wanted} within {timeout:g} s; the board is in stage {stage!s}") from None

    @asynccontextmanager
    async def _changes(self) -> AsyncGenerator[socket]:
        """`Board.led_changes`, without a wait for the board on the event loop."""
        changes = self.board.led_changes()
        readable = await in_thread(changes.__enter__)
        try:
            yield readable
        finally:
            with CancelScope(shield=True):
                await in_thread(changes.__exit__, None, None, None)

    def _is_lit(self) -> bool:
        return self.board.led

    def _stage(self) -> Stage:
        return self.board.stage


@dataclass(kw_only=True)
class BoardPage(NetworkInterface, Driver):
    """The web server of the simulated board; nothing but the exporter can reach it."""

    board: Board = field(repr=False)

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_virtual.client.HttpClient"

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[SocketStream]:
        """Connect to port 80 of the board."""
        async with connect_unix(await in_thread(self._page)) as stream:
            yield stream

    def _page(self) -> str:
        """The path of the socket that it answers on."""
        if (stage := self.board.stage) != Stage.BOOTED:
            raise ConnectionRefusedError(
                f"http: the board does not answer before it has booted, and is in stage {stage!s}"
            )
        return str(self.board.page_path)
