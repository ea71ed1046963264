"""What all drivers of a DUTLink take in common: which board, and how long it may take to answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver
from jumpstarter.usb import UsbMatch, text_of_serial

from .board import Board, boards
from .protocol import SERIAL_DIGITS, firmware, is_dutlink


@dataclass(kw_only=True)
class DutlinkConfig(Driver):
    """Finds the board. Drivers for one board, in one tree or in several entries, share what talks to it."""

    serial: str | int | None = None
    """The board's serial number, 8 hexadecimal digits; None: the only board there is."""

    port: str | None = None
    """USB port that the board is plugged into, such as `1-4.2`; needed where two boards have the same serial."""

    timeout_s: float = 20
    """Seconds that the board has to answer a request; while it runs a power sequence, 5 more than that takes."""

    _board: Board | None = field(default=None, init=False, repr=False, compare=False)
    _returns: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.serial = text_of_serial(self.serial, SERIAL_DIGITS)
        if self.timeout_s <= 0:
            raise ConfigurationError(f"timeout_s must be more than 0 seconds, not {self.timeout_s}")

    def board(self) -> Board:
        """The board, ready to take requests; raises why it is not."""
        if self._board is None:
            self._board = boards.get(self._match())
            self._returns = self._board.link.returns
        device = self._board.device()
        if self._returns != self._board.link.returns:
            self._returns = self._board.link.returns
            self.logger.warning("%s was away: the DUT's power and storage are off now, its pins float", device)
        return self._board

    def identity(self) -> str:
        """The board, by its serial."""
        return self.board().link.device().identity

    def reset(self) -> None:
        """Look whether the board is there and works; it is left as it is."""
        device = self.board().link.device()
        self.logger.debug("%s, firmware %s", device, firmware(device))
        super().reset()

    def close(self) -> None:
        """Let go of the board, as it is."""
        if self._board is not None:
            self._board.link.let_go()
        super().close()

    def _match(self) -> UsbMatch:
        assert not isinstance(self.serial, int)
        return UsbMatch(
            kind="DUTLink",
            is_kind=is_dutlink,
            serial=self.serial,
            port=self.port,
            hint="connect its USB-C plug (boards of revision 1.0.0: try the other way round)",
            when_gone="the DUT has no power now",
        )
