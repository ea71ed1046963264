"""A console in the user's terminal."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

import click

from .attached import Attached
from .joined import Joined
from .safe import SafeTerminal
from .terminal import HELP, Keys, key_name, on_resize, parse_key, raw_terminal, size_command, window_title, write_stdout

if TYPE_CHECKING:
    from .client import PySerialClient


def use_console(client: "PySerialClient", *, escape: str, since: str, resize: bool, take: bool, raw: bool) -> None:
    """Join the console with the terminal until the user leaves."""
    if not sys.stdin.isatty():
        raise click.UsageError("the input is not a terminal; use pipe")
    try:
        key = parse_key(escape)
    except ValueError as e:
        raise click.BadParameter(str(e), param_hint="--escape") from e
    with client.attach(since=since, unplug="mark", take=take) as attached:
        click.echo(f"console open; {key_name(key)} and q leave it, {key_name(key)} and ? help", err=True)
        session = Interactive(client, attached, key, filtered=not raw)
        with session.resizing(resize):
            session.run(title=f"{client.path or 'console'} on {attached.beginning.where}")
    click.echo("\nconsole left", err=True)


class Interactive:
    """One use of a console."""

    def __init__(self, client: "PySerialClient", attached: Attached, escape: bytes, *, filtered: bool) -> None:
        self._client, self._attached = client, attached
        self._keys, self._escape = Keys(escape), escape
        self._safe = SafeTerminal() if filtered else None
        self._levels = {"dtr": True, "rts": True}
        self._joined = Joined(
            show=self._show, tell=self.tell, input_fd=sys.stdin.fileno(), source=lambda typed: self._typed(typed)
        )

    def resizing(self, wanted: bool) -> AbstractContextManager[None]:
        """Tell the device the size of the terminal whenever it changes, if wanted."""
        return on_resize(self._send_size if wanted else lambda: None)

    def run(self, *, title: str) -> None:
        """Until the user leaves."""
        with raw_terminal(sys.stdin.fileno()), window_title(title):
            try:
                self._joined.run(self._attached)
            finally:
                if self._safe is not None:
                    with suppress(OSError):  # the terminal is gone, which something else tells
                        write_stdout(self._safe.close())

    def tell(self, text: str) -> None:
        """Say something beside the console's own output."""
        write_stdout(f"\r\n[console {text}]\r\n".encode())

    def _show(self, data: bytes) -> bool:
        write_stdout(data if self._safe is None else self._safe.feed(data))
        return False

    def _typed(self, typed: bytes) -> bool:
        if not typed:
            return True
        for action, keys in self._keys.feed(typed):
            if action == "send":
                self._send(keys)
            elif keys in (b"q", b"Q", b".", b"\x11"):
                return True
            else:
                self._command(keys)
        return False

    def _send(self, keys: bytes) -> None:
        if self._joined.is_lost:
            self.tell("the port is gone; what you type is not sent")
        else:
            self._attached.send(keys)

    def _send_size(self) -> None:
        if not self._joined.is_lost:
            self._attached.send(size_command())

    def _command(self, key: bytes) -> None:
        try:
            match key:
                case b"b":
                    self._client.send_break()
                case b"d":
                    self._toggle("dtr", self._client.set_dtr)
                case b"r":
                    self._toggle("rts", self._client.set_rts)
                case b"t":
                    self._attached.take()
                    self.tell("you write now")
                case b"g":
                    self._attached.give()
                    self.tell("others may write now")
                case b"s":
                    self._send_size()
                case b"?" | b"h":
                    self.tell(f"{key_name(self._escape)} and then: {HELP}")
                case _:
                    self.tell(f"{key_name(self._escape)} and {key!r} means nothing; ? helps")
        except Exception as e:  # noqa: BLE001 a port without lines is no reason to leave
            self.tell(str(e))

    def _toggle(self, name: str, switch: Callable[[bool], None]) -> None:
        level = self._levels[name] = not self._levels[name]
        switch(level)
