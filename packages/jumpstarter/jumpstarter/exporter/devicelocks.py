"""One exporter per device: locks that hold for the whole host, whoever the users are.

A device has a file in a directory that everybody can write to, and its holder an flock on that file, which the kernel
takes back when the holder dies. The file says who that is.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from ..common.env import JMP_LOCK_DIR
from ..common.exceptions import BusyError, ConfigurationError
from ..common.lockwords import Doorkeeper, Holder, introduce, introduced, leave_word

_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")
_ATTEMPTS = 100


def lock_dir() -> Path:
    """Where the locks of this host are: `$JMP_LOCK_DIR`, else the first of the usual places that is for everybody."""
    if chosen := os.environ.get(JMP_LOCK_DIR):
        return Path(chosen)
    for place in (Path("/run/lock"), Path("/var/lock")):
        with suppress(OSError):
            if place.stat().st_mode & stat.S_IWOTH:
                return place
    return Path("/tmp")


def lock_file(identity: str) -> Path:
    """The file of a device; several devices never share one."""
    import hashlib  # slow to import, and most exporters lock nothing

    readable = _UNUSUAL.sub("-", identity).strip("-.")[-60:]
    digest = hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]
    return lock_dir() / f"jumpstarter-{readable}-{digest}.lock"


class DeviceLocks:
    """The locks of one exporter. Its own drivers may share a device."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._held: dict[str, tuple[int, Path]] = {}
        self._doorkeeper = Doorkeeper()

    def take(self, identity: str, driver: str, what: str = "") -> None:
        """Take a device for a driver, named by its path. The log will tell who wanted it, or `what` it is.

        Raises BusyError that names the holder when another exporter has it, ConfigurationError when there is no way to
        find out.
        """
        if identity in self._held:
            return
        path = lock_file(identity)
        try:
            fd = _locked(path)
        except OSError as e:
            raise ConfigurationError(
                f"lock {path} of device {identity}: {e.strerror}; set {JMP_LOCK_DIR} to a directory that all may use"
            ) from e
        if fd is None:
            leave_word(path, self._config, driver)
            raise BusyError(
                f"{driver}: device {identity} is in use by another exporter ({holder(path)})",
                "stop that one, or take the device out of one of the configurations",
            )
        with suppress(OSError):  # another user's file that is not for everybody: the lock holds all the same
            introduce(fd, self._config, driver)
        self._held[identity] = fd, path
        self._doorkeeper.watch(fd, what or f"device {identity} of driver {driver}")

    def release(self) -> None:
        """Give all devices back."""
        self._doorkeeper.close()
        while self._held:
            _, (fd, path) = self._held.popitem()
            with suppress(OSError):  # in a directory with the sticky bit, a file of another user stays
                path.unlink()
            os.close(fd)


def holder(path: Path) -> Holder:
    """Who holds a lock, as far as the system or the file says it."""
    pid = _pid_of_lock(path)
    found = introduced(path)
    return found if pid in (None, found.pid) else Holder(pid)  # the file is of a holder before this one


def _locked(path: Path) -> int | None:
    """The locked file, None when somebody else has the lock."""
    for _ in range(_ATTEMPTS):
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(fd, path):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its holder removed it between our opening and our lock
    raise OSError(0, "the file is made and removed again and again")


def _open(path: Path) -> int:
    """The file, made where there is none. Of another user's, reading is enough for the lock."""
    common = os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(_ATTEMPTS):
        for flags in (os.O_RDWR, os.O_RDONLY):  # no O_CREAT: systems refuse it for another user's file
            with suppress(FileNotFoundError, PermissionError):
                return os.open(path, flags | common)
        with suppress(FileExistsError):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | common, 0o666)
            os.fchmod(fd, 0o666)  # whatever our umask: another user's exporter needs it too
            return fd
        if path.exists() and not os.access(path, os.R_OK):
            raise PermissionError(13, "permission denied")
    raise OSError(0, "the file is made and removed again and again")


def _is_there(fd: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(fd), path.stat())
    return False


def _pid_of_lock(path: Path) -> int | None:
    """The process that has the flock, where the kernel tells."""
    with suppress(OSError, ValueError):
        found = path.stat()
        file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()  # 1: FLOCK ADVISORY WRITE 4711 00:19:42 0 EOF
            if fields[1] == "FLOCK" and len(fields) >= 6 and fields[5] == file:
                return int(fields[4]) or None
    return None
