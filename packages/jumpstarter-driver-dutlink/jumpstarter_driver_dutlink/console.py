"""The serial console of the DUT, through the board."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jumpstarter.common.exceptions import ConfigurationError, DeviceAbsentError, DeviceFaultyError
from jumpstarter.driver import export
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_serial.port import LineSettings, Port

from .config import DutlinkConfig
from .transparent import TransparentPort


@dataclass(kw_only=True)
class DutlinkSerial(PySerial, DutlinkConfig):
    """The DUT's console: the board's UART at 115200 8N1, or the USB device that the board's `usb_console` names.

    The exporter reads it at all times; the firmware keeps 1 KiB while nobody does, and drops the rest.
    """

    url: str = ""
    """Found by the board; not to be given."""

    _is_uart: bool = field(default=True, init=False, repr=False, compare=False)
    """Whether the port is the board's own."""

    _transparent: TransparentPort | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.url:
            raise ConfigurationError("url: it is found by the board; use PySerial for another port")
        self.url = f"dutlink-{self.serial or self.port or 'board'}"
        super().__post_init__()

    def identity(self) -> str:
        """The board, by its serial."""
        return DutlinkConfig.identity(self)

    def locate(self) -> str:
        """The tty to open now: that of the board, or the one that its setting `usb_console` names."""
        board = self.board()
        wanted = board.field("usb_console", self.timeout_s)
        self._is_uart = not wanted
        if wanted:
            return str(self._other_console(wanted))
        device = board.device()
        ttys = board.link.host.ttys(device)
        if not ttys:
            raise DeviceAbsentError(
                f"{device}: the board has no serial port", "load the kernel module cdc_acm, or see what else is bound"
            )
        return str(ttys[0])

    def _other_console(self, wanted: str) -> Path:
        folder = self.board().link.host.dev / "serial/by-id"
        links = folder.iterdir() if folder.is_dir() else ()
        names = sorted(link.name for link in links if wanted in link.name)
        if not names:
            raise DeviceAbsentError(
                f"{self.board().device()}: no serial port has {wanted!r} in its name, as usb_console says",
                "switch the DUT on where it has that port itself, or correct usb_console",
            )
        if len(names) > 1:
            raise DeviceFaultyError(
                f"{self.board().device()}: {len(names)} serial ports have {wanted!r} in their name: {', '.join(names)}",
                "make usb_console longer",
            )
        return folder / names[0]

    def open_port(self, settings: LineSettings) -> Port:
        """Open the console, and keep the board's in console mode."""
        port = super().open_port(settings)
        self._transparent = TransparentPort(port) if self._is_uart else None
        return self._transparent or port

    @export(concurrent=True)
    def force_console_mode(self) -> None:
        """Lead the board out of its own shell, where somebody has left it; the DUT gets five times Ctrl-B for that."""
        if self._transparent is None:
            raise NotImplementedError("the console is not the board's own")
        self._transparent.force()
        self.logger.info("console mode")

    @export(concurrent=True)
    def set_dtr(self, value: bool) -> None:
        """Set DTR of the port that `usb_console` names; the board's own has none."""
        self._needs_lines("DTR")
        super().set_dtr(value)

    @export(concurrent=True)
    def set_rts(self, value: bool) -> None:
        """Set RTS of the port that `usb_console` names; the board's own has none."""
        self._needs_lines("RTS")
        super().set_rts(value)

    @export(concurrent=True)
    def set_baudrate(self, value: int) -> None:
        """Change the rate of the port that `usb_console` names; the board's own is fixed."""
        self._needs_lines("another rate than 115200 baud")
        super().set_baudrate(value)

    @export(concurrent=True)
    def send_break(self, duration: float = 0.25) -> None:
        """Send a break at the port that `usb_console` names; the board's own cannot."""
        self._needs_lines("break")
        super().send_break(duration)

    def _needs_lines(self, what: str) -> None:
        if self._is_uart:
            raise NotImplementedError(f"the UART of a DUTLink has no {what}")
