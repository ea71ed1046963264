"""The console of the DUTLink: transparent, or a shell with a prompt."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dutlink import DutlinkBoard

PROMPT = b"#> "
LEAVING = b"\r\nExiting console mode\r\n" + PROMPT
ENTERING = b"Entering console mode, type CTRL+B 5 times to exit\r\n"
CTRL_B = 0x02
LIMIT = 512


class Shell:
    """What the firmware makes of typed bytes. The mode is the board's, not of who has the port open."""

    def __init__(self, board: "DutlinkBoard", *, console: bool) -> None:
        self._board = board
        self.is_console = console
        self._count = 0
        self._line = bytearray()

    def typed(self, data: bytes) -> bytes:
        """Take bytes from the host; returns the shell's own reply."""
        return self._console(data) if self.is_console else b"".join(map(self._key, data))

    def _console(self, data: bytes) -> bytes:
        """All goes to the DUT, also the five that lead out of here, and what came in one packet with them."""
        reply = b""
        for byte in data:
            self._count = self._count + 1 if byte == CTRL_B else 0
            if self._count == 5:
                self._count, self.is_console, reply = 0, False, LEAVING
        self._board.dut_typed(data)
        return reply

    def _key(self, byte: int) -> bytes:
        if byte == 0x0D:
            line, self._line = self._line.decode("latin-1"), bytearray()
            return (b"\r\n" + self._run(line.split()))[:LIMIT]
        if byte in (0x08, 0x7F):
            del self._line[-1:]
            return b"\b \b"
        if byte < 0x20 or len(self._line) >= LIMIT:
            return b""
        self._line.append(byte)
        return bytes([byte])

    def _run(self, words: list[str]) -> bytes:
        board = self._board
        match words:
            case ["console"]:
                self.is_console = True
                return ENTERING
            case []:
                return PROMPT
            case ["version"]:
                text = board.version_text()
            case ["power", "on" | "off" | "force-on" | "force-off" | "rescue" as action]:
                board.power(action)
                text = f"Device powered {action}"
            case ["storage", "host" | "dut" | "off" as position]:
                board.set_mux(position)
                text = "storage disconnected" if position == "off" else f"storage connected to {position}"
            case ["status"]:
                text = "Monitor: false, Meter: false"
            case _:
                text = "unsupported command"
        return text.encode() + b"\r\n" + PROMPT
