"""The exporter's side."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.lowlevel
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.common import create_memory_stream
from jumpstarter.streams.metadata import MetadataStream
from pydantic import BaseModel


class Level(Enum):
    LOW = "low"


class Reading(BaseModel):
    volts: float
    name: str


@dataclass
class Point:
    x: int
    y: int


MADE: dict[str, Any] = {
    "none": None,
    "true": True,
    "int": 7,
    "negative": -3,
    "float": 1.5,
    "text": "grüße \U0001f600",
    "list": [1, "two", None, [True]],
    "tuple": (1, 2),
    "set": {5},
    "dict": {"b": 1, "a": {"c": [0.5]}},
    "int keys": {1: "a"},
    "enum": Level.LOW,
    "uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "path": Path("/a/b"),
    "decimal": Decimal("1.50"),
    "datetime": datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone.utc),  # noqa: UP017 the public release runs it, too
    "date": date(2020, 1, 2),
    "timedelta": timedelta(seconds=90),
    "model": Reading(volts=5.0, name="rail"),
    "dataclass": Point(1, 2),
    "bytes": b"plain text",
}

ERRORS: dict[str, Any] = {
    "NotImplementedError": NotImplementedError,
    "ValueError": ValueError,
    "TimeoutError": TimeoutError,
    "ConnectionError": ConnectionRefusedError,
    "OSError": OSError,
    "RuntimeError": RuntimeError,
    "KeyError": KeyError,
    "ConfigurationError": ConfigurationError,
}


@dataclass(kw_only=True)
class Probe(Driver):
    """Does what it is told."""

    folder: str
    """Where it leaves notes."""

    @classmethod
    def client(cls) -> str:
        return "interop_bench.client.ProbeClient"

    def note(self, name: str) -> None:
        (Path(self.folder) / name).touch()

    # calls

    @export  # pyright: ignore[reportUnknownArgumentType] without annotations, as in the wild
    def echo(self, value):  # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]
        return value  # pyright: ignore[reportUnknownVariableType]

    @export
    async def echo_async(self, value: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return value

    @export
    def add(self, a: int, b: int = 2) -> int:
        return int(a) + int(b)

    @export
    def made(self, kind: str) -> Any:
        return MADE[kind]

    @export
    def typed_of(self, value: Any) -> str:
        return type(value).__name__

    @export
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    @export
    def say(self, text: str) -> str:
        self.logger.info("said %s", text)
        return f"said {text}"

    @export
    def fail(self, kind: str, text: str) -> None:
        raise ERRORS[kind](text)

    @export
    async def fail_async(self, kind: str, text: str) -> None:
        raise ERRORS[kind](text)

    def hidden(self) -> str:
        return "not exported"

    # streamed calls

    @export
    def count(self, n: int) -> Generator[dict[str, Any]]:
        for i in range(int(n)):
            yield {"number": i, "text": f"item {i}"}

    @export
    async def count_async(self, n: int) -> AsyncGenerator[int]:
        for i in range(int(n)):
            yield i

    @export
    async def fail_after(self, n: int, kind: str, text: str) -> AsyncGenerator[int]:
        for i in range(int(n)):
            yield i
        raise ERRORS[kind](text)

    @export
    async def ticks(self, note: str) -> AsyncGenerator[int]:
        """Endless; notes its end."""
        try:
            i = 0
            while True:
                yield i
                i += 1
                await anyio.sleep(0.02)
        finally:
            self.note(note)

    # byte streams

    @exportstream
    @asynccontextmanager
    async def connect(self):
        """What comes is sent back; the end, too."""
        ours, theirs = create_memory_stream()

        async def echo() -> None:
            async for data in theirs:
                await theirs.send(data)
            await theirs.send_eof()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(echo)
            yield MetadataStream(stream=ours, metadata={"bench": "interop"})
            tasks.cancel_scope.cancel()

    @exportstream
    @asynccontextmanager
    async def digest(self):
        """Takes bytes until the end of that direction, and answers with their number and digest."""
        ours, theirs = create_memory_stream()

        async def add_up() -> None:
            digest, size = hashlib.sha256(), 0
            async for data in theirs:
                digest.update(data)
                size += len(data)
            await theirs.send(f"{size} {digest.hexdigest()}".encode())
            await theirs.send_eof()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add_up)
            yield ours
            tasks.cancel_scope.cancel()

    @exportstream
    @asynccontextmanager
    async def refused(self):
        raise ConnectionRefusedError("nobody is at home")
        yield

    # files

    @export
    async def upload(self, source: str) -> str:
        digest, size = hashlib.sha256(), 0
        async with self.resource(source) as stream:
            async for data in stream:
                digest.update(data)
                size += len(data)
        return f"{size} {digest.hexdigest()}"

    @export
    async def download(self, target: str, size: int) -> None:
        block = bytes(range(256)) * 256
        left = int(size)
        async with self.resource(target) as stream:
            while left:
                part = block[:left]
                await stream.send(part)
                left -= len(part)
