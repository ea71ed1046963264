"""Where the exporters of this user keep their sockets, and which of them are running.

An exporter named `demo` owns `demo.sock` and, as long as it lives, an flock on `demo.lock`, in which it wrote its
process id and its configuration file. `.guard` is held while a name is taken or given back, so that nobody ever
sees a half-made pair.
"""

import fcntl
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .exceptions import BusyError, ConfigurationError
from .lockwords import Doorkeeper, introduce, introduced, leave_word

MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103
"""Bytes that the kernel takes for the path of a unix socket (sun_path, without the final zero)."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_GUARD_TIMEOUT = 5.0


def runtime_dir() -> Path:
    """The private directory (0700) in which this user's exporters keep their sockets; made when it is missing.

    Raises ConfigurationError when it cannot be made, or is not this user's alone.
    """
    path = _runtime_path()
    if not path.parent.is_dir():
        raise ConfigurationError(f"runtime directory {path.parent} does not exist; create it or unset {_origin()}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        _check_private(path)
    except OSError as e:
        reason = f"runtime directory {path} cannot be used: {e.strerror}"
        raise ConfigurationError(f"{reason}; set XDG_RUNTIME_DIR to a directory of your own") from e
    return path


def socket_path(name: str) -> Path:
    """Where the exporter `name` listens.

    Raises ConfigurationError when the name is no file name or the path is longer than the kernel takes.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"exporter name {name!r} cannot name a socket; use letters, digits, '.', '_' and '-' (metadata.name)"
        )
    path = runtime_dir() / f"{name}.sock"
    return check_socket_path(path)


def check_socket_path(path: Path) -> Path:
    """`path` itself. Raises ConfigurationError when it is longer than the kernel takes for a unix socket."""
    if (length := len(os.fsencode(path))) > MAX_SOCKET_PATH:
        raise ConfigurationError(
            f"socket path {path} has {length} bytes, the system takes {MAX_SOCKET_PATH}; "
            "use a shorter name or set XDG_RUNTIME_DIR to a shorter directory"
        )
    return path


def exporter_sockets() -> list[Path]:
    """Sockets of the exporters of this user that are running here, by name."""
    path = _runtime_path()
    if not path.is_dir():
        return []
    return sorted(entry for entry in runtime_dir().glob("*.sock") if _is_listening(entry))


@contextmanager
def claim(name: str, config: str) -> Generator[Path]:
    """Be the only exporter called `name` on this host for as long as the context lasts.

    Yields the path of its socket, free of what a dead exporter may have left there.
    Raises BusyError naming the process and configuration of the exporter that has it, and leaves word there, of which
    that one warns in its log.
    """
    path, doorkeeper = socket_path(name), Doorkeeper()
    with _guard(path.parent):
        lock = _take(path.with_suffix(".lock"))
        if lock is None:
            leave_word(path.with_suffix(".lock"), config)
            raise BusyError(
                f"exporter {name} is running already ({introduced(path.with_suffix('.lock'))}); "
                "stop that one, or give this one another metadata.name"
            )
        introduce(lock, config)
        path.unlink(missing_ok=True)
        _sweep(path.parent)
    doorkeeper.watch(lock, f"the name {name}")
    try:
        yield path
    finally:
        doorkeeper.close()
        with _guard(path.parent):
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
            os.close(lock)


def _runtime_path() -> Path:
    if base := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(base) / "jumpstarter"
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"jumpstarter-{os.getuid()}"


def _origin() -> str:
    return "XDG_RUNTIME_DIR" if os.environ.get("XDG_RUNTIME_DIR") else "TMPDIR"


def _check_private(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"runtime directory {path} is not a directory; remove it or set XDG_RUNTIME_DIR")
    if found.st_uid != os.getuid():
        raise ConfigurationError(
            f"runtime directory {path} belongs to uid {found.st_uid}, not to uid {os.getuid()}; "
            "set XDG_RUNTIME_DIR to a directory of your own"
        )
    if found.st_mode & 0o077:
        path.chmod(0o700)


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (TimeoutError, BlockingIOError):
            return True  # its backlog is full (EAGAIN, connect(2)): busy, but alive
        except OSError:
            return False
    return True


@contextmanager
def _guard(directory: Path) -> Generator[None]:
    deadline = time.monotonic() + _GUARD_TIMEOUT
    fd = _open(directory / ".guard")
    try:
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise BusyError(f"another process holds {directory / '.guard'}; end it (fuser shows which)")
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _take(path: Path) -> int | None:
    """The locked file, or None when somebody else holds it. Only under the guard."""
    fd = _open(path)
    if _try_lock(fd):
        return fd
    os.close(fd)
    return None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as e:
        raise ConfigurationError(f"{path} cannot be opened: {e.strerror}; check the directory's permissions") from e


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(directory: Path) -> None:
    """Remove what exporters left that ended without cleaning up. Only under the guard."""
    for path in directory.glob("*.lock"):
        lock = _take(path)
        if lock is not None:
            path.with_suffix(".sock").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            os.close(lock)
