"""A lease that ends while a medium is written: that stops, the medium stays with the host, the client is told."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from leasebench import SOON, wait_for

if TYPE_CHECKING:
    from fakecontroller import FakeController
    from leasebench import LeaseBench

pytestmark = pytest.mark.timeout(120)

MIB = 1 << 20
STORAGE = """\
  storage:
    type: jumpstarter_driver_storage.driver.FileStorage
    config:
      path: {medium}
"""


def test_a_lease_that_ends_in_a_flash_ends_the_flash(
    bench: LeaseBench, controller: FakeController, disk_faults: Path
) -> None:
    medium, image = bench.lab.directory / "medium.img", bench.lab.directory / "image"
    image.write_bytes(os.urandom(24 * MIB))
    slow = {"LD_PRELOAD": str(disk_faults), "DISK_PATH": medium.name, "DISK_SLOW": "400000"}
    bench.lab.environment |= slow
    with bench.exporter(beside=STORAGE.format(medium=medium)) as exporter:
        for name in slow:  # what the exporter has been started with is not for its clients
            del bench.lab.environment[name]
        controller.lease("board1", "alice", name="one")
        shell = ("jmp", "shell", "--client-config", bench.client_file())
        flash = "j board on; exec j storage flash $0"
        with bench.process(*shell, "--lease", "one", "--", "sh", "-c", flash, image) as client:
            wait_for(lambda: medium.exists() and medium.stat().st_size > 5 * MIB, 60)
            assert exporter.has_open(medium)
            written = medium.stat().st_size
            controller.end_lease("one", "Expired")
            wait_for(lambda: not exporter.has_open(medium), SOON)
            controller.wait_status("board1", "AVAILABLE", 15)
            said, _ = client.communicate(timeout=30)
        assert written < image.stat().st_size
        assert exporter.is_off()
        assert client.returncode == 69, said
        assert re.search(r"^j: .*the session has ended: the controller ended it", said, re.MULTILINE), said

        state = bench.lab.run(*shell, "-n", "board1", "--", "j", "storage", "state")
        assert (state.returncode, state.stdout) == (0, "host\n"), state.stderr
        dut = bench.lab.run(*shell, "-n", "board1", "--", "j", "storage", "dut")
        assert dut.returncode == 70
        assert "the medium is incomplete" in dut.stderr
        with medium.open("rb") as file:
            assert not file.read(MIB).strip(b"\0"), "the start of the medium is not clear"
