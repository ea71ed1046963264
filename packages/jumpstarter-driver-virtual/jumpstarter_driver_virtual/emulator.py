"""A simulated board: power, a serial console on a pseudo-terminal, a medium behind a mux, a button, a LED, a web page.

Plain Python that needs nothing of Jumpstarter, for whoever wants a board in a test. One thread owns everything; the
methods of `Board` may be called from any thread. Nothing is opened before the first of them.
"""

import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from .faults import Fault, fault_named, faults_named
from .inside import Inside
from .machine import Stage
from .medium import FACTORY_IMAGE, Image, Position

__all__ = ["FACTORY_IMAGE", "Board", "Fault", "Image", "Position", "Stage"]

T = TypeVar("T")


class Board:
    """The board, its supply, and the wires to it."""

    def __init__(
        self,
        *,
        boot_seconds: float = 1.0,
        autoboot_seconds: float = 0.5,
        medium: str | Path | None = None,
        faults: Iterable[str] = (),
        seed: int = 0,
    ) -> None:
        """See the fields of the same names of `jumpstarter_driver_virtual.driver.VirtualBoard`.

        Raises ValueError for what can never work.
        """
        if boot_seconds < 0 or autoboot_seconds < 0:
            raise ValueError("boot_seconds and autoboot_seconds must not be negative")
        self._boot_seconds = boot_seconds
        self._autoboot_seconds = autoboot_seconds
        self._configured_faults = faults_named(faults)
        self._seed = seed
        self._medium_path = _checked(medium)
        self._inside: Inside | None = None
        self._lock = threading.Lock()
        self._closed = False

    def power_on(self) -> None:
        """Switch the supply on, also after it tripped; nothing changes on a board that has power."""
        self._do(Inside.power_on)

    def power_off(self) -> None:
        """Switch the supply off; from then on the console is silent."""
        if self._was_used:
            self._do(Inside.power_off)

    def reading(self) -> tuple[float, float]:
        """Return volt and ampere as a meter shows them now."""
        return self._do(Inside.reading)

    @property
    def console_path(self) -> str:
        """The serial device to open; whatever nobody reads is lost."""
        return self._do(lambda inside: inside.machine.uart.path)

    @property
    def page_path(self) -> Path:
        """The unix socket on which the board's page answers while the board is booted."""
        return self._do(lambda inside: inside.page_path)

    @property
    def stage(self) -> Stage:
        return self._do(lambda inside: inside.machine.stage)

    def state(self) -> dict[str, Any]:
        """Return what there is to know about the board, for people and tests."""
        return self._do(Inside.state)

    def move_medium(self, position: Position) -> None:
        """Connect the medium to the host, the board or nothing."""
        if self._was_used or position != Position.DUT:
            self._do(lambda inside: inside.move_medium(position))

    def medium_at_host(self) -> Path:
        """The file that stands for the medium; OSError where there is none."""
        return self._do(lambda inside: inside.machine.medium.at_host())

    def set_button(self, pressed: bool) -> None:
        """Press or release the button."""
        if self._was_used or pressed:
            self._do(lambda inside: inside.set_button(pressed))

    @property
    def button(self) -> bool:
        return self._do(lambda inside: inside.machine.button)

    @property
    def led(self) -> bool:
        return self._do(lambda inside: inside.machine.led)

    @contextmanager
    def led_changes(self) -> Generator[socket.socket]:
        """Yield a non-blocking socket that becomes readable whenever the LED or the stage has changed."""
        notified, notify = socket.socketpair()
        notified.setblocking(False)
        notify.setblocking(False)
        with notified, notify:
            self._do(lambda inside: inside.watchers.append(notify))
            try:
                yield notified
            finally:
                with suppress(RuntimeError):
                    self._do(lambda inside: inside.watchers.remove(notify))

    def wait_for(self, stage: Stage, timeout: float) -> None:
        """Wait until the board has reached a stage; raises TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self.led_changes() as changes:
            while (now := self.stage) != stage:
                if not select.select([changes], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    raise TimeoutError(f"the board is in stage {now!s}, not {stage!s}, after {timeout:g} s")
                changes.recv(4096)

    def inject(self, fault: str) -> None:
        """Let something be wrong; raises ValueError for a fault that is not known."""
        known = fault_named(fault)
        self._do(lambda inside: inside.inject(known))

    def clear(self, fault: str | None = None) -> None:
        """End one fault, or all."""
        gone = set(Fault) if fault is None else {fault_named(fault)}
        self._do(lambda inside: inside.clear(gone))

    def faults(self) -> list[Fault]:
        """Return what is wrong now."""
        return self._do(lambda inside: sorted(inside.machine.faults))

    def reset(self) -> None:
        """Back to the start: power off, medium at the board, button released, faults as configured."""
        if self._inside is not None:
            self._do(lambda inside: inside.reset(self._configured_faults))

    def close(self) -> None:
        """Switch off, and give back the thread and everything that is open; a second time does nothing."""
        with self._lock:
            self._closed = True
            inside, self._inside = self._inside, None
        if inside is not None:
            inside.close()

    @property
    def _was_used(self) -> bool:
        """Whether the board may be in another state than the first."""
        return self._inside is not None or self._closed

    def _do(self, action: Callable[[Inside], T]) -> T:
        with self._lock:
            if self._closed:
                raise RuntimeError("the simulated board is closed")
            if self._inside is None:
                self._inside = Inside(
                    self._boot_seconds, self._autoboot_seconds, self._medium_path, self._configured_faults, self._seed
                )
            inside = self._inside
        return inside.loop.call(lambda: action(inside))


def _checked(medium: str | Path | None) -> Path | None:
    """Return the path of a medium; raises ValueError when there can be none."""
    if medium is None:
        return None
    path = Path(medium).expanduser()
    if path.is_dir():
        raise ValueError(f"medium: {path} is a directory; name a file")
    if not path.parent.is_dir():
        raise ValueError(f"medium: the directory {path.parent} does not exist")
    return path
