"""A real GPIO chip without hardware: the kernel's gpio-sim, whose far side a test drives.

It needs root and Linux 5.17 with gpio-sim and configfs; the lab of this repository (scripts/lab) has both. When a line
is released it falls back to what it is pulled to.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

CONFIGFS = Path("/sys/kernel/config")
TRACEFS = Path("/sys/kernel/tracing")


class GpioSim:
    """A chip with some lines, there while the context lasts."""

    def __init__(
        self,
        label: str = "lab",
        lines: int = 8,
        names: dict[int, str] | None = None,
        hogs: dict[int, str] | None = None,
    ) -> None:
        """`names` are those of lines by offset; `hogs` are lines that the kernel itself has, with its name for them."""
        self.label = label
        self._lines, self._names, self._hogs = lines, names or {}, hogs or {}
        self._root = CONFIGFS / "gpio-sim" / label
        self.path = ""
        """The character device."""
        self._sysfs = Path()

    def __enter__(self) -> Self:
        subprocess.run(["modprobe", "-a", "configfs", "gpio-sim"], check=True)
        if not CONFIGFS.is_mount():
            subprocess.run(["mount", "-t", "configfs", "none", str(CONFIGFS)], check=True)
        bank = self._root / "bank0"
        bank.mkdir(parents=True)
        (bank / "num_lines").write_text(str(self._lines))
        (bank / "label").write_text(self.label)
        for offset in {*self._names, *self._hogs}:
            line = bank / f"line{offset}"
            line.mkdir()
            if offset in self._names:
                (line / "name").write_text(self._names[offset])
            if offset in self._hogs:
                hog = line / "hog"
                hog.mkdir()
                (hog / "name").write_text(self._hogs[offset])
                (hog / "direction").write_text("input")
        (self._root / "live").write_text("1")
        chip = (bank / "chip_name").read_text().strip()
        self.path = f"/dev/{chip}"
        self._sysfs = Path("/sys/devices/platform") / (self._root / "dev_name").read_text().strip() / chip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
        bank = self._root / "bank0"
        for folder in (*bank.glob("line*/hog"), *bank.glob("line*"), bank, self._root):
            folder.rmdir()

    def remove(self) -> None:
        """Let the chip disappear, as an expander does that is unplugged."""
        (self._root / "live").write_text("0")

    def pull(self, line: int, up: bool) -> None:
        """Say what an input reads; a change is an edge."""
        (self._sysfs / f"sim_gpio{line}" / "pull").write_text("pull-up" if up else "pull-down")

    def value(self, line: int) -> int:
        """The level of a line: what an output drives, or what pulls it."""
        return int((self._sysfs / f"sim_gpio{line}" / "value").read_text())


@dataclass(frozen=True)
class LevelSet:
    """A level that the kernel gave to an output."""

    seconds: float
    """When, by the kernel's tracing clock, to the microsecond."""

    line: int
    """The kernel's own number of it, not the offset in its chip."""

    level: int


class LevelTrace:
    """When the kernel sets lines of any chip, as its tracing tells (trace event gpio:gpio_value), meanwhile.

    It needs root and a kernel with tracing; it knows nothing of the clock of whoever asked for the levels.
    """

    def __enter__(self) -> Self:
        if not TRACEFS.is_mount():
            subprocess.run(["mount", "-t", "tracefs", "none", str(TRACEFS)], check=True)
        (TRACEFS / "trace").write_text("")
        (TRACEFS / "events/gpio/gpio_value/enable").write_text("1")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (TRACEFS / "events/gpio/gpio_value/enable").write_text("0")

    def levels(self) -> list[LevelSet]:
        """What was set since the context began."""
        return [
            LevelSet(float(seconds), int(line), int(level))
            for seconds, line, level in re.findall(
                r" (\d+\.\d+): gpio_value: (\d+) set (\d)", (TRACEFS / "trace").read_text()
            )
        ]
