"""An object of a store, or a URL, as the handle that a driver opens: for clients of drivers with a way of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import ParseResult, urlsplit

from jumpstarter.client.adapters import blocking

from .common import is_url

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient
    from jumpstarter.streams.encoding import Compression

    from .transfers import PathBuf


@blocking
@asynccontextmanager
async def OpendalAdapter(
    *,
    client: DriverClient,
    operator: Any,
    path: PathBuf,
    mode: Literal["rb", "wb"] = "rb",
    compression: Compression | None = None,
    original_url: str | None = None,
) -> AsyncGenerator[dict[str, Any]]:
    """Offer an object of a store to a driver, to read it, or with mode `wb` to write it; yields the handle.

    With an `original_url`, the handle is that URL, which the exporter fetches. Everything else comes through this
    client, also where the store could presign a URL: its address is not one that exporters have to allow.
    ValueError for a URL that would be written or is compressed.
    """
    if original_url is not None:
        if compression is not None or mode != "rb":
            raise ValueError(f"{original_url}: what the exporter fetches is neither compressed nor written")
        yield {"kind": "presigned_request", "headers": {}, "url": original_url, "method": "GET"}
        return
    from jumpstarter.streams.http import UrlRules

    from .files import IncomingStream
    from .stores import open_object, replace_object

    name = str(path)
    if mode == "rb":
        async with open_object(operator, name, url=name, rules=UrlRules(anywhere=True)) as incoming:
            size = incoming.size if compression is None else None
            async with client.resource_async(IncomingStream(incoming), compression, size=size) as handle:
                yield handle
        return
    async with replace_object(operator, name) as target, client.resource_async(target, compression) as handle:
        yield handle


def clean_filename(path: PathBuf) -> str:
    """The last part of a path or URL, without a query."""
    return Path(urlsplit(str(path)).path).name.partition(";")[0]


def path_with_query(parsed_url: ParseResult) -> str:
    """Path and query of a URL."""
    return f"{parsed_url.path}?{parsed_url.query}" if parsed_url.query else parsed_url.path


def operator_for_path(path: PathBuf) -> tuple[PathBuf, Any, str]:
    """The path in a store, the operator of that store, and its scheme: `http` for a URL, `fs` for a local file."""
    from .stores import opendal

    if is_url(path) and str(path).startswith(("http://", "https://")):
        parts = urlsplit(str(path))
        operator = opendal().Operator("http", root="/", endpoint=f"{parts.scheme}://{parts.netloc}")
        return Path(parts.path), operator, "http"
    return Path(path).resolve(), opendal().Operator("fs", root="/"), "fs"
