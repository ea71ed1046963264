"""The inside of the simulated board: all of its parts, joined. Only the thread of the board touches them."""

import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from .faults import Fault
from .firmware import power_on
from .loop import Loop
from .machine import Machine, PowerLost, Processor, Stage
from .medium import FACTORY_IMAGE, Medium, Position
from .supply import Supply
from .uart import Uart
from .web import WebServer


class Inside:
    """Everything that only the thread of the board touches."""

    def __init__(
        self, boot_seconds: float, autoboot_seconds: float, medium: Path | None, faults: set[Fault], seed: int
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="virtual-board-"))  # 0700: the page is for the exporter only
        self.page_path = self._folder / "http.sock"
        if medium is None:
            medium = self._folder / "medium.img"
            medium.write_bytes(FACTORY_IMAGE)
        self.watchers: list[socket.socket] = []
        self.machine = Machine(
            uart=Uart(seed),
            medium=Medium(medium),
            seed=seed,
            boot_seconds=boot_seconds,
            autoboot_seconds=autoboot_seconds,
            faults=set[Fault](),
            changed=self._changed,
        )
        self._supply = Supply(seed)
        self._on_since: float | None = None
        self._processor = Processor(self.machine)
        self.loop = Loop("virtual-board", self._advance)
        self._web = WebServer(self.loop, self.page_path, self._page)
        self.loop.watch(self.machine.uart, self._typed)
        for fault in faults:
            self.inject(fault)
        self.loop.start()

    def power_on(self) -> None:
        if self._on_since is None:
            self._on_since = self.machine.clock()
            self.machine.random.seed(self.machine.seed)
            self._processor.start(power_on(self.machine))

    def power_off(self) -> None:
        self._on_since = None
        self._processor.stop()
        self.machine.uart.received.clear()
        self.machine.image = None
        self.machine.led = False
        self.machine.enter(Stage.OFF)

    def reading(self) -> tuple[float, float]:
        if self._on_since is None:
            return 0.0, 0.0
        return self._supply.reading(self.machine.ampere(), self.machine.clock() - self._on_since)

    def state(self) -> dict[str, Any]:
        machine = self.machine
        return {
            "simulated": True,
            "stage": str(machine.stage),
            "powered": self._on_since is not None,
            "uptime": round(machine.uptime, 3),
            "image": {"size": machine.image.size, "sha256": machine.image.sha256} if machine.image else None,
            "medium": str(machine.medium.position),
            "led": machine.led,
            "button": machine.button,
            "faults": sorted(str(fault) for fault in machine.faults),
        }

    def move_medium(self, position: Position) -> None:
        before = self.machine.medium.position
        if self.machine.medium.move(position) and not self.machine.medium.absent:
            if before == Position.DUT:
                self.machine.kernel_says("mmc0: medium removed")
            elif position == Position.DUT:
                self.machine.kernel_says(f"mmc0: new medium with {self.machine.medium.size()} bytes")

    def set_button(self, pressed: bool) -> None:
        if self.machine.button != pressed:
            self.machine.button = pressed
            self.machine.kernel_says(f"gpio-keys: button {'pressed' if pressed else 'released'}")

    def inject(self, fault: Fault) -> None:
        self.machine.faults.add(fault)
        if fault == Fault.POWER_DROP:
            self.power_off()
        if fault == Fault.MEDIUM_ABSENT and self.machine.medium.size():
            self.machine.kernel_says("mmc0: medium removed")
        self._apply_faults()

    def clear(self, faults: set[Fault]) -> None:
        self.machine.faults -= faults
        self._apply_faults()

    def reset(self, faults: set[Fault]) -> None:
        self.power_off()
        self.machine.button = False
        self.machine.medium.move(Position.DUT)
        self.clear(set(Fault) - faults)
        self.machine.faults |= faults
        self._apply_faults()

    def close(self) -> None:
        self.loop.call(self.power_off)
        self.loop.call(lambda: self.loop.unwatch(self.machine.uart))
        self.loop.call(self._web.close)
        self.loop.stop()
        self.machine.uart.close()
        shutil.rmtree(self._folder, ignore_errors=True)  # a cleaner of old files may have been here

    def _apply_faults(self) -> None:
        self.machine.medium.absent = Fault.MEDIUM_ABSENT in self.machine.faults
        self.machine.uart.garbage = Fault.CONSOLE_GARBAGE in self.machine.faults

    def _advance(self) -> float | None:
        """Let the processor run, and tell how long it sleeps."""
        try:
            self._processor.run()
        except PowerLost:
            self.power_off()
        return self._processor.sleep_seconds

    def _typed(self) -> None:
        self.machine.uart.receive(keep=self.machine.stage not in (Stage.OFF, Stage.HALTED, Stage.HUNG))

    def _changed(self) -> None:
        if self.machine.stage == Stage.BOOTED:
            self._web.start()
        else:
            self._web.stop()
        for watcher in self.watchers:
            with suppress(OSError):  # it has more than enough to read already
                watcher.send(b"\0")

    def _page(self) -> dict[str, Any]:
        """What the page shows: the state, without what only the world outside knows."""
        state = self.state()
        shown = ("simulated", "uptime", "image", "led", "button")
        return {"board": "virtual-board", **{name: state[name] for name in shown}}
