"""Clients and exporters of ours and of the public release meet at a controller, in all pairings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from leasebench import wait_for

if TYPE_CHECKING:
    from fakecontroller import FakeController

    from tests.conftest import Lab

PEERS = run_path(str(Path(__file__).parents[1] / "interop/releases.py"))
peers: Any = SimpleNamespace(**PEERS)
NEWEST, OLDER, OURS = (str(release) for release in (peers.NEWEST, peers.OLDER, peers.OURS))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EXPORT = """\
  power: {{type: jumpstarter_driver_power.driver.MockPower}}
  echo: {{type: jumpstarter_driver_network.driver.EchoNetwork}}
hooks:
  beforeLease: {{script: "touch {folder}/before; echo before hook was here"}}
  afterLease: {{script: "touch {folder}/after; echo after hook was here"}}
"""

ECHO = """
from jumpstarter.common.utils import env
with env() as client:
    client.power.on()
    readings = [reading.voltage for reading in client.power.read()]
    with client.echo.stream("connect") as stream:
        stream.send(b"through the router")
        received = b""
        while len(received) < 18:
            received += stream.receive()
    print("CAME BACK", len(readings), received.decode())
"""

STARTS = 60.0
"""Seconds that the public release's programs take at most to start."""

PAIRINGS = [
    (OURS, NEWEST),
    (NEWEST, OURS),
    (OURS, OURS),
    (NEWEST, NEWEST),
    (OLDER, OURS),
    (OURS, OLDER),
]


@pytest.mark.parametrize(("client", "exporter"), PAIRINGS, ids=[f"{c} client, {e} exporter" for c, e in PAIRINGS])
def test_a_lease_with_both_hooks(lab: Lab, controller: FakeController, uv: str, client: str, exporter: str):
    try:
        bins = [peers.environment_of(release, uv) for release in (client, exporter)]
    except peers.NotInstalledError as e:
        pytest.skip(f"the public release cannot be installed here: {e}")
    controller.add_exporter("board1", board="x")
    config, mine = lab.directory / "board1.yaml", lab.directory / "alice.yaml"
    config.write_text(controller.exporter_config("board1", EXPORT.format(folder=lab.directory)))
    mine.write_text(controller.client_config("alice"))
    environments = [lab.environment | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"} for path in bins]
    log = lab.directory / "exporter.log"
    with log.open("w") as output:
        running = subprocess.Popen(
            [str(bins[1] / "jmp"), "run", "--exporter-config", str(config)],
            env=environments[1],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        controller.wait_status("board1", "AVAILABLE", STARTS)
        shell = f"jmp shell --client-config {mine} -l board=x --exporter-logs --".split()
        for _ in range(2 if OURS in (client, exporter) else 1):  # a second lease is as good as the first
            (lab.directory / "after").unlink(missing_ok=True)
            done = subprocess.run(
                [str(bins[0] / shell[0]), *shell[1:], str(bins[0] / "python"), "-c", ECHO],
                env=environments[0],
                capture_output=True,
                text=True,
                timeout=STARTS,
                check=False,
            )
            said = done.stdout + done.stderr
            assert done.returncode == 0, said + log.read_text()
            assert "through the router" in said
            assert "before hook was here" in said
            assert "after hook was here" in said
            assert (lab.directory / "before").exists()
            wait_for((lab.directory / "after").exists, 15)
            controller.wait_status("board1", "AVAILABLE", 15)
            assert all(lease.ended for lease in controller.state.leases.values())
        expected = ["BEFORE_LEASE_HOOK", "LEASE_READY", "AFTER_LEASE_HOOK"]
        assert [status for status in controller.statuses("board1") if status in expected][:3] == expected
    finally:
        running.terminate()
        try:
            running.wait(20)
        finally:
            running.kill()
            running.wait()
    assert controller.statuses("board1")[-1] == "OFFLINE"
    assert controller.count("Unregister") == 1
