"""The DUTLink board: power with a meter, pins, a storage mux and a console, as its firmware behaves."""

import struct
import threading
import time
from collections.abc import Callable
from hashlib import sha256

from .device import EmulatedDevice, HangError, Request, StallError, descriptor, interface
from .metering import Meter
from .shell import Shell
from .storage import MassStorage

CONTROL_OUT, CONTROL_IN = 0x41, 0xC1
REFRESH, POWER, STORAGE, CONFIG, READ, SET = range(6)
"""Vendor requests to the control interface."""

ACTIONS = ("off", "on", "force-off", "force-on", "rescue")
POSITIONS = ("off", "host", "dut")
PINS = ("reset", "a", "b", "c", "d")
LEVELS = ("low", "high", "high-impedance")
FIELDS = {"name": 64, "tags": 256, "usb_console": 64, "power_on": 32, "power_off": 32, "power_rescue": 32}
"""Keys of the configuration, in the order of their numbers, and their sizes in bytes."""

_CDC = (
    interface(0, (2, 2, 0), [(0x81, 3, 8)], bytes.fromhex("0524001001 04240200 0524060001 0524010001"))
    + interface(1, (10, 0, 0), [(0x82, 2, 64), (0x01, 2, 64)])
    + interface(2, (0xFE, 1, 1), (), bytes.fromhex("09210bf40100081a01"))
)


class DutlinkBoard(EmulatedDevice):
    """A DUTLink, a DUT that prints a boot log, and a stick in J9 that is plugged in at the host while it is there."""

    vendor, product = 0x2B23, 0x1012
    manufacturer, name = "Red Hat Inc.", "Dutlink"
    interfaces = _CDC + interface(3, (0xFF, 1, 1))

    def __init__(
        self, serial: str = "c415a913", *, version: int = 0x0009, stick: MassStorage | None = None, scale: float = 1.0
    ) -> None:
        """`version` is that of the firmware, as in bcdDevice. `scale` is by how much the board's times are shorter."""
        super().__init__(serial)
        self.version = version
        self.scale = scale
        self.stick = stick
        self.move_stick: Callable[[bool], None] | None = None
        """Lets the stick appear at the host, or leave it; a bench sets it when the board is plugged in."""
        self.stick_delay = 1.0
        """Seconds until it appears, before `scale`."""
        self.is_stuck = False
        """The mux does nothing, whatever is asked."""
        self.supply = (12.05, 1.02)
        """Volts and amperes that the DUT takes while it is on."""
        self.boot_log = b"boot: stick %s\r\nboot: kernel\r\nlogin: "
        """What the DUT prints when it gets power; %s is the sha256 of the first 64 KiB of a stick that it has."""
        self.has_control = version >= 0x0008
        if not self.has_control:
            self.name, self.interfaces = "Jumpstarter", _CDC
        self.fields = dict.fromkeys(FIELDS, b"")
        self.history: list[str] = []
        """What was done to power, pins and mux, in order."""
        self.typed = b""
        """What the DUT got on its serial line."""
        self._mover = threading.Lock()
        self._boot()

    def _boot(self) -> None:
        self.is_powered = self.is_on = False
        self.mux = "off"
        self.stored = ["high-impedance"] * 5
        self.pins = list(self.stored)
        """What the pins are, in the order of PINS."""
        self.meter = Meter(2.0 / self.scale)
        self.snapshot: dict[str, bytes] = dict.fromkeys(FIELDS, b"")
        self.measured = (0.0, 0.0)
        self.shell = Shell(self, console=self.version >= 0x0008)
        self.free_at = 0.0
        self._is_wedged = False

    def powered_up(self) -> None:
        self._boot()

    def unplugged(self) -> None:
        """The MCU loses its supply: the switch opens, the stick is nowhere."""
        self.is_powered = self.is_on = False
        self._set_mux("off")

    def brown_out(self) -> None:
        """The MCU starts again; whoever plugged the board in lets it appear anew."""
        self._set_mux("off")
        self._boot()

    def descriptor(self, kind: int, index: int) -> bytes:
        match kind:
            case 1:
                fixed = bytes.fromhex("1002 00000040 232b 1210")
                return descriptor(
                    1, fixed + struct.pack("<H", self.version) + bytes((1, 2, 3 if self.serial else 0, 1))
                )
            case 2:
                count = 4 if self.has_control else 3
                head = struct.pack("<H5B", 9 + len(self.interfaces), count, 1, 0, 0x80, 0x7D)
                return descriptor(2, head) + self.interfaces
            case 15:
                return bytes.fromhex("050f0c0001 07100200000000")
            case _:
                return super().descriptor(kind, index)

    # requests

    def control(self, request: Request) -> bytes:
        if request.kind & 0x60 == 0x20:
            return self._class_request(request)
        if not self.has_control or request.index & 0xFF != 3 or request.kind not in (CONTROL_OUT, CONTROL_IN):
            raise StallError
        handlers = {
            (CONTROL_OUT, REFRESH): self._refresh,
            (CONTROL_OUT, POWER): self._power,
            (CONTROL_OUT, STORAGE): self._storage,
            (CONTROL_OUT, CONFIG): self._write_field,
            (CONTROL_IN, CONFIG): self._read_field,
            (CONTROL_IN, READ): self._read,
            (CONTROL_OUT, SET): self._set_pin,
        }
        handler = handlers.get((request.kind, request.request))
        if handler is None:
            raise StallError
        return handler(request)

    def _class_request(self, request: Request) -> bytes:
        match request.kind, request.request:
            case (0x21, 0x20 | 0x22 | 0x00):  # SET_LINE_CODING, SET_CONTROL_LINE_STATE, SEND_ENCAPSULATED_COMMAND
                return b""
            case (0xA1, 0x21):  # GET_LINE_CODING
                return struct.pack("<IBBB", 9600, 0, 0, 8)
            case (0xA1, 3) if request.index == 2:  # DFU GETSTATUS
                return bytes(6)
            case _:
                raise StallError

    def _refresh(self, request: Request) -> bytes:
        self.snapshot = dict(self.fields)
        self.measured = self.meter.read()
        return b""

    def _power(self, request: Request) -> bytes:
        if request.value >= len(ACTIONS):
            raise StallError
        self.power(ACTIONS[request.value])
        return b""

    def _storage(self, request: Request) -> bytes:
        if request.value >= len(POSITIONS):
            raise StallError
        self.set_mux(POSITIONS[request.value])
        return b""

    def _write_field(self, request: Request) -> bytes:
        if request.value >= len(FIELDS) or len(request.data) > 256:
            raise StallError
        key = list(FIELDS)[request.value]
        self.fields[key] = request.data[: FIELDS[key]].rstrip(b"\0")
        self.history.append(f"write {key}")
        return b""

    def _read_field(self, request: Request) -> bytes:
        if request.value >= len(FIELDS):
            raise StallError
        key = list(FIELDS)[request.value]
        return self.snapshot[key].ljust(FIELDS[key], b"\0")

    def _read(self, request: Request) -> bytes:
        volts, amps = self.measured
        texts = (self.version_text(), f"{volts * amps:.2f}W {volts:.2f}V {amps:.2f}A", f"{volts:.2f}V", f"{amps:.2f}A")
        if request.value >= len(texts):
            raise StallError
        return texts[request.value].encode()

    def _set_pin(self, request: Request) -> bytes:
        if request.value >= len(PINS) or not request.data or request.data[0] >= len(LEVELS):
            raise StallError
        self.set_pin(request.value, LEVELS[request.data[0]])
        return b""

    def version_text(self) -> str:
        return f"{self.version >> 8}.{self.version & 0xFF:02x} git-ref: 4617689f7c8e"

    # what they do

    def set_pin(self, pin: int, level: str) -> None:
        self.history.append(f"pin {PINS[pin]} {level}")
        self.stored[pin] = level
        if level != "high" or self.is_on:
            self.pins[pin] = level

    def set_mux(self, position: str) -> None:
        self.history.append(f"storage {position}")
        if not self.is_stuck:
            self._set_mux(position)

    def power(self, action: str) -> None:
        """Carry out a power action; the board answers nothing until its sequence has ended."""
        self.history.append(f"power {action}")
        turns_on = action in ("on", "force-on", "rescue")
        fields = self.fields if self.version >= 0x0009 else self.snapshot
        sequence = b"" if action.startswith("force") else fields[f"power_{action}"]
        if turns_on:
            self.is_on = True
            self.pins = list(self.stored)
        else:
            self.is_on = False
        if not sequence:
            self._switch(turns_on)
        else:
            self._run(sequence.decode("latin-1").lower())
        if not turns_on:
            self._float_high_pins()

    def _run(self, sequence: str) -> None:
        """Interpret a sequence; what it waits for is waited for by whoever talks to the board."""
        wait = 0.0
        index = 0
        while index + 1 < len(sequence):
            letter, state = sequence[index], sequence[index + 1]
            index += 1
            if letter in "abcdr":
                level = {"l": "low", "h": "high"}.get(state, "high-impedance")
                pin = "rabcd".index(letter)
                self.pins[pin] = level
                self.history.append(f"sequence {PINS[pin]} {level}")
                index += 1
            elif letter == "p":
                self._switch(state == "1")
                index += 1
            elif letter == "w":
                end = index
                while end < len(sequence) and sequence[end].isdigit():
                    end += 1
                wait += int(sequence[index:end] or 0) * 0.1
                index = end
        self.free_at = time.monotonic() + wait / self.scale

    def _switch(self, on: bool) -> None:
        if on == self.is_powered:
            return
        self.is_powered = on
        self.history.append(f"supply {'on' if on else 'off'}")
        self.meter.set(*(self.supply if on else (0.0, 0.0)))
        if on:
            self.dut_says(self.boot_log % self._boots_from() if b"%s" in self.boot_log else self.boot_log)

    def _boots_from(self) -> bytes:
        if self.stick is None or self.mux != "dut":
            return b"none"
        with self.stick.path.open("rb") as file:
            return sha256(file.read(64 * 1024)).hexdigest().encode()

    def _float_high_pins(self) -> None:
        for pin, level in enumerate(self.stored):
            if level == "high":
                self.pins[pin] = "high-impedance"

    def _set_mux(self, position: str) -> None:
        before, self.mux = self.mux, position
        if self.stick is None or self.move_stick is None or (before == "host") == (position == "host"):
            return
        threading.Thread(target=self._carry_stick, args=(position == "host",), name="stick", daemon=True).start()

    def _carry_stick(self, to_host: bool) -> None:
        """What the host's hub notices of the mux, a while later."""
        if to_host:
            time.sleep(self.stick_delay / self.scale)
        with self._mover:
            move = self.move_stick
            if move is not None and (self.mux == "host") == to_host:
                move(to_host)

    # console

    def wedge(self, unread: int) -> None:
        """Let the shell say so many bytes, more than the host takes unread.

        The firmware waits in its USB interrupt until all are taken.
        """
        self._is_wedged = True
        for _ in range(unread // 512):
            self.send(2, b"unsupported command\r\n#> ".ljust(512))

    def busy(self) -> float:
        if self._is_wedged and not self.queued[2]:
            self._is_wedged = False
        return 0.1 if self._is_wedged else super().busy()

    def received(self, endpoint: int, data: bytes) -> None:
        if self.busy():
            return  # the firmware does not look meanwhile
        reply = self.shell.typed(data)
        if reply:
            self.send(2, reply)

    def dut_says(self, data: bytes) -> None:
        """The DUT sends something; the firmware passes it on in console mode."""
        if self.shell.is_console:
            self.send(2, data)

    def dut_typed(self, data: bytes) -> None:
        """The DUT got something on its serial line: it echoes it while it is on."""
        self.typed += data
        if self.is_powered:
            self.dut_says(data)


class DutlinkBootloader(EmulatedDevice):
    """A DUTLink that waits for firmware: same ids and serial, one DFU interface."""

    vendor, product, version = 0x2B23, 0x1012, 0x0001
    manufacturer, name = "Red Hat Inc.", "Dutlink DFU Mode"
    interfaces = interface(0, (0xFE, 1, 2), (), bytes.fromhex("092109ff0000011a01"))

    def __init__(self, serial: str = "c415a913") -> None:
        super().__init__(serial)

    def control(self, request: Request) -> bytes:
        if request.kind & 0x60 == 0x20:
            return bytes(6)
        raise HangError
