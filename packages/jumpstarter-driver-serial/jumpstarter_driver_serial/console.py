"""A console that the exporter owns: one port, its history, and who writes to it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anyio import CancelScope, CapacityLimiter, move_on_after, to_thread
from jumpstarter.common.exceptions import BusyError, DeviceAbsentError

from .history import BEHIND, History, Reader, clock
from .items import Event, Item
from .keeper import Keeper
from .logfile import LogFile, LogWriter
from .notes import Notes
from .pen import Pen, Writer
from .port import LineSettings, Port
from .since import offset_of
from .unplug import UnplugPolicy

NOTICE = 1.0
"""Seconds in which a port that cannot be written to turns out to be lost, or back already."""

HANDOVER = 0.5
"""Seconds that a new writer waits for the last one to be gone, who may just be leaving."""


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Where the bytes of a console are kept beside memory."""

    path: Path
    size: int
    """Bytes of one file."""
    count: int
    """Files that are kept."""


class Console:
    """One console. Blocking methods are for threads, async ones for tasks of any event loop."""

    def __init__(
        self,
        where: str,
        opener: Callable[[LineSettings], Port],
        settings: LineSettings,
        logger: logging.Logger,
        *,
        memory: int,
        log: LogSettings | None = None,
        cps: float | None = None,
        policy: UnplugPolicy,
        note: Callable[..., object] = dict,
    ) -> None:
        """`where` names it in errors; `opener` opens its port, again whenever it was lost; `memory` is in bytes.

        `note` takes what was said and what happened, line by line; see `notes.py`.
        """
        self.where, self.policy = where, policy
        self._configured = self.settings = settings
        self._cps = cps
        self._log_settings, self._log = log, None
        self._logger = logger
        self.history = History(memory)
        self.pen = Pen(where, lambda text: self.history.happened("writer", text))
        self.keeper = Keeper(where, lambda: opener(self.settings), self.history, logger)
        self._threads: CapacityLimiter | None = None
        self._note = note
        self._notes: Notes | None = None

    # life

    def start(self, *, required: bool = True) -> None:
        """Open the port and read it from now on; with `required`, raises what opening it does."""
        if self.keeper.is_running:
            return
        self._notes = self._notes or Notes(self.history, self._note)
        try:
            self.keeper.start(required=required)
        except BaseException:
            self._stop_notes()
            raise
        if self._log is None and self._log_settings is not None:
            self._log = self._open_log(self._log_settings)

    def _open_log(self, log: LogSettings) -> LogWriter | None:
        try:
            return LogWriter(self.history, LogFile(log.path, log.size, log.count), self._logger)
        except (OSError, BusyError) as e:
            self._logger.warning("console %s: no log is kept: %s", self.where, e)
            return None

    def stop(self) -> None:
        """Close the port and the log; readers are told that it is closed."""
        self.keeper.stop()
        self._stop_notes()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _stop_notes(self) -> None:
        notes, self._notes = self._notes, None
        if notes is not None:
            notes.close()

    @property
    def log_path(self) -> Path | None:
        """The log that is written, if one is."""
        return self._log_settings.path if self._log is not None and self._log_settings is not None else None

    def next_session(self) -> None:
        """Let readers have nothing of what was before, and set up the port as it was configured."""
        self.history.floor = self.history.end
        self.restore()

    def restore(self) -> None:
        """Set up the port as it was configured, where that was changed."""
        if self.settings != self._configured:
            before, self.settings = self.settings, self._configured
            if self.keeper.loss is None and self.keeper.is_running:
                self.keeper.control(lambda line: _restore(line, before, self._configured))

    # lines

    def set_line(self, text: str, **settings: Any) -> None:
        """Change settings of the open port, now and whenever it is opened again.

        Raises OSError where the port cannot do it.
        """

        def change(line: Any) -> None:
            for name, value in settings.items():
                setattr(line, name, value)

        self.control(change)
        self.settings = replace(self.settings, **settings)
        self.history.happened("line", text)

    def control(self, action: Callable[[Any], object]) -> Any:
        """Do something with pySerial's port; OSError says what it cannot do."""
        try:
            return self.keeper.control(action)
        except (OSError, ValueError, NotImplementedError) as e:
            raise OSError(
                f"console {self.where}: {getattr(e, 'strerror', None) or e}; this port may not have it"
            ) from e

    # reading

    def follow(self, since: int | str | None = None, policy: UnplugPolicy | None = None) -> "Follower":
        """A reader for a task, from a place on. Raises DeviceAbsentError where the port is gone and it is to fail."""
        policy = policy or self.policy
        if policy.kind == "fail" and (loss := self.keeper.loss) is not None:
            raise self.absent(str(loss))
        return Follower(self, self.history.reader(offset_of(self.history, since)), policy)

    def absent(self, reason: str) -> DeviceAbsentError:
        """What is raised while the port is gone."""
        return DeviceAbsentError(f"console {self.where} {reason}", "connect the device again")

    # writing

    async def send(self, writer: Writer, data: bytes, policy: UnplugPolicy) -> None:
        """Send all of it. BusyError when somebody else writes, DeviceAbsentError when the port is gone."""
        await self.claim(writer)
        rest = memoryview(data)

        def write() -> bool:
            nonlocal rest
            self.pen.check(writer)
            rest = rest[self.keeper.write_now(rest) :]
            return not rest

        while rest and self._cps is None:
            try:
                if not write() and not await self.keeper.when_writable(write):
                    break
            except DeviceAbsentError:
                await self._noticed()
                await self.present(policy)
        if rest:
            await self._send_in_thread(writer, bytes(rest))

    async def _noticed(self) -> None:
        """Wait until the port is known to be lost, which a write may find out before; raises when it was closed."""
        keeper = self.keeper
        with move_on_after(NOTICE):
            await self.history.changes.until(lambda: keeper.loss is not None or not keeper.is_running)
        if not keeper.is_running:
            raise DeviceAbsentError(f"console {self.where} was closed")

    async def _send_in_thread(self, writer: Writer, data: bytes) -> None:
        wanted = True
        if self._threads is None:
            self._threads = CapacityLimiter(1)  # its own: consoles whose devices take nothing must not use up all
        try:
            await to_thread.run_sync(
                lambda: self.keeper.write(data, cps=self._cps, is_wanted=lambda: wanted and writer is self.pen.holder),
                abandon_on_cancel=True,
                limiter=self._threads,
            )
        finally:
            wanted = False
        self.pen.check(writer)

    def write(self, writer: Writer, data: bytes, *, is_wanted: Callable[[], bool]) -> bool:
        """Send all of it, in a thread, as long as it is wanted; whether all was sent.

        Raises as `send` does, and waits for no port.
        """
        self.pen.check(writer)
        taken = self.keeper.write(data, cps=self._cps, is_wanted=lambda: is_wanted() and self.pen.holder is writer)
        self.pen.check(writer)
        return taken

    def seconds_for(self, count: int) -> float:
        """How long so many bytes take on the line, or are typed."""
        bits = 10  # of a byte, with its start and stop bits
        return count / self._cps if self._cps is not None else count * bits / self.settings.baudrate

    async def claim(self, writer: Writer) -> None:
        """Get the pen; BusyError that names who has it, unless they are just leaving."""
        if self.pen.holder is writer:
            return
        if writer.taken_by is not None:
            raise self.pen.busy()
        with move_on_after(HANDOVER):
            await self.pen.changes.until(lambda: self.pen.try_claim(writer))
        self.pen.check(writer)

    async def present(self, policy: UnplugPolicy) -> None:
        """Wait until the port is there; DeviceAbsentError when the policy has it so."""
        if policy.kind == "mark":
            await self.history.changes.until(lambda: self.keeper.loss is None or not self.keeper.is_running)
        while (loss := self.keeper.loss) is not None:
            with move_on_after(loss.time + policy.seconds - clock()):
                await self.history.changes.until(lambda: self.keeper.loss is None or not self.keeper.is_running)
                continue
            raise self.absent(f"{loss}{_not_back(policy)}")


def _not_back(policy: UnplugPolicy) -> str:
    return f"; it did not come back within {policy.seconds:g} s" if policy.kind == "wait" else ""


def _restore(line: Any, current: LineSettings, wanted: LineSettings) -> None:
    """Set what differs."""
    if current.baudrate != wanted.baudrate:
        line.baudrate = wanted.baudrate
    for name in ("dtr", "rts"):
        if getattr(current, name) != getattr(wanted, name):
            setattr(line, name, True if getattr(wanted, name) is None else getattr(wanted, name))


class Follower:
    """A reader of a console for a task, which does what its policy says when the port is lost; closed after use."""

    def __init__(self, console: Console, reader: Reader, policy: UnplugPolicy) -> None:
        self._console, self._reader, self._policy = console, reader, policy
        self._begin = clock()
        console.keeper.visit()

    def close(self) -> None:
        """Read no more."""
        self._console.keeper.leave()

    @property
    def offset(self) -> int:
        """Of the next byte."""
        return self._reader.offset

    async def next(self, is_enough: Callable[[], object] = lambda: False) -> Item | None:
        """The next item; None as soon as `is_enough`, where there is none yet.

        Raises DeviceAbsentError when the port is lost, as the policy says, and when it is closed.
        """
        while True:
            item = self._reader.take(files=False)
            if item is BEHIND:
                with CancelScope(shield=True):
                    item = await to_thread.run_sync(self._reader.take)
            if item is not None:
                self._check(item)
                return item  # pyright: ignore[reportReturnType] files are allowed in the thread
            if is_enough():
                return None
            await self._more(is_enough)

    def _check(self, item: object) -> None:
        if isinstance(item, Event) and item.kind == "lost" and self._policy.kind == "fail" and item.time >= self._begin:
            raise self._console.absent(item.text)

    async def _more(self, is_enough: Callable[[], object]) -> None:
        console = self._console
        if not console.keeper.is_running:
            raise DeviceAbsentError(f"console {console.where} was closed")
        loss = console.keeper.loss
        if loss is None or self._policy.kind == "mark":
            await console.history.changes.until(
                lambda: (
                    self._reader.has_news()
                    or is_enough()
                    or not console.keeper.is_running
                    or (self._policy.kind != "mark" and console.keeper.loss is not None)
                )
            )
            return
        with move_on_after(loss.time + self._policy.seconds - clock()):
            await console.history.changes.until(
                lambda: (
                    self._reader.has_news()
                    or is_enough()
                    or not console.keeper.is_running
                    or console.keeper.loss is not loss
                )
            )
            return
        if not self._reader.has_news():  # what came before the loss comes first
            raise console.absent(f"{loss}{_not_back(self._policy)}")
