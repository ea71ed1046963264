"""The root shell of the simulated board."""

from collections.abc import Generator
from enum import Enum, auto

from .machine import Machine, Wait
from .terminal import Terminal

UNAME = "SimulatedOS virtual-board 1.0 jumpstarter-driver-virtual"
PROMPT = "root@virtual-board:~# "
HELP = """\
button            whether the button is pressed
cat /etc/image    size and digest of the image that was booted
echo TEXT         print TEXT
exit              log out
help              print this list
led [on|off]      switch the LED, or tell its state
poweroff          stop the system
reboot            start again
stress [SECONDS]  draw more current for a while
uname -a          name of the system
uptime            seconds since the system started
"""


class Ending(Enum):
    """How the shell, and the system with it, ends."""

    LOGOUT = auto()
    REBOOT = auto()
    HALT = auto()


def run_shell(machine: Machine, terminal: Terminal) -> Generator[Wait, None, Ending]:
    """Obey commands until one ends the shell."""
    machine.uart.send("Welcome to a simulated board. Type 'help' for its commands.\n")
    while True:
        line = yield from terminal.line(PROMPT)
        match line.split() if line is not None else ["exit"]:
            case ["exit"]:
                return Ending.LOGOUT
            case ["reboot"]:
                return Ending.REBOOT
            case ["poweroff"]:
                return Ending.HALT
            case words:
                if output := _obey(machine, words):
                    machine.uart.send(output + "\n")


def _obey(machine: Machine, words: list[str]) -> str:
    """Run one command and return what it prints."""
    match words:
        case []:
            return ""
        case ["help"]:
            return HELP.rstrip()
        case ["echo", *rest]:
            return " ".join(rest) or " "
        case ["uname", "-a"]:
            return UNAME
        case ["uname"]:
            return "SimulatedOS"
        case ["cat", "/etc/image"]:
            image = machine.image
            return f"size={image.size}\nsha256={image.sha256}" if image else ""
        case ["cat", path]:
            return f"cat: {path}: No such file or directory"
        case ["button"]:
            return "pressed" if machine.button else "released"
        case ["led"]:
            return "on" if machine.led else "off"
        case ["led", "on" | "off" as state]:
            machine.set_led(state == "on")
            return f"led {state}"
        case ["uptime"]:
            return f"up {machine.uptime:.2f} s"
        case ["stress", *seconds] if len(seconds) < 2:
            return _stress(machine, seconds)
        case _:
            return f"sh: {words[0]}: cannot do that; try 'help'"


def _stress(machine: Machine, seconds: list[str]) -> str:
    """Draw the current of a busy board for some seconds (default 1)."""
    try:
        length = float(seconds[0]) if seconds else 1.0
    except ValueError:
        return f"stress: {seconds[0]} is not a number of seconds"
    machine.busy_until = machine.clock() + length
    return f"busy for {length:g} s"
