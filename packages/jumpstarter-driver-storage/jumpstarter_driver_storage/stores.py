"""Images in object stores and other services that opendal reaches: s3, gcs, azblob, webdav, ftp, fs and many more.

The blocking half of the library is used, in worker threads: a process that has used its other half dies at its exit now
and then (opendal 0.45 to 0.47).
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple
from urllib.parse import SplitResult, parse_qsl

from anyio import EndOfStream, fail_after, move_on_after, to_thread
from anyio.abc import ByteStream
from jumpstarter.streams.http import UrlRules

from .origins import StoreOptions

PIECE = 1 << 20
"""Bytes that are read at once."""

RETRIES = 3
"""Times that a request is repeated which failed for a reason that may pass."""

_PLACES = {
    "s3": "bucket",
    "gcs": "bucket",
    "oss": "bucket",
    "obs": "bucket",
    "cos": "bucket",
    "b2": "bucket",
    "azblob": "container",
    "azdls": "filesystem",
    "swift": "container",
}
"""What the host of a URL is for a service."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def opendal() -> Any:
    """The library; ImportError says what to install where it is not there."""
    try:
        import opendal
    except ImportError as e:
        raise ImportError(
            "object stores need the library opendal, which is not installed here; "
            "pip install 'jumpstarter-driver-storage[opendal]'"
        ) from e
    return opendal


def operator_of(options: StoreOptions) -> Any:
    """The operator of a store. Raises ValueError for options that the service does not take."""
    library = opendal()
    given = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in options.items()}
    scheme = given.pop("scheme", "")
    if not scheme:
        raise ValueError("a store has a scheme, such as s3")
    if scheme == "fs" and "root" in given:
        given["root"] = str(Path(given["root"]).expanduser())
    try:
        return library.Operator(scheme, **given)
    except Exception as e:
        raise ValueError(f"the store of the scheme {scheme} cannot be used: {_reason(e)}") from e


def options_in(url: SplitResult) -> StoreOptions:
    """The options in a URL such as s3://bucket/path?region=eu-central-1; ValueError for a scheme without such URLs."""
    if url.scheme == "fs":
        return {"scheme": "fs", "root": "/"}
    place = _PLACES.get(url.scheme)
    if place is None or not url.netloc:
        known = ", ".join(f"{name}://{place}" for name, place in sorted(_PLACES.items()))
        raise ValueError(
            f"{url.scheme}://{url.netloc}: this is no URL of a store that is known here; known are {known}; "
            "in Python, give the operator of any other"
        )
    return {"scheme": url.scheme, place: url.netloc, **dict(parse_qsl(url.query, keep_blank_values=True))}


class StoredObject:
    """An object of a store, to be read."""

    def __init__(self, file: Any, url: str, size: int, rules: UrlRules) -> None:
        self._file = file
        self._url = url
        self._rules = rules
        self._read = 0
        self.size: int | None = size

    async def receive(self) -> bytes:
        """The next bytes. Raises OSError where there are others than the store said."""
        data: bytes = await _asked(self._rules.stall, self._url, self._file.read, PIECE)
        self._read += len(data)
        if self._read > (self.size or 0) or (not data and self._read != self.size):
            raise OSError(f"{self._url}: {self._read} bytes came, and not {self.size}, as the store says")
        if not data:
            raise EndOfStream
        return data


@asynccontextmanager
async def open_object(operator: Any, path: str, *, url: str, rules: UrlRules) -> AsyncGenerator[StoredObject]:
    """Read an object; `url` is what messages call it. Raises OSError for what is not there, too large, or breaks.

    Where a store says nothing any more, its thread ends when the library gives up, not later than `rules.stall`.
    """
    operator = _patient(operator, rules.stall)
    status = await _asked(rules.stall, url, operator.stat, path)
    size = int(status.content_length or 0)
    if path.endswith("/") or not path or "dir" in str(status.mode).lower():
        raise IsADirectoryError(f"{url}: this is a folder, not an object")
    if rules.max_bytes is not None and size > rules.max_bytes:
        raise OSError(f"{url}: the object has {size} bytes, more than the {rules.max_bytes} that are allowed")
    if not rules.anywhere:
        await _asked(rules.stall, url, _check_inside, operator, path, url)
    file = await _asked(rules.stall, url, operator.open, path, "rb")
    try:
        yield StoredObject(file, url, size, rules)
    finally:
        with suppress(Exception):
            await _asked(rules.stall, url, file.close)


def _check_inside(operator: Any, path: str, url: str) -> None:
    """Refuse links that lead out of a folder that is a store."""
    found = re.match(r'Operator\("fs", root="(.*?)"', str(operator))
    if found is None:
        return
    root = Path(found[1]).resolve()
    if not (root / path).resolve().is_relative_to(root):
        raise PermissionError(f"{url}: this is a link to somewhere else")


class ObjectWriter(ByteStream):
    """An object of a store that is being written."""

    def __init__(self, file: Any, url: str, stall: float) -> None:
        self._file = file
        self._url = url
        self._stall = stall

    async def send(self, item: bytes | memoryview) -> None:
        await _asked(self._stall, self._url, self._file.write, bytes(item))

    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise EndOfStream

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        """`replace_object` closes it."""


@asynccontextmanager
async def replace_object(operator: Any, path: str, *, rules: UrlRules | None = None) -> AsyncGenerator[ObjectWriter]:
    """Write an object; one that was not written to its end is removed. Raises OSError for what fails."""
    stall = (rules or UrlRules()).stall
    operator = _patient(operator, stall)
    file = await _asked(stall, path, operator.open, path, "wb")
    try:
        yield ObjectWriter(file, path, stall)
        await _asked(stall, path, file.close)
    except BaseException:
        with move_on_after(stall, shield=True):
            for undo, *arguments in ((file.close,), (operator.delete, path)):
                with suppress(Exception):
                    await to_thread.run_sync(undo, *arguments)
        raise


def _patient(operator: Any, stall: float) -> Any:
    """An operator that repeats what may pass, and gives up on what says nothing."""
    layers = opendal().layers
    if hasattr(operator, "to_operator"):
        operator = operator.to_operator()
    operator = operator.layer(layers.TimeoutLayer(timeout=stall, io_timeout=stall))
    return operator.layer(layers.RetryLayer(max_times=RETRIES, min_delay=0.25, max_delay=4.0, jitter=True))


async def _asked(stall: float, url: str, function: Callable[[*Ts], T], *args: *Ts) -> T:
    """Call the library in a thread, and say what fails in one line."""
    try:
        with fail_after(stall):
            return await to_thread.run_sync(function, *args, abandon_on_cancel=True)
    except TimeoutError as e:
        raise TimeoutError(f"{url}: the store said nothing for {stall:g} s") from e
    except Exception as e:
        if (isinstance(e, OSError) and e.errno is not None) or str(e).startswith(url):
            raise
        kind = type(e).__name__ if type(e).__name__ != "OSError" else str(e).partition(" ")[0]
        known: dict[str, type[OSError]] = {"NotFound": FileNotFoundError, "PermissionDenied": PermissionError}
        raise known.get(kind, OSError)(f"{url}: {_reason(e)}") from e


def _reason(error: Exception) -> str:
    """What an error of the library says, without its context: `NotFound (permanent) at stat => entity not found`."""
    text = str(error)
    first = text.partition("\n")[0].rpartition("=>")[2].strip()
    source = re.search(r"(?:Source:\n\s*|, source: )(.*?)(?:\n|$)", text)
    told = ": ".join(part for part in (first.partition(", source:")[0], source[1].strip() if source else "") if part)
    return told or type(error).__name__
