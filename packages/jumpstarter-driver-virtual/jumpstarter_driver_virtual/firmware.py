"""The firmware of the simulated board: finds the medium, waits for a key, starts the system or a prompt."""

import hashlib
from collections.abc import Generator

from .machine import Machine, Program, Stage, Wait
from .medium import Image
from .system import Ending, run_system
from .terminal import Terminal

FIRMWARE_SHARE = 0.25
"""Part of the boot time that passes before the system starts; the rest is the system's."""

HELP = """\
boot      - load the image from mmc0 and start it
help      - print this list
printenv  - print the environment
reset     - start the firmware again
"""


def power_on(machine: Machine) -> Program:
    """What the board runs from power-on until it is halted or loses power."""
    ending = Ending.REBOOT
    while ending == Ending.REBOOT:
        boots = yield from _firmware(machine)
        ending = (yield from run_system(machine)) if boots else Ending.REBOOT
    machine.enter(Stage.HALTED)


def _firmware(machine: Machine) -> Generator[Wait, None, bool]:
    """Run up to a loaded image; false when the user asked for a reset instead."""
    send = machine.uart.send
    machine.image = None
    machine.enter(Stage.FIRMWARE)
    pause = machine.boot_seconds * FIRMWARE_SHARE / 4
    yield Wait(pause)
    machine.uart.received.clear()  # the port starts with the first line
    send("\n\nvirtual-board firmware 1.0 (simulated board, no hardware behind it)\n")
    for line in ("CPU:   1 simulated core", "DRAM:  256 MiB (simulated)", f"MMC:   {_medium_text(machine)}"):
        yield Wait(pause)
        send(line + "\n")
    interrupted = yield from _autoboot(machine)
    if not interrupted and (yield from _load(machine)):
        return True
    return (yield from _prompt(machine))


def _medium_text(machine: Machine) -> str:
    size = machine.medium.size()
    return f"mmc0: {size} bytes" if size else "mmc0: no medium"


def _autoboot(machine: Machine) -> Generator[Wait, None, bool]:
    """Count down; true when a key was pressed, be it before the countdown."""
    machine.uart.send(f"Press any key to stop autoboot: {machine.autoboot_seconds:g} s ")
    if not machine.uart.received:
        yield Wait(machine.autoboot_seconds, key=True)
    machine.uart.send("\n")
    interrupted = bool(machine.uart.received)
    machine.uart.received.clear()
    return interrupted


def _load(machine: Machine) -> Generator[Wait, None, bool]:
    """Read the image from the medium; false when there is none."""
    send = machine.uart.send
    if not machine.medium.size():
        send("mmc0: no bootable medium\n")
        return False
    digest, size = hashlib.sha256(), 0
    try:
        for block in machine.medium.blocks():
            digest.update(block)
            size += len(block)
            yield Wait(0)
    except OSError as e:
        send(f"mmc0: read error: {e.strerror}\nmmc0: no bootable medium\n")
        return False
    machine.image = Image(size, digest.hexdigest())
    send(f"Image: {size} bytes, sha256 {machine.image.short}\nStarting system ...\n\n")
    return True


def _prompt(machine: Machine) -> Generator[Wait, None, bool]:
    """Obey commands until one of them starts the system (true) or the firmware (false)."""
    machine.enter(Stage.PROMPT)
    terminal = Terminal(machine)
    while True:
        match (yield from terminal.line("=> ")):
            case "boot":
                machine.enter(Stage.FIRMWARE)
                if (yield from _load(machine)):
                    return True
                machine.enter(Stage.PROMPT)
            case "reset":
                return False
            case "help":
                machine.uart.send(HELP)
            case "printenv":
                machine.uart.send(
                    f"board=virtual-board\nbootcmd=boot\nbootdelay={machine.autoboot_seconds:g}\n"
                    f"bootdev={_medium_text(machine)}\n"
                )
            case None | "":
                pass
            case line:
                machine.uart.send(f"Unknown command '{line.split()[0]}' - try 'help'\n")
