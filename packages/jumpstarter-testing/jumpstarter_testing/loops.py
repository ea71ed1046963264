"""A fixture of loop devices: block devices of the kernel over files, which only root can make."""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
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
def tmpfs(folder: Path, size: str) -> Generator[None]:
    """A file system of that size, as in `4m`, at a new folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield
    finally:  # it is gone once no device is over a file of it
        subprocess.run(["umount", "--lazy", folder], check=True)
