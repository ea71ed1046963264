"""Full disks, at both ends of a transfer: what is written, what is kept beside it, what is said of it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flashbench import CONFIG, FLASH, Flashing, assert_kept_back, file_digest, j, result_of
from jumpstarter_testing.loops import tmpfs
from processes import descriptors, wait_for

if TYPE_CHECKING:
    from tests.conftest import Lab

SAID = "no space left on device"

NAMED = 10.0
"""Seconds within which a full disk is named."""


@pytest.fixture
def tiny_disk(lab: Lab) -> Generator[Path]:
    """A folder on a disk of 1 MiB."""
    with tmpfs(lab.directory / "tiny", "1m") as folder:
        yield folder


def fill(folder: Path) -> Path:
    """Leave no room in a folder on a small disk."""
    path = folder / "full"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(64 << 10)):
            pass
    return path


# at the exporter


def test_a_full_disk_is_named(flashing: Flashing, lab: Lab, image: Path) -> None:
    small = lab.directory / "medium.img"
    with tmpfs(lab.directory / "small-disk", "4m") as folder:
        small.symlink_to(folder / "medium.img")
        (folder / "medium.img").touch()
        with flashing() as bench:
            started = time.monotonic()
            status, _, error = j(bench, "flash", image)
            assert time.monotonic() - started < NAMED
            assert status == 70
            assert f"{SAID}; make room" in error
            assert_kept_back(bench, small)


def test_a_full_disk_for_kept_blocks_costs_time_and_nothing_else(
    flashing: Flashing, lab: Lab, image: Path, medium: Path, tiny_disk: Path
) -> None:
    lab.environment["XDG_CACHE_HOME"] = str(tiny_disk)
    with flashing() as bench:
        status, _, error = j(bench, "flash", image)
        assert status == 0, error
        assert medium.read_bytes() == image.read_bytes()
        assert any("blocks are kept" in line for line in bench.exporter.lines) or not list(tiny_disk.rglob("*.data"))


def test_without_room_for_its_mark_a_medium_is_not_written(
    flashing: Flashing, lab: Lab, image: Path, medium: Path, tiny_disk: Path
) -> None:
    lab.environment["XDG_STATE_HOME"] = str(tiny_disk)
    with flashing() as bench:
        medium.write_bytes(b"what was there")
        fill(tiny_disk)
        status, _, error = j(bench, "flash", image)
        assert status == 70
        assert "cannot be marked as incomplete" in error
        assert medium.read_bytes() == b"what was there"


def test_a_full_disk_for_the_record_is_named_and_the_record_goes_on_once_there_is_room(
    flashing: Flashing, lab: Lab, image: Path, medium: Path
) -> None:
    state = lab.directory / "state"
    lab.environment["XDG_STATE_HOME"] = str(state)
    state.mkdir(0o700)
    (state / "jumpstarter").mkdir(0o700)
    with tmpfs(state / "jumpstarter/records", "1m") as records, flashing() as bench:
        full = fill(records)
        status, out, error = j(bench, "flash", image, "--output", "json")
        assert status == 0, error
        assert result_of(out)["sha256"] == file_digest(image) == file_digest(medium)
        wait_for(lambda: any(f"record cannot be written in {records}" in line for line in bench.exporter.lines), 10)
        full.unlink()

        def told() -> str:
            assert j(bench, "state")[0] == 0
            return "".join(path.read_text() for path in records.rglob("*.jsonl"))

        wait_for(lambda: re.search(r'"lost": ?[1-9]', told()), 30, told)
        assert all(json.loads(line) for line in told().splitlines())


def test_a_full_disk_for_the_log_disturbs_nobody(lab: Lab, image: Path, medium: Path) -> None:
    """What is logged to a file on a full disk is lost; the exporter starts, flashes and ends as ever."""
    config = lab.write("flashing", CONFIG.format(medium=medium, more=""))
    command = ["jmp", "--log-level", "DEBUG", "run", "--exporter-config", str(config)]
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen(command, env=lab.environment, stdin=subprocess.DEVNULL, stderr=full) as exporter,
    ):
        try:
            address = lab.runtime / "flashing.sock"
            wait_for(address.is_socket, 60)
            done = lab.run(*FLASH, image, JUMPSTARTER_HOST=str(address))
            assert done.returncode == 0, done.stderr
            assert file_digest(medium) == file_digest(image)
        finally:
            exporter.terminate()
        assert exporter.wait(30) == 0


# at the client


def test_a_dump_to_a_full_disk_is_named_and_leaves_no_half_file(
    flashing: Flashing, image: Path, medium: Path, tiny_disk: Path
) -> None:
    with flashing() as bench:
        medium.write_bytes(image.read_bytes())
        for target in (tiny_disk / "copy", Path("/dev/full")):
            started = time.monotonic()
            status, out, error = j(bench, "dump", target)
            assert time.monotonic() - started < NAMED
            assert (status, out) == (70, "")
            assert SAID in error.lower()
            assert str(target) in error
            assert error.count("\n") == 0
        assert not list(tiny_disk.iterdir())
        wait_for(lambda: str(medium) not in descriptors(bench.pid), 10)
        copy = tiny_disk.parent / "copy"
        assert j(bench, "dump", copy)[0] == 0
        assert file_digest(copy) == file_digest(image)
