"""Where exporters keep their sockets, and that no two have the same name."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from jumpstarter.common.exceptions import BusyError, ConfigurationError
from jumpstarter.common.runtime import claim, exporter_sockets, runtime_dir, socket_path


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short directory for XDG_RUNTIME_DIR."""
    with tempfile.TemporaryDirectory(prefix="jmp") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


@pytest.mark.skipif(sys.platform != "linux", reason="how a full backlog is told")
def test_an_exporter_that_has_no_time_to_accept_is_running(base: Path):
    path = runtime_dir() / "busy.sock"
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as clients:
        listener.bind(str(path))
        listener.listen(0)
        for _ in range(2):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(str(path))
        assert exporter_sockets() == [path]
    assert exporter_sockets() == []


def test_the_directory_is_the_users_alone(base: Path):
    base.joinpath("jumpstarter").mkdir(mode=0o755)
    path = runtime_dir()
    assert path == base / "jumpstarter"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_without_a_runtime_directory_one_in_the_temporary_directory_is_used(
    base: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("TMPDIR", str(base))
    assert runtime_dir() == base / f"jumpstarter-{os.getuid()}"


def test_a_missing_directory_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent/run")
    with pytest.raises(ConfigurationError, match=r"/nonexistent/run does not exist.*XDG_RUNTIME_DIR"):
        runtime_dir()
    assert exporter_sockets() == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_directory_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/self")
    with pytest.raises(ConfigurationError, match="/proc/self/jumpstarter cannot be used"):
        runtime_dir()


def test_a_link_in_its_place_is_refused(base: Path):
    base.joinpath("elsewhere").mkdir()
    base.joinpath("jumpstarter").symlink_to(base / "elsewhere")
    with pytest.raises(ConfigurationError, match="is not a directory"):
        runtime_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a directory away")
def test_a_directory_of_somebody_else_is_refused(base: Path):
    base.joinpath("jumpstarter").mkdir()
    os.chown(base / "jumpstarter", 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to uid 12345"):
        runtime_dir()


def test_a_path_that_is_too_long_is_named(base: Path):
    with pytest.raises(ConfigurationError, match=r"has \d+ bytes, the system takes \d+"):
        socket_path("x" * 100)


@pytest.mark.parametrize("name", ["", "../other", "a/b", ".hidden", "-x", "a b", "a\n"])
def test_a_name_that_is_no_file_name_is_refused(base: Path, name: str):
    with pytest.raises(ConfigurationError, match="cannot name a socket"):
        socket_path(name)


def test_a_name_is_claimed_once(base: Path):
    with claim("demo", "/etc/demo.yaml") as path:
        assert path == base / "jumpstarter" / "demo.sock"
        with pytest.raises(BusyError, match=rf"process {os.getpid()}, config /etc/demo.yaml"), claim("demo", "other"):
            pass
        with claim("other", "x"):
            pass
    with claim("demo", "again"):
        pass
    assert sorted(entry.name for entry in runtime_dir().iterdir()) == [".guard"]


def test_what_a_dead_exporter_left_is_swept_away(base: Path):
    script = (
        "import os, socket\nfrom jumpstarter.common.runtime import claim\n"
        "with claim('dead', 'c') as path:\n"
        "    socket.socket(socket.AF_UNIX).bind(str(path))\n    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert (runtime_dir() / "dead.sock").exists()
    assert exporter_sockets() == []
    with claim("alive", "c"):
        assert not (runtime_dir() / "dead.sock").exists()
        assert not (runtime_dir() / "dead.lock").exists()
        assert (runtime_dir() / "alive.lock").exists()


def test_the_sockets_of_running_exporters_are_found(base: Path):
    with claim("b", "c") as b, claim("a", "c") as a, listen(b), listen(a):
        (runtime_dir() / "not-a-socket.sock").touch()
        assert exporter_sockets() == [a, b]
