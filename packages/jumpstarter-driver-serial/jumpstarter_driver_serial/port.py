"""An open serial port: bytes and lines of any port that pySerial knows.

pySerial opens and sets up the port. Bytes of ports that have a descriptor go through it directly, since pySerial's own
reads take at most what was asked for and cost a system call more.
"""

import errno
import fcntl
import logging
import os
import select
import termios
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from jumpstarter.common.exceptions import BusyError
from jumpstarter.common.openers import openers

from .reads import Reads

if TYPE_CHECKING:
    import serial

_logger = logging.getLogger(__name__)

CHUNK = 256 * 1024
"""Bytes of a read at most: some two milliseconds of a tty that is as fast as it can be."""

POLL = 0.1
"""Seconds that a port without a descriptor is read for at once."""


@dataclass(frozen=True, kw_only=True)
class LineSettings:
    """How a port is set up; the names are those of pySerial."""

    baudrate: int = 115200
    bytesize: int = 8
    parity: str = "N"
    stopbits: float = 1
    rtscts: bool = False
    xonxoff: bool = False
    dsrdtr: bool = False
    dtr: bool | None = None
    """Level of DTR; None: as the port has it, which is active."""
    rts: bool | None = None
    exclusive: bool = True
    """Whether nobody else may open the port meanwhile."""
    hupcl: bool = True
    """Whether closing the port drops DTR and RTS."""
    low_latency: bool = False


class PortLost(OSError):
    """The port is gone; the text says why."""


class Port(Protocol):
    """An open port. One thread reads; writing and line control come from others, one at a time."""

    line: Any
    """pySerial's object, for the lines."""

    is_quick: bool
    """Whether it has a descriptor, and reading and writing never wait."""

    def fileno(self) -> int:
        """The descriptor of a quick port."""
        ...

    def wait_readable(self, seconds: float | None) -> bool:
        """Wait until something has come, or somebody calls `wake`; whether something may have come."""
        ...

    def read(self) -> bytes | memoryview:
        """What has come, valid until the next read; where the port is not quick, waits a moment for it.

        PortLost when it is gone.
        """
        ...

    def write(self, data: memoryview) -> int:
        """Write what can be written at once, in bytes. PortLost when it is gone."""
        ...

    def wait_writable(self, seconds: float) -> None:
        """Wait until something can be written, but not longer than that."""
        ...

    def wake(self) -> None:
        """Let `read` return now; from any thread."""
        ...

    def close(self) -> None:
        """Close, without waiting for bytes that the device does not take."""
        ...


def open_port(url: str, settings: LineSettings) -> Port:
    """Open a port of any URL that pySerial takes. What has come in before is kept, not thrown away.

    Raises FileNotFoundError, PermissionError, BusyError, ConnectionError or another OSError, and ValueError for an
    unknown URL, with a text that says which port and why.
    """
    if "://" in url:
        return _opened_by_url(url, settings)
    with _explained(url):
        port = _keeping_serial()(None, timeout=0, **_arguments(settings))
        _set_lines(port, settings)
        port.port = url
        port.open()
        return DescriptorPort(port, url, settings)


def _opened_by_url(url: str, settings: LineSettings) -> Port:
    import serial

    with _explained(url):
        port: Any = serial.serial_for_url(url, do_not_open=True, timeout=POLL, **_arguments(settings))
        _set_lines(port, settings)
        port.open()
        if settings.low_latency:
            _tell_no_low_latency(url)
        return DescriptorPort(port, url, settings) if url.startswith("socket://") else ObjectPort(port, url)


def _arguments(settings: LineSettings) -> dict[str, Any]:
    return {
        "baudrate": settings.baudrate,
        "bytesize": settings.bytesize,
        "parity": settings.parity,
        "stopbits": settings.stopbits,
        "rtscts": settings.rtscts,
        "xonxoff": settings.xonxoff,
        "dsrdtr": settings.dsrdtr,
        "exclusive": settings.exclusive or None,
    }


def _set_lines(port: Any, settings: LineSettings) -> None:
    """Say before opening which levels the lines get."""
    if settings.dtr is not None:
        port.dtr = settings.dtr
    if settings.rts is not None:
        port.rts = settings.rts


def _keeping_serial() -> "type[serial.Serial]":
    """pySerial's port of this system, which on opening keeps what has come in already."""
    import serial

    class KeepingSerial(serial.Serial):
        def _reset_input_buffer(self) -> None:
            """Nothing: open() calls this, and would throw away what the device said since it was plugged in."""

    return KeepingSerial


def _tell_no_low_latency(url: str) -> None:
    _logger.warning("console %s: this port has no low_latency; it goes on without", url)


class DescriptorPort:
    """A port with a file descriptor."""

    is_quick = True

    def __init__(self, line: Any, url: str, settings: LineSettings) -> None:
        self.line = line
        self._fd: int = line.fileno()
        self._url = url
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._fd, False)
        self._is_tty = os.isatty(self._fd)
        self._loss: str | None = None
        self._reads = Reads(self._fd, CHUNK)
        if self._is_tty:
            self._set_up(settings)
        self._readable = select.poll()
        self._readable.register(self._fd, select.POLLIN)
        self._readable.register(self._wake, select.POLLIN)

    def _set_up(self, settings: LineSettings) -> None:
        if not settings.hupcl:
            attributes = termios.tcgetattr(self._fd)
            attributes[2] &= ~termios.HUPCL
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        if settings.exclusive:
            fcntl.ioctl(self._fd, termios.TIOCEXCL)  # pySerial's lock keeps only those away who ask for it, too
        if settings.low_latency:
            try:
                self.line.set_low_latency_mode(True)
            except (ValueError, OSError):  # cdc_acm and pseudo-terminals have none to lower
                _tell_no_low_latency(self._url)

    def fileno(self) -> int:
        return self._fd

    def wait_readable(self, seconds: float | None) -> bool:
        ready = self._readable.poll(None if seconds is None else seconds * 1000)
        if any(fd == self._wake for fd, _ in ready):
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)
        return any(fd == self._fd for fd, _ in ready)

    def read(self) -> memoryview:
        data, error = self._reads.all()
        if error not in (0, errno.EAGAIN, errno.EINTR):
            self._lost(OSError(error, os.strerror(error)))  # noted, since a socket tells of a reset once
        if not data and (self._loss or (not error and self._has_ended())):
            raise self._lost(None)
        return data

    def _has_ended(self) -> bool:
        """Whether a read of nothing means the end: on a tty that pySerial has set up (VMIN 0) it may mean no data."""
        if not self._is_tty:
            return True
        state = select.poll()
        state.register(self._fd, 0)
        return bool(state.poll(0))  # hung up, or failed: POLLHUP and POLLERR come unasked

    def write(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as e:
            raise self._lost(e) from None

    def wait_writable(self, seconds: float) -> None:
        writable = select.poll()
        writable.register(self._fd, select.POLLOUT)
        writable.poll(seconds * 1000)

    def wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker, b"\0")

    def close(self) -> None:
        with suppress(OSError, termios.error):  # closing waits for what is not sent yet, which may be for ever
            termios.tcflush(self._fd, termios.TCOFLUSH)
        self._reads.close()
        _close(self.line)
        os.close(self._wake)
        os.close(self._waker)

    def _lost(self, error: OSError | None) -> PortLost:
        """The loss, whose cause is the first that was seen: a socket tells of a reset once."""
        if self._loss is None:
            self._loss = self._cause(error)
        return PortLost(self._loss)

    def _cause(self, error: OSError | None) -> str:
        if "://" not in self._url and not os.path.exists(self._url):  # noqa: PTH110 errors mean no, too
            return "unplugged"
        if error is None or error.errno == errno.EIO:
            return "the connection was closed" if "://" in self._url else "it hung up"
        return _phrase(error)


class ObjectPort:
    """A port that exists in pySerial only, such as rfc2217:// and loop://."""

    is_quick = False

    def __init__(self, line: Any, url: str) -> None:
        self.line = line
        self._url = url

    def fileno(self) -> int:
        raise OSError(f"{self._url} has no descriptor")

    def wait_readable(self, seconds: float | None) -> bool:
        return True

    def read(self) -> bytes:
        with self._losing():
            data = self.line.read(1)
            if data and (waiting := self.line.in_waiting):
                data += self.line.read(min(waiting, CHUNK))
            return bytes(data)

    def write(self, data: memoryview) -> int:
        with self._losing():
            return self.line.write(bytes(data)) or len(data)

    def wait_writable(self, seconds: float) -> None:
        """Nothing: `write` itself waits."""

    def wake(self) -> None:
        """Nothing: `read` returns soon."""

    def close(self) -> None:
        _close(self.line)

    @contextmanager
    def _losing(self) -> Generator[None]:
        try:
            yield
        except (OSError, TypeError, ValueError) as e:  # pySerial's of a port that is closed by the far side, too
            raise PortLost(_phrase(e)) from None


def _close(line: Any) -> None:
    connection = getattr(line, "_socket", None)
    with suppress(OSError, termios.error, AttributeError):  # what is gone already
        line.close()
    if connection is not None:  # pySerial forgets a socket that was reset without closing it
        connection.close()


def _phrase(error: BaseException) -> str:
    """An error of pySerial or the system, in the system's words where it has some."""
    for reason in (error, error.__context__):  # pySerial's own have no number, but come of one that has
        if isinstance(reason, OSError) and reason.errno:
            return os.strerror(reason.errno).lower()
    return str(error) or type(error).__name__


@contextmanager
def _explained(url: str) -> Generator[None]:
    """Say what a failure to open a port means: which port, and what to do."""
    where = f"serial port {url}"
    try:
        yield
    except ValueError as e:
        raise ValueError(f"{where}: {e}") from e
    except (OSError, termios.error) as e:
        raise _open_error(where, url, e) from e


def _open_error(where: str, url: str, error: Any) -> Exception:
    number = cast("int | None", error.errno if isinstance(error, OSError) else error.args[0])
    if url.startswith(("socket://", "rfc2217://")):
        return ConnectionError(f"{where}: {_phrase(error)}; is the service running and the address right?")
    match number:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return FileNotFoundError(f"{where} is not there; connect the device, or correct the url")
        case errno.EACCES | errno.EPERM:
            return PermissionError(f"{where}: permission denied; add the exporter's user to the port's group (dialout)")
        case errno.EBUSY | errno.EAGAIN:
            return BusyError(f"{where} is in use by {openers(url)}", "stop that program")
        case None:
            return OSError(f"{where}: {error}")
        case errno.ENOTTY | errno.EINVAL:
            return OSError(f"{where} is no serial port, or cannot do these settings: {error}")
        case _:
            return OSError(f"{where}: {os.strerror(number).lower()}")
