"""What the tests of flashing share: an exporter of a medium, its commands, and what has to be true after a failure."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from processes import Bench

MIB = 1 << 20

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: {{name}}
export:
  storage:
    type: jumpstarter_driver_storage.driver.FileStorage
    config:
      path: {medium}
      verify: full{more}
  power:
    type: jumpstarter_driver_power.driver.MockPower
"""

Flashing = Callable[..., AbstractContextManager[Bench]]


FLASH = ("j", "storage", "flash", "--send")
"""The command whose file goes over the connection, though the exporter is on this host."""


def j(bench: Bench, *arguments: str | Path, timeout: float = 60, address: str | None = None) -> tuple[int, str, str]:
    """Run `j storage`, sending the file of a flash; returns status, stdout, and the error."""
    method, *others = map(str, arguments)
    done = subprocess.run(
        ["j", "storage", method, *(["--send"] if method == "flash" else []), *others],
        env=bench.environment(address),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("j: ")]
    return done.returncode, done.stdout, "\n".join(errors)


def result_of(output: str) -> dict[str, object]:
    return json.loads(output)


def assert_kept_back(bench: Bench, medium: Path) -> None:
    """The medium is with the host, marked, does not go to the device, and would not boot."""
    status, out, _ = j(bench, "state")
    assert (status, out) == (0, "host\n")
    status, _, error = j(bench, "dut")
    assert status == 70
    assert "the medium is incomplete" in error
    if medium.exists():
        with medium.open("rb") as file:
            assert not file.read(MIB).strip(b"\0"), "the start of the medium is not clear"


def is_writing(medium: Path) -> Callable[[], bool]:
    """Whether some of an image has come to the medium."""
    return lambda: medium.exists() and medium.stat().st_size > 5 * MIB


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
