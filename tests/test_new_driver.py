"""scripts/new-driver makes a package that works as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def package(tmp_path: Path, root: Path) -> Path:
    generator = root / "scripts/lib/new_driver.py"
    subprocess.run([sys.executable, generator, "usb-relay", "--into", tmp_path], check=True, capture_output=True)
    return tmp_path / "jumpstarter-driver-usb-relay"


def test_tests_of_a_new_driver_pass(package: Path, root: Path) -> None:
    pytest_ini = ["-c", str(root / "pyproject.toml"), "--rootdir", str(package), "-p", "no:cacheprovider"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *pytest_ini, "tests"],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 passed" in run.stdout


def test_no_word_of_the_template_is_left(package: Path) -> None:
    for path in package.rglob("*"):
        assert "template" not in str(path.relative_to(package))
        if path.is_file():
            assert "template" not in path.read_text().lower(), path
    assert "class UsbRelay(Driver):" in (package / "jumpstarter_driver_usb_relay/driver.py").read_text()


def test_new_driver_is_formatted_and_linted(package: Path, root: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    config = ["--no-cache", "--config", str(root / "pyproject.toml")]
    for command in (["format", "--check"], ["check"]):
        run = subprocess.run([ruff, *command, *config, package], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", ["Relay", "usb_relay", "", "9p", "-x", "a--b"])
def test_bad_name_is_refused(name: str, tmp_path: Path, root: Path) -> None:
    command = [sys.executable, root / "scripts/lib/new_driver.py", f"--into={tmp_path}", "--", name]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "no name for a package" in run.stderr
    assert not list(tmp_path.iterdir())
