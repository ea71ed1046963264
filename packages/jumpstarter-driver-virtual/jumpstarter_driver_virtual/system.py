"""The system that the simulated board boots: a log, a login and a small shell."""

from collections.abc import Generator
from enum import Enum, auto

from .faults import Fault
from .machine import Machine, PowerLost, Stage, Wait, stamp
from .shell import UNAME, Ending, run_shell
from .terminal import Terminal

__all__ = ["Ending", "run_system"]

SYSTEM_SHARE = 0.75


class _Mark(Enum):
    """Places in the log where a fault may strike."""

    ROOT_DEVICE = auto()
    INIT = auto()


def run_system(machine: Machine) -> Generator[Wait, None, Ending]:
    """Boot, then log users in until one reboots or powers off."""
    yield from _boot(machine)
    terminal = Terminal(machine)
    while True:
        user = yield from terminal.line("\nvirtual-board login: ")
        if user == "root":
            ending = yield from run_shell(machine, terminal)
            if ending != Ending.LOGOUT:
                yield from _shut_down(machine, ending)
                return ending
        elif user:
            machine.uart.send("Login incorrect; the only user is root, without a password\n")


def _boot(machine: Machine) -> Generator[Wait, None, None]:
    """Print the log of the boot; the times in it are the planned ones, so they repeat with the seed."""
    machine.uart.received.clear()
    machine.started = machine.clock()
    machine.enter(Stage.BOOTING)
    length = machine.boot_seconds * SYSTEM_SHARE
    lines = _log(machine)
    for number, line in enumerate(lines):
        planned = length * max(0.0, number + machine.random.uniform(-0.3, 0.3)) / len(lines) if number else 0.0
        yield Wait(max(0.0, machine.started + planned - machine.clock()))
        if isinstance(line, _Mark):
            yield from _strike(machine, line)
        else:
            machine.uart.send(f"{stamp(planned)} {line}\n")
    yield Wait(max(0.0, machine.started + length - machine.clock()))
    machine.set_led(True)
    machine.enter(Stage.BOOTED)
    machine.uart.send(f"{stamp(length)} init: boot finished, led on\n")


def _log(machine: Machine) -> list[str | _Mark]:
    image = machine.image
    assert image is not None, "the firmware has loaded an image"
    return [
        UNAME,
        "Kernel command line: console=ttyS0,115200 root=/dev/mmcblk0",
        "Memory: 251904K/262144K available",
        "ttyS0: console enabled",
        "gpio-keys: button on line 4",
        "leds-gpio: led on line 17",
        f"mmc0: medium with {image.size} bytes",
        "Waiting for root device /dev/mmcblk0",
        _Mark.ROOT_DEVICE,
        f"Image: sha256 {image.sha256}",
        "VFS: mounted root read-only",
        _Mark.INIT,
        "init: started",
        "eth0: link up",
        "httpd: serving the status page",
    ]


def _strike(machine: Machine, mark: _Mark) -> Generator[Wait, None, None]:
    """Let the fault happen that belongs to this place, if it is set."""
    if mark == _Mark.ROOT_DEVICE and Fault.BOOT_HANG in machine.faults:
        machine.enter(Stage.HUNG)
        while True:
            yield Wait(None)
    if mark == _Mark.INIT and Fault.POWER_DROP in machine.faults:
        raise PowerLost


def _shut_down(machine: Machine, ending: Ending) -> Generator[Wait, None, None]:
    machine.kernel_says("init: stopping services, led off")
    machine.set_led(False)
    machine.enter(Stage.FIRMWARE)
    yield Wait(machine.boot_seconds * 0.1)
    machine.uart.send(f"{'Restarting system' if ending == Ending.REBOOT else 'System halted'}\n")
