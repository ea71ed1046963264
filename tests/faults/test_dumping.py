"""A dump over a bad link, by a client or from an exporter that is killed: whole, or an error and no file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flashbench import MIB, Flashing, file_digest, j, result_of
from jumpstarter_testing.processes import family
from processes import Client, descriptors, wait_for
from proxy import Proxy, proxying

if TYPE_CHECKING:
    from tests.conftest import Lab


@pytest.fixture
def copies(lab: Lab) -> Path:
    """The folder that a dump goes to."""
    folder = lab.directory / "copies"
    folder.mkdir()
    return folder


def fill(medium: Path, size: int) -> None:
    medium.write_bytes(os.urandom(size))


def assert_told_and_nothing_left(client: Client, copies: Path) -> None:
    assert client.process.wait(40) == 69, client.errors
    errors = [line for line in client.errors.splitlines() if line.startswith("j: ")]
    assert len(errors) == 1, client.errors
    assert errors[0].startswith("j: error: ")
    assert not list(copies.iterdir())


@pytest.mark.parametrize("at", [300_000, 4_000_001])
def test_a_bit_that_flips_on_the_way_back_is_never_silent(
    flashing: Flashing, medium: Path, copies: Path, at: int
) -> None:
    fill(medium, 6 * MIB)
    with flashing("tcp") as bench:
        with proxying(bench.address) as proxy:
            proxy.flip_at(at)
            status, _, error = j(bench, "dump", copies / "copy", address=proxy.address)
        assert status in (69, 70), error
        assert error.startswith("j: error: ")
        assert not list(copies.iterdir())
        assert j(bench, "dump", copies / "copy")[0] == 0
        assert file_digest(copies / "copy") == file_digest(medium)


def test_a_slow_network_is_no_time_out(flashing: Flashing, medium: Path, copies: Path) -> None:
    fill(medium, 130_000)
    with flashing("tcp") as bench, proxying(bench.address) as proxy:
        proxy.rate = 64_000
        status, out, error = j(bench, "dump", copies / "copy", "--output", "json", address=proxy.address)
        assert status == 0, error
        assert result_of(out)["sha256"] == file_digest(copies / "copy") == file_digest(medium)


@pytest.mark.parametrize("end", [Proxy.fin, Proxy.reset], ids=["fin", "reset"])
def test_a_connection_that_ends_leaves_no_file(
    flashing: Flashing, medium: Path, copies: Path, end: Callable[[Proxy], None]
) -> None:
    make_long(medium)
    with flashing("tcp") as bench, proxying(bench.address) as proxy:
        with bench.client("j", "storage", "dump", str(copies / "copy"), address=proxy.address) as client:
            wait_for(is_coming(copies), 30)
            end(proxy)
            assert_told_and_nothing_left(client, copies)
        wait_for(lambda: str(medium) not in descriptors(bench.pid), 10)


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_a_killed_exporter_is_told_and_leaves_no_file(
    flashing: Flashing, medium: Path, copies: Path, transport: str
) -> None:
    make_long(medium)
    with flashing(transport) as bench, bench.client("j", "storage", "dump", str(copies / "copy")) as client:
        wait_for(is_coming(copies), 30)
        for pid in family(bench.pid):
            os.kill(pid, 9)
        assert_told_and_nothing_left(client, copies)


def test_a_killed_client_lets_the_medium_go(flashing: Flashing, medium: Path, copies: Path) -> None:
    make_long(medium)
    with flashing() as bench:
        with bench.client("j", "storage", "dump", str(copies / "copy")) as client:
            wait_for(is_coming(copies), 30)
            client.process.kill()
            wait_for(lambda: str(medium) not in descriptors(bench.pid), 10)
        assert not (copies / "copy").exists()
        fill(medium, MIB)
        assert j(bench, "dump", copies / "copy")[0] == 0
        assert file_digest(copies / "copy") == file_digest(medium)


def make_long(medium: Path) -> None:
    """A medium that takes long to read, and no room."""
    with medium.open("wb") as file:
        file.truncate(4 << 30)


def is_coming(folder: Path) -> Callable[[], bool]:
    """Whether some of a dump has come."""
    return lambda: any(path.stat().st_size > MIB for path in folder.iterdir())
