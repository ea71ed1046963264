"""Reading an image that is somewhere else: the exporter does it for a client, or a client for itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, unquote, urlsplit

from jumpstarter.common.exceptions import NotAllowedError

from .origins import Incoming, Origins, StoreOptions


@asynccontextmanager
async def open_origin(url: str, origins: Origins) -> AsyncGenerator[Incoming]:
    """Read a URL of the scheme http, https, oci or store; with other schemes, the store that the URL itself describes.

    Raises NotAllowedError for one that the rules do not allow, ValueError for one that is none, ImportError where the
    library is missing, and OSError for what cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        from jumpstarter.streams.http import open_url

        async with open_url((url, {}), origins.urls) as stream:
            yield stream
    elif parts.scheme == "oci":
        from .oci import open_artifact

        async with open_artifact(url, origins) as artifact:
            yield artifact
    else:
        from .stores import open_object, operator_of

        options, path = _store(parts, origins)
        async with open_object(operator_of(options), path, url=_shown(parts), rules=origins.urls) as stored:
            yield stored


def _shown(url: SplitResult) -> str:
    """A URL for a message, without what may be secret."""
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def _store(url: SplitResult, origins: Origins) -> tuple[StoreOptions, str]:
    """Options of the store that a URL names, and the path in it."""
    path = unquote(url.path).lstrip("/")
    if any(part in (".", "..") for part in path.split("/")):
        raise ValueError(f"{_shown(url)}: the path of an object has no . and .. in it")
    if url.scheme != "store":
        if not origins.urls.anywhere:
            raise NotAllowedError(
                f"{_shown(url)}: stores are read by the names that the exporter's configuration has for them",
                "name it store://NAME/PATH, or let the client read it",
            )
        from .stores import options_in

        return options_in(url), path
    options = origins.stores.get(url.netloc)
    if options is None:
        known = ", ".join(sorted(origins.stores)) or "none"
        raise NotAllowedError(
            f"{_shown(url)}: there is no store {url.netloc}; known: {known}",
            "add it to stores in the exporter's configuration",
        )
    return options, path
