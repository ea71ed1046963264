"""What a flash says, leaves and does when the disk, the exporter, the client or the way between them fails.

Disks fail by a library that is preloaded into the exporter; see diskfaults.c.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flashbench import FLASH, MIB, Flashing, assert_kept_back, file_digest, is_writing, j, result_of
from jumpstarter_driver_storage.blocks import SENT_AHEAD
from jumpstarter_testing.processes import family
from processes import descriptors, threads, wait_for
from proxy import proxying

if TYPE_CHECKING:
    from tests.conftest import Lab

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc) for the faults of disks")

LEND = FLASH[:-1]

carried = pytest.mark.parametrize(
    ("transport", "command"), [("unix", FLASH), ("tls", FLASH), ("unix", LEND)], ids=["unix", "tls", "lent"]
)


@needs_compiler
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (f"pwrite {errno.EIO} {12 * MIB}", r"write .*medium.img at byte 12582912 \(12.0 MiB\): input/output error"),
        (f"pwrite {errno.ENOSPC} {12 * MIB}", r"write .* at byte 12582912 .*: no space left on device; make room"),
        (f"pwrite {errno.ENODEV} {20 * MIB}", r"write .* at byte 20971520 .*: no such device; the device is gone"),
        (f"pwrite {errno.EROFS} {2 * MIB}", r"write .*: read-only file system; remove the write protection"),
        (f"fsync {errno.EIO}", r"flush .*: input/output error .*; what was written may be lost; write it again"),
        (f"pread {errno.EIO} {9 * MIB}", r"verify .*medium.img at byte \d+ .*: input/output error"),
        (f"flip 0 {9 * MIB + 77}", rf"verify .* at byte {9 * MIB} .*: what is read back is not what was written"),
    ],
    ids=["eio", "enospc", "unplugged", "protected", "fsync", "read-back", "bit-flip"],
)
def test_a_disk_that_fails_is_named_and_the_medium_stays(
    flashing: Flashing, image: Path, medium: Path, fault: str, said: str
) -> None:

    with flashing(fault=fault) as bench:
        status, out, error = j(bench, "flash", image)
        assert (status, out) == (70, "")
        assert re.search(said, error), error
        assert error.count("\n") == 0
        if not fault.startswith("flip"):
            assert_kept_back(bench, medium)
        assert str(medium) not in descriptors(bench.pid)


@needs_compiler
@pytest.mark.parametrize("fault", ["", "short 0 0"], ids=["none", "short writes"])
def test_without_a_fault_the_same_way_works(flashing: Flashing, image: Path, medium: Path, fault: str) -> None:
    with flashing(slow=1, fault=fault) as bench:
        status, out, error = j(bench, "flash", image, "--output", "json")
        assert status == 0, error
        assert result_of(out)["sha256"] == file_digest(image)
        assert medium.read_bytes() == image.read_bytes()
        assert j(bench, "state")[1] == "dut\n"


SLOW = 200_000
"""Microseconds of a write of 2 MiB, so that a flash is still on its way when something happens."""


@needs_compiler
@carried
def test_a_killed_client_leaves_the_medium_marked_and_the_exporter_clean(
    flashing: Flashing, image: Path, medium: Path, transport: str, command: tuple[str, ...]
) -> None:
    with flashing(transport, slow=SLOW) as bench:
        j(bench, "state")
        before = len(descriptors(bench.pid)), threads(bench.pid)
        with bench.client(*command, str(image)) as client:
            wait_for(is_writing(medium), 30)
            client.process.kill()
            wait_for(lambda: str(medium) not in descriptors(bench.pid), 5)
        assert_kept_back(bench, medium)
        wait_for(lambda: len(descriptors(bench.pid)) <= before[0], 20, lambda: descriptors(bench.pid))
        # the worker threads of the event loop stay, idle, for the next transfer
        assert threads(bench.pid) <= before[1] + 8
        assert not list(bench.lab.directory.glob("storage-*"))


@needs_compiler
@carried
def test_a_cancelled_flash_ends_within_two_seconds(
    flashing: Flashing, image: Path, medium: Path, transport: str, command: tuple[str, ...]
) -> None:
    with flashing(transport, slow=SLOW) as bench, bench.client(*command, str(image)) as client:
        wait_for(is_writing(medium), 30)
        client.process.send_signal(2)
        started = time.monotonic()
        assert client.process.wait(10) == 130
        wait_for(lambda: str(medium) not in descriptors(bench.pid), 10)
        assert time.monotonic() - started < 2 + 2 * SLOW / 1e6


@needs_compiler
@carried
def test_an_exporter_that_is_killed_leaves_a_mark_and_what_came(
    flashing: Flashing, image: Path, medium: Path, transport: str, command: tuple[str, ...]
) -> None:
    with flashing(transport, slow=SLOW) as bench, bench.client(*command, str(image)) as client:
        wait_for(is_writing(medium), 30)
        for pid in family(bench.pid):
            os.kill(pid, 9)
        assert client.process.wait(5) == 69, client.errors
        assert [line for line in client.errors.splitlines() if line.startswith("j: error: ")], client.errors
    with flashing() as bench:
        assert_kept_back(bench, medium)
        status, out, error = j(bench, "flash", image, "--output", "json")
        assert status == 0, error
        received = result_of(out)["received"]
        assert isinstance(received, int)
        if command is FLASH:
            assert received < 22 * MIB  # of 24: the rest had come before
        assert medium.read_bytes() == image.read_bytes()
        assert j(bench, "state")[1] == "dut\n"


def cut_and_go_on(flashing: Flashing, lab: Lab, medium: Path, transport: str, size: int) -> int:
    """Cut a flash after 60 % of the bytes, and flash again; returns how many bytes came then."""
    image = lab.directory / "large"
    with image.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    with flashing(transport) as bench, proxying(bench.address) as proxy:
        proxy.cut_after(size * 60 // 100)
        status, _, error = j(bench, "flash", image, "--verify", "off", address=proxy.address)
        assert status == 69, error
        assert_kept_back(bench, medium)
        status, out, error = j(bench, "flash", image, "--output", "json")
        assert status == 0, error
        result = result_of(out)
        assert result["sha256"] == file_digest(image)
        received = result["received"]
        assert isinstance(received, int)
    assert received < size * 40 // 100 + SENT_AHEAD + size // 500  # the rest: frames and digests
    return received


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_flash_goes_on_where_the_network_was_cut(flashing: Flashing, lab: Lab, medium: Path) -> None:
    size = int(os.environ.get("JMP_TEST_RESUME_MIB", "512")) * MIB
    assert cut_and_go_on(flashing, lab, medium, "tcp", size) < size * 41 // 100


def test_a_flash_over_tls_goes_on_where_the_network_was_cut(flashing: Flashing, lab: Lab, medium: Path) -> None:
    cut_and_go_on(flashing, lab, medium, "tls", 48 * MIB)


@pytest.mark.parametrize("at", [300_000, 1_500_003, 4_000_001])
def test_a_bit_that_flips_on_the_way_is_never_silent(flashing: Flashing, lab: Lab, medium: Path, at: int) -> None:
    image = lab.directory / "small"
    image.write_bytes(os.urandom(6 * MIB))
    with flashing("tcp") as bench:
        with proxying(bench.address) as proxy:
            proxy.flip_at(at)
            status, _, error = j(bench, "flash", image, "--verify", "off", address=proxy.address)
        assert status in (69, 70), error
        assert error.startswith("j: error: ")
        assert_kept_back(bench, medium)
        assert j(bench, "flash", image)[0] == 0  # nothing wrong was kept for later
        assert medium.read_bytes() == image.read_bytes()


def test_a_slow_network_is_no_time_out(flashing: Flashing, lab: Lab, medium: Path) -> None:
    image = lab.directory / "small"
    image.write_bytes(os.urandom(320_000))
    with flashing("tcp") as bench, proxying(bench.address) as proxy:
        proxy.rate = 64_000
        status, _, error = j(bench, "flash", image, address=proxy.address)
        assert status == 0, error
        assert medium.read_bytes() == image.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_client_that_vanishes_is_noticed(flashing: Flashing, lab: Lab, image: Path, medium: Path) -> None:
    with (
        flashing("tcp") as bench,
        proxying(bench.address) as proxy,
        bench.client(*FLASH, str(image), address=proxy.address) as client,
    ):
        proxy.rate = 2 * MIB
        wait_for(is_writing(medium), 30)
        proxy.freeze()
        started = time.monotonic()
        wait_for(lambda: str(medium) not in descriptors(bench.pid), 40)
        assert time.monotonic() - started < 35
        assert client.process.wait(40) == 69, client.errors
        assert_kept_back(bench, medium)
