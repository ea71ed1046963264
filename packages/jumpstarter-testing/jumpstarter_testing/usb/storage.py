"""A disk on USB: bulk-only transport and the few SCSI commands that Linux sends, over a file.

Its medium may come and go, as in a card reader. Formats: USB Mass Storage Class, Bulk-Only Transport 1.0; SPC-4, SBC-3.
"""

import struct
from collections.abc import Callable
from pathlib import Path

from .device import BULK, HIGH, EmulatedDevice, Request, interface

BLOCK = 512

NOT_READY, UNIT_ATTENTION, ILLEGAL_REQUEST, DATA_PROTECT, MEDIUM_ERROR = 2, 6, 5, 7, 3
"""Sense keys."""


class MassStorage(EmulatedDevice):
    """A stick, or a reader with a card, whose blocks are those of a file."""

    vendor, product = 0x0781, 0x5581
    manufacturer, name = "SanDisk", "3.2 Gen 1"
    speed = HIGH
    interfaces = interface(0, (8, 6, 0x50), [(0x81, BULK, 512), (0x02, BULK, 512)])
    inquiry = b"SanDisk 3.2 Gen 1       1.00"

    def __init__(self, path: Path, serial: str = "5B4C0AB025C0", *, present: bool = True) -> None:
        super().__init__(serial)
        self.path = path
        self.is_present = present
        """The medium is in."""
        self.is_protected = False
        """It refuses to be written."""
        self.bad_blocks = range(0)
        """Blocks whose reading and writing fail."""
        self.is_forgetful = False
        """It cannot bring to the medium what it holds back; a host asks for that if it knows of a cache."""
        self.on_write: Callable[[int], None] | None = None
        """Called with the number of blocks that were written so far, before the next ones are."""
        self.written = 0
        self.on_medium: Callable[[bool], None] | None = None
        """Called when the medium comes or goes; how a `FakeBench` knows."""
        self.commands = 0
        """SCSI commands since the device was configured."""
        self._has_changed = False
        self._sense = (0, 0, 0)
        self._writing: tuple[int, bytes, int] | None = None
        """Tag, command and length of a write whose data are on their way."""
        self._incoming = bytearray()

    @property
    def blocks(self) -> int:
        return self.path.stat().st_size // BLOCK

    def set_medium(self, present: bool) -> None:
        """Put the medium in, or take it out; the next command tells the host."""
        with self.lock:
            if present == self.is_present:
                return
            self._has_changed = present
            self.is_present = present
        if self.on_medium is not None:
            self.on_medium(present)

    def powered_up(self) -> None:
        self._writing, self._sense = None, (0, 0, 0)

    def configured(self) -> None:
        self.commands = 0

    def control(self, request: Request) -> bytes:
        return b"\0"  # GET MAX LUN: one; reset: done

    def received(self, endpoint: int, data: bytes) -> None:
        with self.lock:
            if self._writing is None:
                self._command(data)
                return
            tag, command, total = self._writing
            self._incoming += data
            if len(self._incoming) >= total:
                self._writing = None
                done, good = self._write(command, bytes(self._incoming))
                self._finish(tag, total, done, good)

    def _command(self, data: bytes) -> None:
        _, tag, total, flags, _, size = struct.unpack("<IIIBBB", data[:15])
        command = data[15 : 15 + size]
        self.commands += 1
        if total and not flags & 0x80:
            self._writing, self._incoming = (tag, command, total), bytearray()
            return
        answer, good = self._execute(command)
        if total:
            self.send(1, answer[:total])
        self._finish(tag, total, len(answer), good)

    def _finish(self, tag: int, total: int, done: int, good: bool) -> None:
        self.send(1, struct.pack("<4sIIB", b"USBS", tag, max(total - done, 0), 0 if good else 1))

    def _fail(self, *sense: int) -> tuple[bytes, bool]:
        key, code, qualifier = sense
        self._sense = key, code, qualifier
        return b"", False

    def _execute(self, command: bytes) -> tuple[bytes, bool]:
        operation = command[0]
        match operation:
            case 0x03:  # REQUEST SENSE
                (key, code, qualifier), self._sense = self._sense, (0, 0, 0)
                return bytes((0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0)), True
            case 0x12:  # INQUIRY, without vital product data
                if command[1] & 1:
                    return self._fail(ILLEGAL_REQUEST, 0x24, 0)
                return bytes((0, 0x80, 4, 2, 31, 0, 0, 0)) + self.inquiry, True
            case 0x1A:  # MODE SENSE(6)
                return bytes((3, 0, 0x80 * self.is_protected, 0)), True
            case 0x5A:  # MODE SENSE(10)
                return bytes((0, 6, 0, 0x80 * self.is_protected, 0, 0, 0, 0)), True
            case 0x35 if self.is_forgetful:
                return self._fail(MEDIUM_ERROR, 0x0C, 0)
            case 0x1B | 0x1E | 0x35:  # START STOP UNIT, PREVENT REMOVAL, SYNCHRONIZE CACHE
                return b"", True
            case _:
                return self._execute_on_medium(operation, command)

    def _execute_on_medium(self, operation: int, command: bytes) -> tuple[bytes, bool]:
        if not self.is_present:
            return self._fail(NOT_READY, 0x3A, 0)
        if self._has_changed:
            self._has_changed = False
            return self._fail(UNIT_ATTENTION, 0x28, 0)
        match operation:
            case 0x00:  # TEST UNIT READY
                return b"", True
            case 0x25:  # READ CAPACITY(10)
                return struct.pack(">II", self.blocks - 1, BLOCK), True
            case 0x28:  # READ(10)
                start, count = _extent(command)
                if self._is_bad(start, count):
                    return self._fail(MEDIUM_ERROR, 0x11, 0)
                with self.path.open("rb") as file:
                    file.seek(BLOCK * start)
                    return file.read(BLOCK * count), True
            case _:
                return self._fail(ILLEGAL_REQUEST, 0x20, 0)

    def _write(self, command: bytes, data: bytes) -> tuple[int, bool]:
        if command[0] != 0x2A:  # WRITE(10)
            self._fail(ILLEGAL_REQUEST, 0x20, 0)
            return 0, False
        start, count = _extent(command)
        if self.on_write is not None:
            self.on_write(self.written)
        if not self.is_present:
            self._fail(NOT_READY, 0x3A, 0)
        elif self.is_protected:
            self._fail(DATA_PROTECT, 0x27, 0)
        elif self._is_bad(start, count):
            self._fail(MEDIUM_ERROR, 0x0C, 0)
        else:
            with self.path.open("r+b") as file:
                file.seek(BLOCK * start)
                self.written += count
                return file.write(data), True
        return 0, False

    def _is_bad(self, start: int, count: int) -> bool:
        return bool(self.bad_blocks) and start < self.bad_blocks.stop and self.bad_blocks.start < start + count


def _extent(command: bytes) -> tuple[int, int]:
    """First block and number of blocks."""
    return struct.unpack_from(">I", command, 2)[0], struct.unpack_from(">H", command, 7)[0]


def let_cache(disk: Path) -> None:
    """Let the kernel believe that a disk has a cache, so that it asks it to bring what it holds to its medium."""
    [setting] = (Path("/sys/class/block") / disk.resolve().name / "device/scsi_disk").glob("*/cache_type")
    setting.write_text("temporary write back")


class CardReader(MassStorage):
    """The reader inside an SDWire, which reports the same serial in every one of them."""

    vendor, product = 0x0424, 0x4050
    manufacturer, name = "Generic", "Ultra Fast Media Reader"
    inquiry = b"Generic Ultra HS-SD/MMC 1.00"

    def __init__(self, path: Path, serial: str = "000000264001", *, present: bool = True) -> None:
        super().__init__(path, serial, present=present)
