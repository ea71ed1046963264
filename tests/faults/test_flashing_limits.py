"""Flashes without enough memory or disk, with hostile files, and uploads that nobody takes."""

from __future__ import annotations

import gzip
import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from anyio import sleep
from anyio.abc import ByteStream
from flashbench import FLASH, MIB, Flashing, assert_kept_back, file_digest, is_writing, j, result_of
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter.exporter import streams
from jumpstarter_driver_storage.driver import MockStorageMuxFlasher
from jumpstarter_protocol.jumpstarter.v1.router_pb2 import StreamRequest
from processes import Memory, descriptors, resident, threads, wait_for
from raw import raw, request

if TYPE_CHECKING:
    from processes import Bench

    from tests.conftest import Lab

GROWTH = 48 * MIB
"""Most memory that a flash may take at the exporter."""

CLIENT = 96 * MIB
"""Most memory that a client may have from its first instruction on."""


def limit_memory(pid: int, room: int | None) -> None:
    """Let a process map so many bytes more than it has; None: as many as it likes."""
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    soft = resource.RLIM_INFINITY if room is None else size + room
    resource.prlimit(pid, resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))


@pytest.mark.parametrize("room", [0, 8 * MIB])
def test_an_exporter_without_memory_fails_the_flash_and_serves_on(
    flashing: Flashing, image: Path, medium: Path, room: int
) -> None:
    with flashing() as bench:
        assert j(bench, "flash", image)[0] == 0  # everything is loaded
        before = medium.read_bytes()
        image.write_bytes(os.urandom(24 * MIB))
        limit_memory(bench.pid, room)
        status, _, error = j(bench, "flash", image)
        limit_memory(bench.pid, None)
        assert bench.process.poll() is None
        if status != 0:  # what was freed before may be enough
            assert status in (69, 70), error
            assert re.match("j: error: .*(memory|thread|[Mm]ap)", error), error
            assert "Traceback" not in error
        if medium.read_bytes() != before:  # which it may still be when nothing has begun
            assert_true_of_the_medium(bench, image, medium, status)
        status, _, error = j(bench, "flash", image)
        assert status == 0, error
        assert medium.read_bytes() == image.read_bytes()


def assert_true_of_the_medium(bench: Bench, image: Path, medium: Path, status: int) -> None:
    """Either it was written, whatever the client was told of it then, or it is kept back."""
    assert status != 0 or medium.read_bytes() == image.read_bytes()
    if medium.read_bytes() != image.read_bytes():
        assert_kept_back(bench, medium)


@pytest.mark.parametrize("room", [0, 2 * MIB])
def test_a_client_without_memory_leaves_the_medium_marked(
    flashing: Flashing, image: Path, medium: Path, room: int
) -> None:
    with flashing(slow=100_000) as bench, bench.client(*FLASH, str(image)) as client:
        wait_for(is_writing(medium), 30)
        limit_memory(client.pid, room)
        status = client.process.wait(60)
        assert "Traceback" not in client.errors
        wait_for(lambda: str(medium) not in descriptors(bench.pid), 10)
        assert_true_of_the_medium(bench, image, medium, status)
        assert j(bench, "flash", image)[0] == 0
        assert medium.read_bytes() == image.read_bytes()


def test_a_bomb_takes_no_memory(flashing: Flashing, lab: Lab, medium: Path) -> None:
    bomb = lab.directory / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(64 * MIB)) * 16)  # 1 GiB in 1 MiB
    with flashing(more="\n      size_bytes: 67108864") as bench:
        memory = Memory(bench.pid)
        status, _, error = j(bench, "flash", bomb)
        assert status == 70
        assert "the image does not fit" in error
        assert memory.growth < GROWTH
        assert_kept_back(bench, medium)


def test_a_flash_takes_little_memory_at_both_ends_and_gives_it_back(flashing: Flashing, lab: Lab, medium: Path) -> None:
    image = lab.directory / "large"
    with image.open("wb") as file:
        for _ in range(256):
            file.write(os.urandom(MIB))
    with flashing() as bench:
        before = resident(bench.pid)
        at_exporter = Memory(bench.pid)
        with bench.client(*FLASH, "--output", "json", str(image)) as client:
            at_client = Memory(client.pid)
            result = result_of(client.line())
            assert at_client.growth < CLIENT
        assert at_exporter.growth < GROWTH
        wait_for(lambda: resident(bench.pid) < before + 12 * MIB, 10, lambda: resident(bench.pid) - before)
        assert result["sha256"] == file_digest(image)


class Upload(ByteStream):
    """Bytes without an end, which break after so many pieces."""

    def __init__(self, pieces: int | None) -> None:
        self._left = pieces

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                raise OSError("the upload is cut")
        return os.urandom(MIB)

    async def send(self, item: bytes) -> None: ...
    async def send_eof(self) -> None: ...
    async def aclose(self) -> None: ...


def test_uploads_that_are_abandoned_are_freed(bench: Bench) -> None:
    """By a client that goes away: at once."""
    frames = [StreamRequest(payload=os.urandom(MIB)).SerializeToString() for _ in range(8)]

    def sent() -> Iterator[bytes]:
        yield from frames
        time.sleep(2)

    with bench.connected() as observer:
        before = bench.census(observer)
        memory = Memory(bench.pid)
        with raw(bench) as client:
            calls = [client.stream(sent(), ("request", request(kind="resource", uuid=client.probe))) for _ in range(20)]
            for call in calls:
                assert dict(call.initial_metadata())["resource"]
            assert memory.growth < 64 * MIB
        wait_for(lambda: not bench.census(observer).exceeds(before), 10, lambda: (before, bench.census(observer)))


def test_an_upload_that_no_call_takes_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "UNCLAIMED_RESOURCE", 0.3)

    driver = MockStorageMuxFlasher()
    with serve(driver) as client:

        async def offer() -> None:
            async with client.resource_async(Upload(None)) as handle:
                assert driver.resources
                await sleep(1.5)
                await client.call_async("write", handle)

        with pytest.raises((DriverError, OSError), match=r"no call used the stream|unknown here or was used"):
            client.portal.call(offer)
        assert not driver.resources


def test_an_upload_that_is_cut_while_its_call_goes_on_is_no_image(
    flashing: Flashing, lab: Lab, image: Path, medium: Path
) -> None:
    with flashing() as bench, bench.connected() as client:
        storage = client.children["storage"]

        async def cut() -> None:
            async with storage.resource_async(Upload(8)) as handle:
                await storage.call_async("write", handle)

        with pytest.raises(OSError, match="the upload is cut"):
            client.portal.call(cut)
        wait_for(lambda: str(medium) not in descriptors(bench.pid), 10)
        assert_kept_back(bench, medium)
        assert threads(bench.pid) < 40
