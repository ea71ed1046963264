"""The base of drivers that have a medium: a mux that only has to know how to turn, and everything else is here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import BrokenResourceError, ClosedResourceError, move_on_after, sleep
from jumpstarter.common.exceptions import ConfigurationError, DeviceAbsentError
from jumpstarter.driver import Driver, export
from jumpstarter.streams.threads import in_thread

from .blockdevices import why_not_ready, write_back
from .cache import DEFAULT_BYTES
from .common import VERIFY, Position, Progress, Stage, StageResult, StorageError, TransferResult, Verify, WriteOptions
from .devices import Rules, unmount
from .interface import StorageMuxFlasherInterface
from .journal import Journal
from .medium import Medium, Revive
from .origins import Credentials, Origins
from .pipeline import medium_of, new_plan, write_image
from .reading import read_image
from .sources import open_source
from .tracker import Tracker

if TYPE_CHECKING:
    from jumpstarter.streams.http import UrlRules

POLL = 0.25
"""Seconds between two looks whether the medium is there."""


@dataclass(kw_only=True)
class StorageMux(StorageMuxFlasherInterface, Driver):
    """A medium behind a mux. A driver of a mux implements `switch`, `position` and `medium`, and nothing else.

    The medium of a transfer that failed stays with the host, marked: `dut` refuses it until an image is whole.
    """

    verify: str = "full"
    """How much of what was written is read back and compared: full, sampled or off. A client can ask for another."""

    storage_timeout: float = 10
    """Seconds until the medium has to be there after it was switched to the host."""

    storage_leeway: float = 0
    """Seconds that a medium gets after it was written, because sticks work on after they said that they are done."""

    internal: bool = False
    """Whether a disk that is built into the host may be written."""

    max_size_bytes: int | None = None
    """Largest medium that is taken for the right one."""

    device_serial: str | None = None
    """Serial number that the block device has to have."""

    cache_bytes: int = DEFAULT_BYTES
    """Bytes of images that the exporter's user keeps on the host, so that they need not be sent again; 0 for none."""

    allowed_urls: list[str] = field(default_factory=list[str])
    """Beginnings of URLs that clients may let the exporter read beside public https: `http://files.lab/images/`."""

    max_download_bytes: int | None = None
    """Largest file that is read from a URL."""

    stores: dict[str, dict[str, str | int | bool]] = field(default_factory=dict[str, dict[str, Any]], repr=False)
    """Object stores that clients read by store://NAME/PATH: for each name a `scheme`, and options of that service."""

    registry_credentials: dict[str, Credentials] = field(default_factory=dict[str, Credentials], repr=False)
    """By the host, with its port, of a registry of OCI artifacts."""

    _mark: Journal | None = field(default=None, init=False, repr=False)
    _tracker: Tracker | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.verify not in VERIFY:
            raise ConfigurationError(f"verify: {self.verify!r} is not one of {', '.join(VERIFY)}")

    # what a driver of a mux has to know

    @abstractmethod
    def switch(self, position: Position) -> None:
        """Turn the mux, and return when it has turned; NotImplementedError for a position that it does not have."""

    @abstractmethod
    def position(self) -> Position:
        """Where the mux is now, read back from the device where that is possible."""

    @abstractmethod
    def medium(self) -> Path:
        """The block device, or file, by which the host reaches the medium. Asked while the host should have it.

        DeviceAbsentError where it is not there yet: it is waited for.
        """

    def medium_key(self) -> str | None:
        """A name for the medium that stays the same while exporters come and go, None for one that goes with this one.

        By default it is the identity of the driver.
        """
        return self.identity()

    async def settle(self) -> None:
        """Called after a medium was written and closed, to wait until it has come to rest."""
        await sleep(self.storage_leeway)

    def revive(self, offset: int, attempt: int) -> Path | None:
        """Bring back a medium that was lost while the byte at `offset` was written, and return where it is then.

        None where it is not lost, or nothing brings it back, as by default: the write fails then. `attempt` counts from
        1 in each transfer, which takes no more than RECOVERIES of them. Blocks.
        """
        return None

    def leave_host(self) -> None:
        """Called before the medium is taken from the host: unmount it there, and bring to it what is cached.

        StorageError where the host uses it, and nothing is switched then. Blocks.
        """
        try:
            path = self.medium()
        except DeviceAbsentError:
            return
        for folder in unmount(path, self.rules()):
            self.logger.info("unmounted %s, since %s leaves the host", folder, path)
        write_back(path)

    def rules(self) -> Rules:
        """What the medium has to be."""
        return Rules(internal=self.internal, max_size_bytes=self.max_size_bytes, serial=self.device_serial)

    def url_rules(self) -> UrlRules:
        """Which URLs are read for clients."""
        from jumpstarter.streams.http import UrlRules  # it needs TLS, which takes memory

        return UrlRules(allowed=tuple(self.allowed_urls), max_bytes=self.max_download_bytes)

    def origins(self) -> Origins:
        """From where images are read for clients."""
        return Origins(urls=self.url_rules(), stores=self.stores, credentials=self.registry_credentials)

    # what clients call

    @export
    def host(self) -> None:
        """Connect the medium to the host."""
        self.switch(Position.HOST)

    @export
    def dut(self) -> None:
        """Connect the medium to the device; StorageError for one that holds only part of an image."""
        if (what := self._journal().incomplete()) is not None:
            raise StorageError(
                f"the medium is incomplete: {what} was not written to the end", "flash it again, it stays with the host"
            )
        self.leave_host()
        self.switch(Position.DUT)

    @export
    def off(self) -> None:
        """Connect the medium to nothing."""
        self.leave_host()
        self.switch(Position.OFF)

    @export(read_only=True)
    def state(self) -> str:
        """Where the medium is: host, dut or off."""
        return str(self.position())

    @export(read_only=True)
    def incomplete(self) -> str | None:
        """What the medium holds a part of, where a transfer ended in the middle; None where it is whole."""
        return self._journal().incomplete()

    @export
    async def write(self, src: Any, options: WriteOptions | None = None) -> TransferResult:
        """Write the image behind a handle to the medium, which goes to the host for that and stays there.

        Raises StorageError, ImageError or EncodingError, which say what failed and where.
        """
        plan = new_plan(options or WriteOptions(), _verify_named(self.verify))
        async with (
            self._transfer() as tracker,
            open_source(self, src, plan.options, self.cache_bytes, self.origins) as source,
        ):
            journal = await in_thread(self._journal)
            # without reading back, nobody would know what a medium that came back has lost
            revive = self.revive if plan.verify != "off" else None
            async with self._open(write=True, revive=revive) as medium:
                await in_thread(journal.begin, f"an image that was begun at {datetime.now():%Y-%m-%d %H:%M:%S}")
                result = await write_image(medium, source, plan, tracker)
            await self.settle()
            await in_thread(journal.end)
        self.logger.info(
            "wrote %d bytes (%s) to %s, %s",
            result.bytes,
            result.format,
            medium.path,
            f"read back: {result.verify}" if result.verify != "off" else "not read back",
            extra={"bytes": result.bytes, "sha256": result.sha256, "seconds": round(result.seconds, 3)},
        )
        return result

    @export
    async def read(self, dst: Any) -> TransferResult:
        """Send the content of the medium to a handle; the medium goes to the host for that and stays there."""
        async with self._transfer() as tracker, self.resource(dst) as stream, self._open(write=False) as medium:
            result = await read_image(medium, stream, tracker)
        self.logger.info("read %d bytes, sha256 %s", result.bytes, result.sha256)
        return result

    @export(concurrent=True, read_only=True)
    async def progress(self) -> AsyncGenerator[Progress]:
        """How far the transfer is that runs now, again and again until it is over; nothing where none runs."""
        if self._tracker is not None:
            async for progress in self._tracker.follow():
                yield progress

    # parts

    def release(self) -> Awaitable[None] | None:
        """As `on_release` says; but a medium that holds only part of an image stays where it is."""
        if (what := self._journal().incomplete()) is not None:
            self.logger.warning(
                "the medium is incomplete (%s was not written to the end) and stays with the host", what
            )
            return None
        return super().release()

    def _journal(self) -> Journal:
        if self._mark is None:
            self._mark = Journal(self.medium_key())
        return self._mark

    def _note(self, stage: Stage, result: StageResult) -> None:
        """Put a stage that is done into the session's record."""
        self.put_on_record("transfer", stage=str(stage), bytes=result.bytes, seconds=round(result.seconds, 3))

    @asynccontextmanager
    async def _transfer(self) -> AsyncGenerator[Tracker]:
        tracker = self._tracker = Tracker(self._note)
        try:
            yield tracker
        except BaseException as e:
            self.put_on_record("transfer", stage=str(tracker.stage), bytes=tracker.done, outcome="failed")
            if not isinstance(e, (BrokenResourceError, ClosedResourceError, MemoryError)):
                raise
            cause = e.__cause__ or e
            no_memory = "the exporter has no memory left" if isinstance(cause, MemoryError) else ""
            why = no_memory or str(cause) or "the client went away"
            hint = (
                "end other programs on its host, or give it more, and write it again" if no_memory else "write it again"
            )
            raise StorageError(f"{tracker.stage} stopped after {tracker.done} bytes: {why}", hint) from e
        finally:
            tracker.is_over = True
            self._tracker = None

    @asynccontextmanager
    async def _open(self, *, write: bool, revive: Revive | None = None) -> AsyncGenerator[Medium]:
        """The medium at the host, open for one transfer."""
        await in_thread(self.switch, Position.HOST)
        path = await self._ready_medium()
        async with medium_of(path, write=write, rules=self.rules(), revive=revive) as medium:
            yield medium

    async def _ready_medium(self) -> Path:
        """Where the medium is, once it is there; card readers take their time."""
        path: Path | None = None
        reason: str | None = "is not there"
        with move_on_after(self.storage_timeout):
            while True:
                try:
                    path = await in_thread(self.medium)
                    if (reason := await in_thread(why_not_ready, path)) is None:
                        return path
                except DeviceAbsentError as e:
                    path, reason = None, e.message
                await sleep(POLL)
        raise StorageError(
            f"no medium within {self.storage_timeout:g} s after the switch to the host: "
            f"{f'{path}: ' if path is not None else ''}{reason}",
            "check that it is plugged in, and that the mux switches",
        )


def _verify_named(name: str) -> Verify:
    return next(known for known in VERIFY if known == name)
