"""What the two ends of a transfer tell each other: options, progress, results, and errors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from jumpstarter.common.exceptions import JumpstarterException

Verify: TypeAlias = Literal["full", "sampled", "off"]
"""How much of a medium is read back and compared after it was written."""

VERIFY: tuple[Verify, ...] = ("full", "sampled", "off")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

FETCHED = ("http", "https", "oci", "store")
"""Schemes of URLs that an exporter can read; others, such as s3, say too little without what only a client has."""

OWN_FETCHED = ("oci", "store")
"""Those of them that only this package knows how to read."""

BLOCK = 64 << 10
"""Bytes of a block: the unit of digests, of what is sent or not, and of what is skipped as zero."""


class Position(StrEnum):
    """Who the medium is connected to."""

    HOST = "host"
    DUT = "dut"
    OFF = "off"


class Stage(StrEnum):
    """What a transfer does at the moment."""

    IDLE = "idle"
    PREPARE = "prepare"
    WRITE = "write"
    FLUSH = "flush"
    VERIFY = "verify"
    READ = "read"


class StorageError(JumpstarterException, OSError):
    """A medium could not be written or read: the message says at which stage and where, and why."""

    def __str__(self) -> str:
        """Message and hint; the cause is in the message."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How an image is written."""

    verify: Verify | None = None
    """How much is read back and compared; None as the driver is configured."""

    decompress: bool = True
    """Whether compressed data are recognised by their content and decompressed, and Android sparse images unfolded."""

    sha256: str | None = None
    """What the file's digest has to be, as it is sent: of a compressed file, that of the compressed data."""

    size: int | None = None
    """Bytes of the file, where the client knows."""

    bmap: str | None = None
    """The text of a bmap file, which says what blocks of the image matter, and their checksums."""

    blocks: bool = False
    """The client speaks the protocol of `blocks.py` on its stream, and sends only what the exporter lacks."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What one stage of a transfer took."""

    bytes: int
    """Bytes that it moved."""

    seconds: float

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class TransferResult:
    """What a transfer did."""

    bytes: int
    """Size of the image as it is on the medium, holes included."""

    seconds: float
    """From the first byte to the end."""

    sha256: str | None = None
    """Digest of the image as it is on the medium; None where nothing read all of it."""

    written: int = 0
    """Bytes that were written; the others are zeros, or of no meaning."""

    received: int = 0
    """Bytes that came from the client or a server; the others were known from earlier transfers."""

    format: str = "raw"
    """What the file was: raw, sparse (Android), bmap, with the compression before it, as in xz+raw."""

    verify: Verify = "off"
    """How much was read back and found to be right."""

    recoveries: int = 0
    """How often the medium was lost and brought back meanwhile; all of it was read back then."""

    stages: dict[str, StageResult] = field(default_factory=dict[str, StageResult])

    @classmethod
    def of(cls, value: Any) -> TransferResult:
        """The result that a driver returned."""
        if isinstance(value, cls):
            return value
        given = dict(value)
        stages = {
            name: StageResult(bytes=int(stage["bytes"]), seconds=float(stage["seconds"]))
            for name, stage in dict(given.pop("stages", {})).items()
        }
        known = {f.name for f in fields(cls)}
        for name in ("bytes", "written", "received", "recoveries"):
            if name in given:
                given[name] = int(given[name])
        return cls(**{name: item for name, item in given.items() if name in known}, stages=stages)

    def as_dict(self) -> dict[str, Any]:
        """The same in plain values, with the rate of each stage."""
        stages = {
            name: {"bytes": stage.bytes, "seconds": round(stage.seconds, 3), "bytes_per_second": round(stage.rate)}
            for name, stage in self.stages.items()
        }
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "seconds": round(self.seconds, 3),
            "stages": stages,
        }


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a transfer has come."""

    stage: Stage
    done: int
    """Bytes of this stage that are done."""

    total: int | None
    """Bytes that this stage has; None where nobody knows."""

    rate: float
    """Bytes per second of this stage."""

    @property
    def eta(self) -> float | None:
        """Seconds until the stage is done, where it can be told."""
        return (self.total - self.done) / self.rate if self.total is not None and self.rate > 0 else None


def size_text(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def is_url(path: object) -> bool:
    """Whether a path is the URL of a file."""
    return isinstance(path, str) and _URL.match(path) is not None


def scheme_of(url: str) -> str:
    """The scheme of a URL, in small letters."""
    return url.partition(":")[0].lower()
