"""The commands, as `j` runs them."""

import io
import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jumpstarter.client import DriverClient
from jumpstarter.common.utils import serve
from jumpstarter_driver_storage.common import Progress, Stage
from jumpstarter_driver_storage.driver import FileStorage, MockFlasher
from jumpstarter_driver_storage.progress import ProgressLine, text_of


@pytest.fixture
def client(tmp_path: Path) -> Generator[DriverClient]:
    with serve(FileStorage(path=str(tmp_path / "medium"))) as client:
        yield client


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(2_000_000))
    return path


def j(client: DriverClient, *arguments: str | Path, **options: object) -> Result:
    return CliRunner().invoke(client.cli(), [str(argument) for argument in arguments], **options)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType, reportUnknownMemberType, reportUnknownArgumentType]


def test_flash_says_what_it_did(client: DriverClient, image: Path) -> None:
    done = j(client, "flash", image, "--no-dut")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("wrote 2000000 bytes, sha256 ")
    assert ", read back: full, " in done.stdout
    assert j(client, "state").stdout == "host\n"
    assert j(client, "dut").exit_code == 0


def test_results_are_json_where_that_is_asked_for(client: DriverClient, image: Path) -> None:
    for done in (
        j(client, "flash", image, "--output", "json", "--verify", "sampled"),
        j(client, "dump", image, "-o", "json"),
    ):
        result = json.loads(done.stdout)
        assert result["bytes"] == 2_000_000
        assert {"seconds", "sha256", "stages"} <= set(result)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["flash"], "give FILE"),
        (["flash", "/nonexistent"], "does not exist"),
        (["flash", "/tmp"], "is a directory"),
        (["flash", "{image}", "--verify", "maybe"], "maybe"),
        (["flash", "{image}", "-t", "a:b", "-t", "c:d"], "give FILE"),
    ],
)
def test_wrong_use_is_told(client: DriverClient, image: Path, arguments: list[str], said: str) -> None:
    done = j(client, *(argument.format(image=image) for argument in arguments))
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_flasher_has_places(tmp_path: Path, image: Path) -> None:
    with serve(MockFlasher()) as client:
        done = j(client, "flash", "-t", f"boot:{image}", "-t", f"root:{image}", "-o", "json")
        assert done.exit_code == 0, done.output
        assert {name: value["bytes"] for name, value in json.loads(done.stdout).items()} == {
            "boot": 2_000_000,
            "root": 2_000_000,
        }
        assert j(client, "dump", tmp_path / "copy", "-t", "root").exit_code == 0
    assert (tmp_path / "copy").read_bytes() == image.read_bytes()


def test_progress_is_stage_bytes_rate_and_time_to_go() -> None:
    progress = Progress(stage=Stage.WRITE, done=512 << 20, total=1 << 30, rate=64 << 20)
    assert text_of(progress) == "writing, 512.0 MiB of 1.0 GiB (50 %), 64.0 MiB/s, 0:08 to go"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_plain_lines_elsewhere() -> None:
    steps = [
        Progress(stage=stage, done=done, total=100, rate=0)
        for stage in (Stage.WRITE, Stage.VERIFY)
        for done in (10, 90)
    ]
    terminal, file = Terminal(), io.StringIO()
    for output in (terminal, file):
        with ProgressLine(output, quiet=0) as line:
            for step in steps:
                line(step)
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")
    assert file.getvalue() == "writing, 10 B of 100 B (10 %)\nreading back, 10 B of 100 B (10 %)\n"
