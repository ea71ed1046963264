"""The client of a serial console."""

import os
import socket
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jumpstarter.client import DriverClient

if TYPE_CHECKING:
    import click
    from pexpect.fdpexpect import fdspawn

    from .attached import Attached
    from .script import ScriptResult, Step


@dataclass(kw_only=True)
class PySerialClient(DriverClient):
    """A serial console. Its stream `connect` has the bytes as they come, both ways."""

    joins_pieces: ClassVar[bool] = True
    typed_results = True

    # sessions of pexpect

    def pexpect(self) -> "AbstractContextManager[fdspawn[bytes]]":
        """Open the console as a pexpect session until the context ends.

        ImportError says what to install where pexpect is not there.
        """
        try:
            from jumpstarter_driver_network.adapters import PexpectAdapter
        except ImportError as e:
            raise ImportError(
                f"a pexpect session needs more packages ({e}); run: pip install 'jumpstarter-driver-serial[pexpect]'"
            ) from e

        return PexpectAdapter(client=self)

    def open(self) -> "fdspawn[bytes]":
        """Open the console as a pexpect session until `close`."""
        return self.stack.enter_context(self.pexpect())

    # reading and writing

    @contextmanager
    def attach(
        self,
        *,
        since: int | str | None = None,
        follow: bool = True,
        unplug: str | None = None,
        writer: str | None = None,
        take: bool = False,
    ) -> "Generator[Attached]":
        """Read the console from a place on, with offsets, times and events, and write to it.

        `since` is an offset, "30s" for so long ago, a time, "boot", "start" or "now". Without `follow` the items end
        with what is there. `unplug` says what to do when the port is lost: "fail", "wait=SECONDS" or "mark"; None: as
        configured. `writer` is a name for you that others see, `take` lets you write even where somebody else does.
        """
        from .attached import Attached

        with self.stream("attach") as stream:
            yield Attached(
                stream, since=since, follow=follow, unplug=unplug, writer=writer or default_writer(), take=take
            )

    def log(self, since: int | str | None = "start") -> bytes:
        """What the console has said, from a place on until now; see `attach`.

        Raises LookupError where the exporter does not have all of it any more.
        """
        from .items import Data, Dropped

        parts: list[bytes] = []
        with self.attach(since=since, follow=False) as console:
            for item in console:
                match item:
                    case Data(data=data):
                        parts.append(data)
                    case Dropped(offset=offset, count=count):
                        raise LookupError(f"the exporter keeps {count} bytes from offset {offset} on no more")
                    case _:
                        pass
        return b"".join(parts)

    def send(self, text: str, *, take: bool = False) -> None:
        """Send text as it is; "\\r" is the Enter key. Raises DriverError where somebody else writes, unless `take`."""
        self.call("send", text, default_writer(), take)

    def expect(
        self,
        steps: "list[Step] | str",
        *,
        since: int | str | None = None,
        timeout: float | None = None,
        take: bool = False,
    ) -> "ScriptResult":
        """Run a script of waiting and sending next to the port, or wait for one regular expression.

        `timeout` is that of the one expression, in seconds. Raises ExpectError, a TimeoutError where that is why, which
        has the result so far.
        """
        from .failure import expect_error
        from .script import DEFAULT_TIMEOUT, ScriptResult, Step

        if isinstance(steps, str):
            steps = [Step(wait=steps, timeout=DEFAULT_TIMEOUT if timeout is None else timeout)]
        result: ScriptResult = self.call("expect", steps, since, default_writer(), take)
        if not result.ok:
            raise expect_error(result, self.path)
        return result

    # lines

    def set_dtr(self, value: bool) -> None:
        """Set DTR, active or not."""
        self.call("set_dtr", value)

    def set_rts(self, value: bool) -> None:
        """Set RTS, active or not."""
        self.call("set_rts", value)

    def set_baudrate(self, value: int) -> None:
        """Change the rate, in baud, until the session ends."""
        self.call("set_baudrate", value)

    def send_break(self, duration: float = 0.25) -> None:
        """Hold the line in break for so many seconds."""
        self.call("send_break", duration)

    def status(self) -> dict[str, Any]:
        """What there is to know: whether the port is there, offsets, who writes, the lines."""
        return self.call("status")

    def mark(self, text: str = "boot") -> int:
        """Put a mark into the history; with "boot", `since="boot"` begins there. Returns its offset."""
        return self.call("mark", text)

    def cli(self) -> "click.Group":
        """The commands of a console."""
        from .cli import serial_commands

        return serial_commands(self)


def default_writer() -> str:
    """Who we are, for others."""
    return f"{os.environ.get('USER') or os.getuid()}@{socket.gethostname()} (process {os.getpid()})"


class Console:
    """A console in the user's terminal, as code calls it that was written for the public release."""

    def __init__(self, serial_client: PySerialClient) -> None:
        self.serial_client = serial_client

    def run(self) -> None:
        """Until the user leaves, by Ctrl-B three times or Ctrl-] and q; click's UsageError without a terminal."""
        from .interactive import use_console

        use_console(self.serial_client, escape="^]", since="now", resize=False, take=False, raw=False)
