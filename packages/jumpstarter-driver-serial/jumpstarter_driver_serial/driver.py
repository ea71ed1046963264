"""A serial console that the exporter owns."""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from anyio import to_thread
from jumpstarter.common.exceptions import ConfigurationError, DeviceAbsentError
from jumpstarter.common.state import file_name, state_dir
from jumpstarter.driver import Driver, check_cancelled, export, exportstream, is_cancelled, sleep

from .console import Console, LogSettings
from .expect import Script, check_steps
from .identity import stable_name
from .pen import Writer
from .port import LineSettings, Port, open_port
from .script import ScriptResult, Step
from .since import BOOT
from .streams import AttachedStream, ConsoleStream
from .unplug import UnplugPolicy

_PARITIES = {"none": "N", "even": "E", "odd": "O", "mark": "M", "space": "S"}

MIB = 1 << 20


@dataclass(kw_only=True)
class PySerial(Driver):
    """A serial console. The exporter reads it at all times; clients read what it has, each from where they want."""

    url: str
    """Serial port, as pySerial takes it: /dev/serial/by-id/…, rfc2217://host:port, socket://host:port, loop://."""

    baudrate: int = 115200

    check_present: bool = True
    """Whether a port that is not there when the exporter starts makes the driver absent; otherwise it is waited for."""

    cps: float | None = None
    """Characters a second at which a slow device is typed to; None: as fast as it takes them."""

    disable_hupcl: bool = False
    """Whether closing the port leaves DTR and RTS as they are, so that boards that listen to them do not reset."""

    bytesize: int = 8

    parity: str = "none"
    """none, even, odd, mark or space."""

    stopbits: float = 1

    rtscts: bool = False
    xonxoff: bool = False
    dsrdtr: bool = False

    dtr: bool | None = None
    """Level of DTR when the port is opened; None: active, as the system has it."""

    rts: bool | None = None

    exclusive: bool = True
    """Whether other programs are kept from opening the port."""

    low_latency: bool = False
    """Whether the system passes bytes on at once, where the port can do that (FTDI waits 16 ms otherwise)."""

    hold: Literal["exporter", "session"] = "exporter"
    """Whether the port is open from the exporter's start to its end, or from its first use in a session to its end."""

    on_unplug: str = "fail"
    """What happens to streams when the port is lost: fail, wait=SECONDS, or mark (go on, with a line that tells)."""

    memory: int = 4 * MIB
    """Bytes of output that are kept in memory."""

    log_file: str | None = None
    """Where all output goes; None: a file named after the port in the exporter's state directory; "": nowhere."""

    log_size: int = 16 * MIB
    """Bytes of one log file."""

    log_count: int = 4
    """Log files that are kept; beyond them, the oldest output is gone."""

    _console: Console = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._console = Console(
            self.url,
            lambda settings: self.open_port(settings),
            self._line_settings(),
            self.logger,
            memory=self.memory,
            log=self._log_settings(),
            cps=self.cps,
            policy=UnplugPolicy.parse(self.on_unplug),
            note=partial(self.put_on_record, "console"),
        )
        self._stable: str | None = None

    def _line_settings(self) -> LineSettings:
        parity = _PARITIES.get(self.parity.lower(), self.parity.upper())
        if parity not in _PARITIES.values():
            raise ConfigurationError(f"parity must be {', '.join(_PARITIES)}, not {self.parity!r}")
        for name, value, allowed in (
            ("bytesize", self.bytesize, (5, 6, 7, 8)),
            ("stopbits", self.stopbits, (1, 1.5, 2)),
        ):
            if value not in allowed:
                raise ConfigurationError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value}")
        if self.baudrate <= 0:
            raise ConfigurationError(f"baudrate must be more than 0, not {self.baudrate}")
        if self.cps is not None and self.cps <= 0:
            raise ConfigurationError(f"cps must be more than 0, not {self.cps:g}")
        return LineSettings(
            baudrate=self.baudrate,
            bytesize=self.bytesize,
            parity=parity,
            stopbits=self.stopbits,
            rtscts=self.rtscts,
            xonxoff=self.xonxoff,
            dsrdtr=self.dsrdtr,
            dtr=self.dtr,
            rts=self.rts,
            exclusive=self.exclusive,
            hupcl=not self.disable_hupcl,
            low_latency=self.low_latency,
        )

    def _log_settings(self) -> LogSettings | None:
        if self.log_file == "" or (self.log_file is None and self.url.startswith("loop://")):
            return None
        if self.log_size <= 0 or self.log_count <= 0:
            raise ConfigurationError('log_size and log_count must be more than 0; log_file: "" keeps no log')
        if self.log_file is not None:
            return LogSettings(path=Path(self.log_file).expanduser(), size=self.log_size, count=self.log_count)
        try:
            path = state_dir() / "consoles" / f"{file_name(self.url.strip('/'))}.log"
        except OSError as e:
            self.logger.warning("no log is kept: %s", e)
            return None
        return LogSettings(path=path, size=self.log_size, count=self.log_count)

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_serial.client.PySerialClient"

    # for drivers that find their port in another way

    def locate(self) -> str:
        """The port to open now; asked again whenever it was lost. Raises OSError or DeviceAbsentError where it is gone.

        Here: `url`, or the name by which it is found again wherever it comes back.
        """
        if self._stable is None:
            return self.url
        return self._stable

    def open_port(self, settings: LineSettings) -> Port:
        """Open the port that `locate` says."""
        port = open_port(self.locate(), settings)
        if self._stable is None:
            self._stable = stable_name(self.url)
        return port

    # life

    def identity(self) -> str | None:
        """The port, by its stable name."""
        return None if self.url.startswith("loop://") else stable_name(self.url)

    def reset(self) -> None:
        """Open the port, unless it is opened in sessions only. Lines that a session has changed are set back."""
        super().reset()
        if self._console.keeper.is_running:
            self._console.restore()
        elif self.hold == "exporter":
            self._console.start(required=self.check_present)

    def close(self) -> None:
        """Close the port and its log."""
        self._console.stop()
        super().close()

    def release(self) -> Awaitable[None] | None:
        """End a session: what it saw is nothing for the next one, and the lines are as configured."""
        self._console.next_session()
        if self.hold == "session":
            self._console.stop()
        return super().release()

    def _started(self) -> Console:
        if not self._console.keeper.is_running:
            self._console.start(required=self.check_present)
        return self._console

    # bytes

    @exportstream
    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[ConsoleStream]:
        """The bytes of the console from now on, both ways."""
        console = await to_thread.run_sync(self._started)
        async with ConsoleStream(console) as stream:
            yield stream

    @exportstream
    @asynccontextmanager
    async def attach(self) -> AsyncGenerator[AttachedStream]:
        """Bytes with their offsets and times, and events, from any place on; in frames."""
        console = await to_thread.run_sync(self._started)
        async with AttachedStream(console) as stream:
            yield stream

    # lines

    @export(concurrent=True)
    def set_dtr(self, value: bool) -> None:
        """Set DTR, active or not, without opening the port anew."""
        self._started().set_line(f"DTR {_level(value)}", dtr=value)
        self.logger.info("DTR %s", _level(value))

    @export(concurrent=True)
    def set_rts(self, value: bool) -> None:
        """Set RTS, active or not, without opening the port anew."""
        self._started().set_line(f"RTS {_level(value)}", rts=value)
        self.logger.info("RTS %s", _level(value))

    @export(concurrent=True)
    def set_baudrate(self, value: int) -> None:
        """Change the rate, in baud, until the session ends; readers go on."""
        if value <= 0:
            raise ValueError(f"a baud rate is more than 0, not {value}")
        self._started().set_line(f"{value} baud", baudrate=value)
        self.logger.info("%d baud", value)

    @export(concurrent=True)
    def send_break(self, duration: float = 0.25) -> None:
        """Hold the line in break for so many seconds."""
        if not 0 < duration <= 60:
            raise ValueError(f"a break lasts more than 0 and at most 60 seconds, not {duration:g}")
        console = self._started()
        # pySerial's send_break is 100 ms for any duration from 0.25 s on (TCSBRKP)
        console.control(lambda line: setattr(line, "break_condition", True))
        try:
            sleep(duration)
        finally:
            console.control(lambda line: setattr(line, "break_condition", False))
        console.history.happened("line", f"break of {duration:g} s")
        self.logger.info("break of %g s", duration)

    # scripts

    @export(concurrent=True)
    def expect(
        self, steps: list[Step], since: int | str | None = None, writer: str = "a script", take: bool = False
    ) -> ScriptResult:
        """Run a script of waiting and sending next to the port; nobody else writes meanwhile.

        It looks at what the console says from `since` on: from now on, or an offset, "30s", "boot", ... With `take` it
        writes even where somebody else does. Raises ValueError for a wrong step; the result says how it ended.
        """
        check_steps(steps)
        script = Script(
            self._started(), since, Writer(writer[:200]), is_cancelled=is_cancelled, hold_break=self.send_break
        )
        result = script.run(steps, take=take)
        check_cancelled()
        self.logger.info("script of %d steps: %s", len(steps), result.failure or "done")
        return result

    @export(concurrent=True)
    def send(self, text: str, writer: str = "a call", take: bool = False) -> None:
        """Send text as it is. BusyError when somebody else writes, unless `take`; TimeoutError when it is not taken."""
        result = self.expect([Step(send=text)], writer=writer, take=take)
        if result.kind == "busy":
            raise self._console.pen.busy()
        if result.kind == "timeout":
            raise TimeoutError(result.failure)
        if not result.ok:
            raise DeviceAbsentError(result.failure)

    # what there is to know

    @export(concurrent=True, read_only=True)
    def status(self) -> dict[str, Any]:
        """The port, whether it is there, the offsets that can be read, who writes, and the lines where it has some."""
        console = self._console
        holder, loss = console.pen.holder, console.keeper.loss
        return {
            "url": self.url,
            "open": console.keeper.is_running and loss is None,
            "lost": str(loss) if loss is not None else None,
            "baudrate": console.settings.baudrate,
            "begin": console.history.begin(),
            "end": console.history.end,
            "writer": str(holder) if holder is not None else None,
            "on_unplug": str(console.policy),
            "log": str(console.log_path) if console.log_path is not None else None,
            "lines": self._lines(),
        }

    def _lines(self) -> dict[str, bool] | None:
        if not self._console.keeper.is_running or self._console.keeper.loss is not None:
            return None
        try:
            return self._console.control(
                lambda line: {name: bool(getattr(line, name)) for name in ("dtr", "rts", "cts", "dsr", "ri", "cd")}
            )
        except OSError:
            return None

    @export(concurrent=True)
    def mark(self, text: str = BOOT) -> int:
        """Put a mark into the history, which readers see; "boot" is where `since="boot"` begins. Returns its offset."""
        return self._started().history.happened("mark", text[:1000]).offset


def _level(active: bool) -> str:
    return "active" if active else "inactive"
