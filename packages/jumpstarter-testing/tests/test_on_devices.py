"""What tests on devices are written with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.driver import Driver, export
from jumpstarter.exporter import Session
from jumpstarter_testing import eventually

TESTS = """\
from jumpstarter_testing import JumpstarterTest

class TestLamp(JumpstarterTest):
    selector = "lamp=yes"
    def test_on(self, client):
        assert client.call("on") == 1
    def test_again(self, client):
        assert client.call("on") == 2
"""


class Lamp(Driver):
    """Counts."""

    times = 0

    @export
    def on(self) -> int:
        self.times += 1
        return self.times


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_lamp.py").write_text(TESTS)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JMP_", "JUMPSTARTER_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_lamp.py"],
        cwd=folder,
        env={**clean, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tests_of_a_class_share_the_client_of_the_shell(tmp_path: Path) -> None:
    with Session(root_device=Lamp()) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        done = run(tmp_path, JUMPSTARTER_HOST=str(path))
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_outside_of_a_shell_without_a_client_the_error_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "no client is chosen for the lease of the tests: jmp login, or use jmp shell" in done.stdout


def test_an_assertion_is_tried_until_it_holds_or_time_is_up() -> None:
    tries: list[int] = []

    def third() -> None:
        tries.append(1)
        assert len(tries) == 3

    eventually(third, timeout=20, interval=0.001)
    assert len(tries) == 3
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0, timeout=0.02, interval=0.001)
