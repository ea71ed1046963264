"""Each call that one release knows works at an exporter of another, or is refused as one that is not known there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from releases import NEWEST, OLDER, OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Lab

HERE = Path(__file__).parent

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {namespace: default, name: peer}
export:
  power: {type: jumpstarter_driver_power.driver.MockPower}
  echo: {type: jumpstarter_driver_network.driver.EchoNetwork}
"""

PUBLIC_CALLS = {"GetReport", "DriverCall", "StreamingDriverCall", "LogStream", "GetStatus", "EndSession", "Stream"}
"""What exporters of both public releases do."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def outcomes(lab: Lab, python: Path, jmp: Path) -> dict[str, str]:
    """What becomes of each call that a client's release knows, at an exporter of another one."""
    config = lab.directory / "peer.yaml"
    config.write_text(CONFIG)
    script = HERE / "bench/every_call.py"
    done = subprocess.run(
        [str(jmp), "shell", "--exporter-config", str(config), "--", str(python), str(script)],
        env=lab.environment | {"PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("release", [NEWEST, OLDER, OURS])
def test_whatever_a_client_calls_our_exporter_does(lab: Lab, bins: Callable[[str], Path], release: str) -> None:
    found = outcomes(lab, bins(release) / "python", bins(OURS) / "jmp")
    assert set(found.values()) == {"OK"}, found
    assert found.keys() >= PUBLIC_CALLS | {"Reset"}


@pytest.mark.parametrize("release", [NEWEST, OLDER])
def test_an_older_exporter_does_what_we_call_or_does_not_know_it(
    lab: Lab, bins: Callable[[str], Path], release: str
) -> None:
    found = outcomes(lab, bins(OURS) / "python", bins(release) / "jmp")
    assert {method for method, code in found.items() if code == "OK"} == PUBLIC_CALLS, found
    assert set(found.values()) == {"OK", "UNIMPLEMENTED"}, found
