"""Fixtures of loop devices: block devices of the kernel over files, which only root can make; and of faulty ones."""

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MakeLoop = Callable[..., Path]
"""Make one: `make_loop(size, *options of losetup, folder=...)`, over a file in the test's folder, or in another one."""


@pytest.fixture
def make_loop(tmp_path: Path) -> Generator[MakeLoop]:
    """Loop devices that are gone after the test, which is skipped where there are none."""
    made: list[Path] = []

    def make(size: int, *options: str, folder: Path = tmp_path) -> Path:
        backing = folder / f"backing{len(made)}"
        with backing.open("wb") as file:
            file.truncate(size)
        command = ["losetup", "--find", "--show", *options, backing]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no loop devices here: {done.stderr.strip()}")
        made.append(Path(done.stdout.strip()))
        return made[-1]

    if shutil.which("losetup") is None or os.geteuid() != 0:
        pytest.skip("loop devices need root, and losetup")
    yield make
    for device in made:
        subprocess.run(["losetup", "--detach", device], check=False)


@contextmanager
def tmpfs(folder: Path, size: str) -> Generator[Path]:
    """A file system of that size, as in `4m`, at a folder; the test is skipped where nobody can mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"small disks cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:  # it is gone once no device is over a file of it
        subprocess.run(["umount", "--lazy", folder], check=True)


MIB = 1 << 20


@dataclass(frozen=True)
class FaultyMedium:
    """A block device that an image of 9 MiB does not get on."""

    path: Path
    says: str
    """What its user has to be told, as a pattern."""

    is_touched: bool = True
    """Whether it fails only when something was written."""


FAULTS = {
    "protected": r"loop\d+ is read-only; remove the write protection",
    "small": r"the image does not fit: the medium has 8388608 bytes",
    "broken": r"write /dev/loop\d+ at byte \d+ .*: (input/output error|no space left)",
    "forgetful": r"/dev/loop\d+: input/output error when the data were brought to the medium",
}


@pytest.fixture(params=list(FAULTS))
def faulty_medium(
    request: pytest.FixtureRequest, make_loop: MakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[FaultyMedium]:
    """One of each kind: read-only, too small, failing in the middle of a write, failing when it is to write back."""
    kind, size, options, folder = request.param, 32 * MIB, list[str](), tmp_path
    with ExitStack() as stack:
        if kind == "protected":
            options = ["--read-only"]
        elif kind == "small":
            size = 8 * MIB
        elif kind == "broken":
            stack.enter_context(tmpfs(folder := tmp_path / "small", "4m"))
        else:
            monkeypatch.setattr(os, "fsync", _failing_for_devices(os.fsync))
        path = make_loop(size, *options, folder=folder)
        yield FaultyMedium(path, FAULTS[kind], is_touched=kind != "protected")


def _failing_for_devices(fsync: Callable[[int], None]) -> Callable[[int], None]:
    """A loop device brings to its file what it is told, so that its failure is made here."""

    def fail(fd: int) -> None:
        if stat.S_ISBLK(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(fd)

    return fail
