"""The example that must always work: two entries, one board, by the commands and by Python."""

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jumpstarter_testing.usb.dutlink import DutlinkBoard

EXAMPLE = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: demo
export:
  dutlink:                                        # name of the driver instance
    type: jumpstarter_driver_dutlink.driver.Dutlink   # fully qualified Python class
    config:                                       # parameters of that class
      storage_device: "/dev/disk/by-id/usb-SanDisk_3.2_Gen_1_5B4C0AB025C0-0:0"
  power:                                          # a second driver for the same device
    type: jumpstarter_driver_dutlink.driver.DutlinkPower
    config:
      serial: "c415a913"
"""

PROGRAM = """\
from jumpstarter.utils.env import env

with env() as client:
    with client.dutlink.console.pexpect() as session:
        client.power.cycle(wait=0.1)
        session.expect_exact(b"login: ", timeout=60)
        print("boot log:", session.before.split(b"\\r\\n")[-3].decode())
    print("watts:", round(next(client.dutlink.power.measure()).power))
    client.dutlink.power.off()
"""

SCRIPT = """\
set -e
j dutlink storage flash {image}
python {program}
j power force-on
j power read --interval 0.5
j dutlink storage state
"""


@pytest.mark.timeout(300)
def test_power_console_flash_and_readings(board: DutlinkBoard, image: Path, tmp_path: Path) -> None:
    config, packed, program = tmp_path / "seed.yaml", tmp_path / "image.gz", tmp_path / "program.py"
    config.write_text(EXAMPLE)
    packed.write_bytes(gzip.compress(image.read_bytes(), 1))
    program.write_text(PROGRAM)
    script = SCRIPT.format(image=packed, program=program)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["jmp", "shell", "--exporter-config", str(config), "--", "bash", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first = hashlib.sha256(image.read_bytes()[: 64 * 1024]).hexdigest()
    assert f"boot log: boot: stick {first}" in done.stdout
    assert "watts: 12" in done.stdout
    assert " V  " in done.stdout
    assert done.stdout.splitlines()[-1] == "dut"
    assert board.stick is not None
    assert board.stick.path.read_bytes()[: image.stat().st_size] == image.read_bytes()
    assert not board.is_powered  # handed back
