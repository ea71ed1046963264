"""The examples of the README do what it says."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.config.exporter import ExporterConfigV1Alpha1
from jumpstarter.exporter.session import Session
from jumpstarter.utils.env import env

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(autouse=True)
def exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """An exporter of the first configuration."""
    file = tmp_path / "exporter.yaml"
    file.write_text(blocks("yaml")[0])
    with (
        Session(root_device=ExporterConfigV1Alpha1.load_path(file).instantiate()) as session,
        session.serve_unix() as path,
    ):
        session.update_status(ExporterStatus.LEASE_READY)
        monkeypatch.setenv("JUMPSTARTER_HOST", str(path))
        yield


def test_the_python_examples_run(tmp_path: Path) -> None:
    with env() as client:
        for number, code in enumerate(blocks("python")):
            file = tmp_path / f"example{number}.py"
            file.write_text(code)
            runpy.run_path(str(file), init_globals={"client": client}, run_name=f"readme_example{number}")


def test_the_commands_print_what_the_readme_says() -> None:
    commands = re.findall(r"^\$ j (.*)\n((?:^(?!\$).+\n)*)", blocks("console")[0], re.MULTILINE)
    assert commands
    for line, output in commands:
        main = [sys.executable, "-c", "from jumpstarter.cli.j import main; main()"]
        arguments = shlex.split(line, comments=True)
        done = subprocess.run([*main, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not output or done.stdout == output
