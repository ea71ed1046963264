"""Keys and lines from the console of the simulated board."""

from collections.abc import Generator
from dataclasses import dataclass

from .machine import Machine, Wait

LINE_LIMIT = 1024
BACKSPACE, DELETE, CTRL_C, CTRL_D, CTRL_U, ESCAPE = 0x08, 0x7F, 0x03, 0x04, 0x15, 0x1B
RETURN, LINE_FEED = 0x0D, 0x0A


@dataclass
class Terminal:
    """A line editor on the serial port: echo, backspace, Ctrl-C, Ctrl-D, Ctrl-U."""

    machine: Machine
    _after_return: bool = False

    def key(self) -> Generator[Wait, None, int]:
        """Wait for a key and return its code; line feed and return are both RETURN."""
        while True:
            while not self.machine.uart.received:
                yield Wait(key=True)
            code = self.machine.uart.received.popleft()
            second_half = self._after_return and code == LINE_FEED
            self._after_return = code == RETURN
            if not second_half:
                return RETURN if code == LINE_FEED else code

    def line(self, prompt: str) -> Generator[Wait, None, str | None]:
        """Ask for a line; None when the user ended it with Ctrl-D."""
        send = self.machine.uart.send
        typed = bytearray()
        send(prompt)
        while True:
            code = yield from self.key()
            match code:
                case 0x0D:
                    send("\n")
                    return typed.decode(errors="replace").strip()
                case 0x08 | 0x7F if typed:
                    typed.pop()
                    send("\b \b")
                case 0x15:
                    send("\b \b" * len(typed))
                    typed.clear()
                case 0x03:
                    typed.clear()
                    send("^C\n" + prompt)
                case 0x04 if not typed:
                    send("\n")
                    return None
                case 0x1B:
                    yield from self._skip_sequence()
                case _ if 0x20 <= code < 0x7F and len(typed) < LINE_LIMIT:
                    typed.append(code)
                    send(chr(code))
                case _:
                    pass

    def _skip_sequence(self) -> Generator[Wait, None, None]:
        """Swallow what a cursor key sends after Escape: '[' and up to a letter."""
        if (yield from self.key()) == ord("["):
            while not 0x40 <= (yield from self.key()) <= 0x7E:
                pass
