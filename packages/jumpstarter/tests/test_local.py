"""`serve`: what it keeps between two of them, and leaves to nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SERVE = """\
import os
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, export

class Lamp(Driver):
    @classmethod
    def client(cls):
        return "jumpstarter.client.DriverClient"

    @export
    async def on(self):
        pass

def use():
    with serve(Lamp()) as client:
        client.call("on")

"""


def run(script: str, folder: Path) -> str:
    environment = {"XDG_RUNTIME_DIR": str(folder), "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", SERVE + script],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_its_sockets_are_in_one_folder_of_the_process_which_ends_with_it(tmp_path: Path) -> None:
    look = """
with serve(Lamp()), serve(Lamp()):
    print(len(os.listdir(os.environ["XDG_RUNTIME_DIR"])))
use()
(folder,) = os.scandir(os.environ["XDG_RUNTIME_DIR"])
print(oct(folder.stat().st_mode & 0o777), os.listdir(folder.path))
"""
    assert run(look, tmp_path) == "1\n0o700 []\n"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    look = """
use()
(folder,) = os.scandir(os.environ["XDG_RUNTIME_DIR"])
os.rmdir(folder.path)
use()
print("served")
"""
    assert run(look, tmp_path) == "served\n"
    assert not list(tmp_path.iterdir())


def test_a_child_that_is_forked_between_two_can_serve_as_well(tmp_path: Path) -> None:
    look = """
use()
if not (child := os.fork()):
    use()
    os._exit(7)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
use()
print(status)
"""
    assert run(look, tmp_path) == "7\n"
