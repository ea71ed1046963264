"""The storage in J9 of the board, which either the exporter's host has, through J7, or the DUT, through J8.

The mux itself tells nothing. What can be seen is the disk: it is at the host, or it is not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from jumpstarter.common.exceptions import ConfigurationError, DeviceAbsentError, DeviceFaultyError
from jumpstarter.driver import export, sleep
from jumpstarter_driver_storage.blockdevices import write_back
from jumpstarter_driver_storage.common import Position, StorageError
from jumpstarter_driver_storage.devices import users_of
from jumpstarter_driver_storage.mux import StorageMux

from .board import Board
from .config import DutlinkConfig
from .protocol import Position as Target
from .protocol import is_dutlink

LEAVING = 5.0
"""Seconds that the host has to notice that the disk is gone."""

POLL = 0.1

_TARGETS: dict[Position, Target] = {Position.OFF: "off", Position.HOST: "host", Position.DUT: "dut"}


@dataclass(kw_only=True)
class DutlinkStorageMux(StorageMux, DutlinkConfig):
    """The board's storage mux.

    It is switched by way of `off`, so that the medium is reset: sticks that change sides without losing their supply
    hang. It needs the cables J7, to the host, and J8, to the DUT; at the DUT it has power while the DUT has.
    """

    storage_device: str | None = None
    """The medium when the host has it, best by its link in /dev/disk/by-id; None: the disk that appears then."""

    storage_timeout: float = 10
    """Seconds until the medium has to be there after it was switched to the host; usually 1 to 5."""

    storage_leeway: float = 6
    """Seconds that the medium gets after it was written: some write on after they said that they are done."""

    storage_fsync_timeout: float = 900
    """Of no effect: it takes as long as it takes. Configurations may have it."""

    off_seconds: float = 2
    """Seconds without supply between two positions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.off_seconds < 0:
            raise ConfigurationError(f"off_seconds must be 0 or more, not {self.off_seconds}")

    # the mux

    def switch(self, position: Position) -> None:
        """Turn the mux, by way of off where it turns, and look whether the disk follows."""
        board = self.board()
        target = _TARGETS[position]
        if board.position == target and (position is not Position.HOST or self._is_proven(board)):
            board.storage(target, self.timeout_s)  # where somebody else has turned it meanwhile
            return
        if board.position == "dut" and board.is_powered(self.timeout_s):
            self.logger.warning("the storage is taken from a DUT that has power; what it was writing is lost")
        if position is not Position.OFF and board.position != "off":
            if position is Position.HOST and board.position != "dut":
                self.leave_host()  # for a moment; on the way to elsewhere, who asked for that has left it
            self._turn_off(board)
            sleep(self.off_seconds)
        if position is Position.HOST:
            self._look_at_others(board)
        board.storage(target, self.timeout_s)
        self.logger.info("storage %s", position)
        if position is not Position.HOST:
            self._wait_until_gone(board, f"switched to {position}")

    def _turn_off(self, board: Board) -> None:
        was_host = board.position in ("host", None)
        board.storage("off", self.timeout_s)
        if was_host:
            self._wait_until_gone(board, "switched off")

    def _look_at_others(self, board: Board) -> None:
        """Note what is not the medium, which is at nobody's now."""
        board.other_disks = frozenset(self._disks(board))
        boards = [device for device in board.link.host.devices() if is_dutlink(device)]
        if self.storage_device is None and len(boards) > 1:
            raise DeviceFaultyError(
                f"{board.device()}: {len(boards)} DUTLinks are connected, and a disk that appears may be any one's",
                "set storage_device to the link of its disk in /dev/disk/by-id or by-path",
            )
        if self.storage_device is not None and Path(self.storage_device).exists():
            raise StorageError(
                f"{self.storage_device} is there while the board has its storage off: it is not behind this board, or "
                "the mux does not turn",
                "correct storage_device, or check the board",
            )
        if self.storage_device is not None:
            board.proven.add(Path(self.storage_device))

    def _is_proven(self, board: Board) -> bool:
        """Whether the disk is known to come and go with the mux."""
        return self.storage_device is None or Path(self.storage_device) in board.proven

    def _wait_until_gone(self, board: Board, what: str) -> None:
        """A mux that does not turn is seen by the disk that stays."""
        if (path := self._known_path(board)) is None:
            return
        end = time.monotonic() + LEAVING
        while path.exists():
            if time.monotonic() > end:
                board.forget_position()
                raise DeviceFaultyError(
                    f"{board.device()}: the storage was {what}, and {path} is still at the host",
                    "check that storage_device is the disk behind this board, and that the mux turns",
                )
            time.sleep(POLL)

    def _known_path(self, board: Board) -> Path | None:
        if self.storage_device is not None:
            return Path(self.storage_device)
        return board.disk

    def _disks(self, board: Board) -> list[Path]:
        """All disks on the host's USB."""
        host = board.link.host
        return [disk for device in host.devices() for disk in host.disks(device)]

    # the medium

    def medium(self) -> Path:
        """The disk of the medium; DeviceAbsentError while it is not there, DeviceFaultyError if unclear which it is."""
        board = self.board()
        if self.storage_device is not None:
            path = Path(self.storage_device)
            if not path.exists():
                raise DeviceAbsentError(f"{path} is not there", "check the cable J7 and the stick, and storage_device")
            return path
        if board.position != "host":
            raise DeviceAbsentError(f"{board.device()}: its storage is not at the host")
        found = [disk for disk in self._disks(board) if disk not in board.other_disks and disk.exists()]
        if not found:
            raise DeviceAbsentError(f"{board.device()}: no disk has appeared", "check the cable J7 and the stick")
        if len(found) > 1:
            names = ", ".join(map(str, found))
            raise DeviceFaultyError(
                f"{board.device()}: {len(found)} disks have appeared, and none is taken on a guess: {names}",
                "set storage_device",
            )
        board.disk = found[0]
        return found[0]

    def leave_host(self) -> None:
        """As of every mux; as long as it is not known where the storage is, any disk on USB may be its."""
        board = self.board()
        if self.storage_device is None and board.position is None:
            for disk in self._disks(board):
                if users := users_of(disk, self.rules()):
                    raise StorageError(
                        f"{board.device()}: nothing was switched yet, and its storage may be {disk}, which is in use "
                        f"on this host: {', '.join(users)}",
                        "unmount it, or set storage_device, by which the right one is known",
                    )
                write_back(disk)
        super().leave_host()

    def medium_key(self) -> str:
        """The board and the place of its medium."""
        return f"{self.identity()} storage"

    # what is known

    def position(self) -> Position:
        """What the mux was told last, as it cannot be read; DeviceFaultyError where nobody has told it anything yet."""
        board = self.board()
        if board.position is None:
            raise DeviceFaultyError(
                f"{board.device()}: nothing was switched yet, and the board cannot tell",
                "switch it to host, dut or off",
            )
        return Position(board.position)

    @export(read_only=True)
    def state(self) -> str:
        """Where the medium is: host, dut or off, as it was told; unknown before the first switch."""
        board = self.board()
        return board.position or "unknown"
