"""Files on their way between a client and a driver, whatever the driver understands."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from functools import partial
from io import FileIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from jumpstarter.client import DriverClient

from .common import FETCHED, OWN_FETCHED, Progress, Stage, TransferResult, WriteOptions, is_url, scheme_of

if TYPE_CHECKING:
    from anyio.abc import ByteStream
    from jumpstarter.common.exceptions import ArgumentError
    from jumpstarter.streams.http import UrlRules

    from .origins import Incoming
    from .windows import Windows

PathBuf = str | PathLike[str]

Fetch: TypeAlias = Literal["exporter", "client"]
"""Who reads what a URL names."""

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

    def upload(
        self,
        method: str,
        path: PathBuf,
        *args: Any,
        operator: Any = None,
        fetch: Fetch | None = None,
        compression: str | None = None,
        bmap: PathBuf | None = None,
        lend: bool = True,
        **options: Any,
    ) -> TransferResult | None:
        """Send a file, `-` for the standard input, an object of a store, or what a URL names; see `FlasherClient`.

        With `lend`, a file is not sent to an exporter that can read it itself.
        """
        if bmap is not None:
            options["bmap"] = Path(bmap).read_text()
        if operator is not None:
            from .stores import open_object

            name = str(path)
            opened = open_object(operator, name, url=name, rules=_own_rules())
            return self._forwarded(method, opened, args, options, compression)
        if is_url(path):
            return self._from_url(method, str(path), args, options, fetch, compression)
        if fetch is not None:
            raise _wrong(f"{path} is a local file, and no URL that somebody could fetch")
        from .lending import is_lendable

        with open_file(path) as file:
            self._begin()
            lend = lend and is_lendable(self._client, file)
            return _result(self._client.portal.call(self._send_file, method, file, lend, args, options, compression))

    def _from_url(
        self,
        method: str,
        url: str,
        args: tuple[Any, ...],
        options: dict[str, Any],
        fetch: Fetch | None,
        compression: str | None,
    ) -> TransferResult | None:
        scheme = scheme_of(url)
        fetch = fetch or ("exporter" if scheme in FETCHED else "client")
        if fetch == "client":
            if scheme == "store":
                raise _wrong(
                    f"{url}: the exporter's configuration has this store, so only the exporter can fetch from it"
                )
            return self._forwarded(method, _opened_here(url), args, options, compression)
        if fetch != "exporter":
            raise _wrong(f"fetch: {fetch!r} is not one of exporter and client")
        if scheme not in FETCHED:
            raise _wrong(f"{url}: an exporter fetches {', '.join(FETCHED)} only; let the client fetch it")
        if not takes_options(self._client, method) and (compression is not None or scheme in OWN_FETCHED):
            raise _wrong(f"{url}: this driver fetches plain http and https only; let the client fetch it")
        self._begin()
        handle: dict[str, Any] = {"kind": "presigned_request", "headers": {}, "url": url, "method": "GET"}
        return _result(self._client.portal.call(self._call, method, handle, args, options))

    def _forwarded(
        self,
        method: str,
        opened: AbstractAsyncContextManager[Incoming],
        args: tuple[Any, ...],
        options: dict[str, Any],
        compression: str | None,
    ) -> TransferResult | None:
        """Read something here, and send it as it comes."""
        with self._client.portal.wrap_async_context_manager(opened) as incoming:
            self._begin()
            return _result(self._client.portal.call(self._send_stream, method, incoming, args, options, compression))

    def download(
        self, method: str, path: PathBuf, *args: Any, compression: str | None = None, operator: Any = None
    ) -> TransferResult | None:
        """Receive a file, or an object of a store, which is removed where it does not come whole."""
        if operator is not None:
            from .stores import replace_object

            with self._client.portal.wrap_async_context_manager(replace_object(operator, str(path))) as target:
                self._begin()
                return _result(self._client.portal.call(self._receive, method, target, args, compression))
        from .files import FileStream, replacing

        with replacing(Path(path)) as file:
            self._begin()
            return _result(self._client.portal.call(self._receive, method, FileStream(file), args, compression))

    async def _send_file(
        self,
        method: str,
        file: FileIO,
        lend: bool,
        args: tuple[Any, ...],
        options: dict[str, Any],
        compression: str | None,
    ) -> Any:
        from .files import FileStream
        from .lending import lending
        from .windows import FileWindows

        async with lending(file) if lend else nullcontext() as lent:
            windows, size = partial(FileWindows, file), file_size(file)
            return await self._send(method, windows, FileStream(file), size, args, options, compression, lent)

    async def _send_stream(
        self, method: str, incoming: Incoming, args: tuple[Any, ...], options: dict[str, Any], compression: str | None
    ) -> Any:
        from .files import IncomingStream
        from .windows import StreamWindows

        return await self._send(
            method,
            partial(StreamWindows, incoming),
            IncomingStream(incoming),
            incoming.size,
            args,
            options,
            compression,
        )

    async def _send(
        self,
        method: str,
        windows: Callable[[], Windows],
        stream: ByteStream,
        size: int | None,
        args: tuple[Any, ...],
        options: dict[str, Any],
        compression: str | None,
        lent: bytes | None = None,
    ) -> Any:
        """Send what can be read either in windows, where the driver knows those, or as a stream.

        Nothing is sent where the driver can borrow it by the name `lent`.
        """
        if takes_options(self._client, method) and compression is None:
            from .sending import BlockSender

            options = {"size": size, **options, "blocks": True}
            async with BlockSender(windows(), lent).reading() as sender, self._client.resource_async(sender) as handle:
                return await self._call(method, handle, args, options)
        if compression is not None and size == 0:
            raise ValueError(f"an empty file is no {compression} data")
        async with self._client.resource_async(stream, compression, size=size) as handle:
            return await self._call(method, handle, args, options)

    async def _receive(self, method: str, target: ByteStream, args: tuple[Any, ...], compression: str | None) -> Any:
        async with self._client.resource_async(target, compression) as handle:
            return await self._call(method, handle, args, {})

    async def _call(self, method: str, handle: dict[str, Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if takes_options(self._client, method):
            args = (*args, WriteOptions(**options))
        elif any(value is not None for name, value in options.items() if name != "verify"):
            given = ", ".join(name for name, value in options.items() if value is not None)
            raise _wrong(f"the driver of {self._client.path or 'the root'} does not know the options {given}")
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


def _own_rules() -> UrlRules:
    """A user reads what he can reach, for himself."""
    from jumpstarter.streams.http import UrlRules

    return UrlRules(anywhere=True)


def _opened_here(url: str) -> AbstractAsyncContextManager[Incoming]:
    from .fetching import open_origin
    from .origins import Origins

    return open_origin(url, Origins(urls=_own_rules()))


def _wrong(message: str) -> ArgumentError:
    from jumpstarter.common.exceptions import ArgumentError

    return ArgumentError(message)


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
