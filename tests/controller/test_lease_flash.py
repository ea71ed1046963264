"""A lease that ends, a client that is killed, a router that dies while a medium is written.

The flash stops, the medium stays with the host, the client is told; and what had come does not come again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jumpstarter_driver_storage.blocks import SENT_AHEAD
from leasebench import SOON, wait_for

if TYPE_CHECKING:
    from fakecontroller import FakeController
    from leasebench import LeaseBench, Registered

pytestmark = pytest.mark.timeout(120)

MIB = 1 << 20
STORAGE = """\
  storage:
    type: jumpstarter_driver_storage.driver.FileStorage
    config:
      path: {medium}
"""


FLASH = "j board on; exec j storage flash --send $0"


@pytest.fixture
def medium(bench: LeaseBench) -> Path:
    return bench.lab.directory / "medium.img"


@pytest.fixture
def image(bench: LeaseBench) -> Path:
    path = bench.lab.directory / "image"
    path.write_bytes(os.urandom(24 * MIB))
    return path


@contextmanager
def slow_exporter(
    bench: LeaseBench, controller: FakeController, disk_faults: Path, medium: Path
) -> Generator[Registered]:
    """An exporter whose disk takes its time, and a lease of it."""
    slow = {"LD_PRELOAD": str(disk_faults), "DISK_PATH": medium.name, "DISK_SLOW": "200000"}
    bench.lab.environment |= slow
    with bench.exporter(beside=STORAGE.format(medium=medium)) as exporter:
        for name in slow:  # what the exporter has been started with is not for its clients
            del bench.lab.environment[name]
        controller.lease("board1", "alice", name="one")
        yield exporter


def wait_until_it_is_written(medium: Path, exporter: Registered) -> None:
    wait_for(lambda: medium.exists() and medium.stat().st_size > 5 * MIB, 60)
    assert exporter.has_open(medium)


def assert_kept_back(bench: LeaseBench, medium: Path, *lease: str) -> None:
    shell = ("jmp", "shell", "--client-config", bench.client_file(), *lease)
    state = bench.lab.run(*shell, "--", "j", "storage", "state")
    assert (state.returncode, state.stdout) == (0, "host\n"), state.stderr
    dut = bench.lab.run(*shell, "--", "j", "storage", "dut")
    assert dut.returncode == 70
    assert "the medium is incomplete" in dut.stderr
    with medium.open("rb") as file:
        assert not file.read(MIB).strip(b"\0"), "the start of the medium is not clear"


def test_a_lease_that_ends_in_a_flash_ends_the_flash(
    bench: LeaseBench, controller: FakeController, disk_faults: Path, medium: Path, image: Path
) -> None:
    with slow_exporter(bench, controller, disk_faults, medium) as exporter:
        shell = ("jmp", "shell", "--client-config", bench.client_file())
        with bench.process(*shell, "--lease", "one", "--", "sh", "-c", FLASH, image) as client:
            wait_until_it_is_written(medium, exporter)
            written = medium.stat().st_size
            controller.end_lease("one", "Expired")
            wait_for(lambda: not exporter.has_open(medium), SOON)
            controller.wait_status("board1", "AVAILABLE", 15)
            said, _ = client.communicate(timeout=30)
        assert written < image.stat().st_size
        assert exporter.is_off()
        assert client.returncode == 69, said
        assert re.search(r"^j: .*the session has ended: the controller ended it", said, re.MULTILINE), said
        assert_kept_back(bench, medium, "-n", "board1")


@pytest.mark.parametrize("fault", ["the client is killed", "the router dies"])
def test_what_ends_a_flash_through_a_router_is_noticed_and_it_goes_on_later(
    bench: LeaseBench, controller: FakeController, disk_faults: Path, medium: Path, image: Path, fault: str
) -> None:
    with slow_exporter(bench, controller, disk_faults, medium) as exporter:
        shell = ("jmp", "shell", "--client-config", bench.client_file(), "--lease", "one", "--")
        pid = bench.lab.directory / "pid"
        with bench.process(*shell, "sh", "-c", f"echo $$ > {pid}; exec j storage flash --send $0", image) as client:
            wait_until_it_is_written(medium, exporter)
            if fault == "the client is killed":
                os.kill(int(pid.read_text()), 9)
            else:
                controller.router.stop()
            wait_for(lambda: not exporter.has_open(medium), SOON)
            said, _ = client.communicate(timeout=60)
            written = medium.stat().st_size
        assert client.returncode in (69, 137), said
        if fault != "the client is killed":
            assert re.search(r"^j: error: ", said, re.MULTILINE), said
            controller.router.start()
        assert written < image.stat().st_size
        assert_kept_back(bench, medium, "--lease", "one")
        again = bench.lab.run(*shell, "j", "-o", "json", "storage", "flash", "--send", image)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["received"] < image.stat().st_size - written + SENT_AHEAD
        assert medium.read_bytes() == image.read_bytes()
