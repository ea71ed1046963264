"""Files on their way between a client and a driver, whatever the driver understands."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from io import FileIO
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from jumpstarter.client import DriverClient

from .common import Progress, Stage, TransferResult, WriteOptions, is_url

PathBuf = str | PathLike[str]

Watcher = Callable[[Progress], None]
"""Called with how far a transfer is, again and again."""


class Transfers:
    """Files on their way to and from a driver."""

    def __init__(
        self, client: DriverClient, begin: Callable[[], object] = lambda: None, watcher: Watcher | None = None
    ) -> None:
        self._client = client
        self._begin = begin
        """Called once the file is open, and before anything is sent."""
        self._watcher = watcher

    def upload(self, method: str, path: PathBuf, *args: Any, **options: Any) -> TransferResult | None:
        """Send a file, `-` for the standard input, or let the exporter fetch a URL."""
        compression: str | None = options.pop("compression", None)
        if (bmap := options.pop("bmap", None)) is not None:
            options["bmap"] = Path(bmap).read_text()
        if is_url(path):
            return self._fetched(method, str(path), args, options)
        with open_file(path) as file:
            self._begin()
            return _result(self._client.portal.call(self._send, method, file, args, options, compression))

    def _fetched(self, method: str, url: str, args: tuple[Any, ...], options: dict[str, Any]) -> TransferResult | None:
        self._begin()
        handle: dict[str, Any] = {"kind": "presigned_request", "headers": {}, "url": url, "method": "GET"}
        return _result(self._client.portal.call(self._call, method, handle, args, options))

    def download(self, method: str, path: PathBuf, *args: Any, compression: str | None = None) -> TransferResult | None:
        """Receive a file."""
        from .files import replacing

        with replacing(Path(path)) as file:
            self._begin()
            return _result(self._client.portal.call(self._receive, method, file, args, compression))

    async def _send(
        self, method: str, file: FileIO, args: tuple[Any, ...], options: dict[str, Any], compression: str | None
    ) -> Any:
        size = file_size(file)
        if takes_options(self._client, method) and compression is None:
            from .sending import BlockSender

            options = {"size": size, **options, "blocks": True}
            async with BlockSender(file).reading() as sender, self._client.resource_async(sender) as handle:
                return await self._call(method, handle, args, options)
        from .files import FileStream

        if compression is not None and size == 0:
            raise ValueError(f"an empty file is no {compression} data")
        async with self._client.resource_async(FileStream(file), compression, size=size) as handle:
            return await self._call(method, handle, args, options)

    async def _receive(self, method: str, file: BinaryIO, args: tuple[Any, ...], compression: str | None) -> Any:
        from .files import FileStream

        async with self._client.resource_async(FileStream(file), compression) as handle:
            return await self._call(method, handle, args, {})

    async def _call(self, method: str, handle: dict[str, Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if takes_options(self._client, method):
            args = (*args, asdict(WriteOptions(**options)))
        elif any(value is not None for name, value in options.items() if name != "verify"):
            from jumpstarter.common.exceptions import ArgumentError

            given = ", ".join(name for name, value in options.items() if value is not None)
            raise ArgumentError(f"the driver of {self._client.path or 'the root'} does not know the options {given}")
        if self._watcher is None or not describes(self._client, "progress"):
            return await self._client.call_async(method, handle, *args)
        return await self._watched(method, handle, args, self._watcher)

    async def _watched(self, method: str, handle: dict[str, Any], args: tuple[Any, ...], watcher: Watcher) -> Any:
        from anyio import create_task_group, sleep
        from jumpstarter.common.groups import ungrouped

        async def watch() -> None:
            while True:  # until the transfer has begun, there is nothing to see
                async for progress in self._client.streamingcall_async("progress"):
                    watcher(_progress(progress))
                await sleep(WATCH_AGAIN)

        result: Any = None
        with ungrouped():
            async with create_task_group() as tasks:
                tasks.start_soon(watch)
                result = await self._client.call_async(method, handle, *args)
                tasks.cancel_scope.cancel()
        return result


WATCH_AGAIN = 0.5
"""Seconds until the exporter is asked again how far a transfer is that has not begun, or is just over."""


@contextmanager
def open_file(path: PathBuf) -> Generator[FileIO]:
    """A local file for reading, `-` for the standard input."""
    if path == "-":
        with FileIO(sys.stdin.fileno(), closefd=False) as file:
            yield file
        return
    with FileIO(Path(path)) as file:
        yield file


def file_size(file: FileIO) -> int | None:
    """Bytes of a file; None for what is no regular file."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def takes_options(client: DriverClient, method: str) -> bool:
    """Whether a driver is one of ours, which says so by describing the parameter."""
    described = client.driver_type
    if described is None:
        return False
    known = next((known for known in described.methods if known.name == method), None)
    return known is not None and any(parameter.name == "options" for parameter in known.parameters)


def describes(client: DriverClient, method: str) -> bool:
    """Whether a driver is known to have a method."""
    described = client.driver_type
    return described is not None and any(known.name == method for known in described.methods)


def _progress(value: Any) -> Progress:
    if isinstance(value, Progress):
        return value
    given = dict(value)
    total = given.get("total")
    return Progress(
        stage=Stage(given["stage"]),
        done=int(given["done"]),
        total=None if total is None else int(total),
        rate=float(given["rate"]),
    )


def _result(value: Any) -> TransferResult | None:
    """What a driver returned; those of others return nothing."""
    if isinstance(value, TransferResult):
        return value
    return TransferResult.of(value) if isinstance(value, Mapping) and "bytes" in value else None
