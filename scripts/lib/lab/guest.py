"""Run one command in the virtual machine of the lab, or in several at once, and end with its status.

    guest.py --kernel DIRECTORY [--timeout SECONDS] [--machines N] -- COMMAND [ARGUMENT...]

It sees this machine's file system under a layer in memory: what the command writes is lost, except in `/run/lab`, and
in `/run/lab-all`, which all machines have. It has no network. The monitor of QEMU (QMP) is in it at
`/dev/virtio-ports/qmp`, for USB devices that QEMU emulates. What the first machine prints is seen as it comes, what the
others print at the end.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

CMDLINE = (
    "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr cryptomgr.notests no_timer_check "
    "random.trust_cpu=on usb_storage.delay_use=0 "
    # a time stamp counter that is calibrated on a busy machine runs several times too fast: tests time out, and the
    # kernel takes its only processor for stuck
    "clocksource=acpi_pm tsc=unstable nowatchdog"
)

PASSED_ON = ("PATH", "LANG", "VIRTUAL_ENV", "HYPOTHESIS_PROFILE", "TERM")


def qemu(kernel: Path, out: Path, shared: Path) -> list[str]:
    """The command line of the machine; `out` is its `/run/lab`, `shared` its `/run/lab-all`."""
    share = "local,security_model=none,multidevs=remap"
    return [
        "qemu-system-x86_64",
        # emulated processor: a /dev/kvm that can be opened need not work, and says so only by hanging
        *("-accel", "tcg,thread=multi", "-m", "1G", "-smp", "1"),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-nic", "none"),
        *("-kernel", str(kernel / "vmlinux"), "-initrd", str(kernel / "initramfs.cpio"), "-append", CMDLINE),
        *("-fsdev", f"{share},id=host,path=/,readonly=on"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        *("-fsdev", f"{share},id=out,path={out}"),
        *("-device", "virtio-9p-pci,fsdev=out,mount_tag=out"),
        *("-fsdev", f"{share},id=all,path={shared}"),
        *("-device", "virtio-9p-pci,fsdev=all,mount_tag=all"),
        *("-device", "qemu-xhci,id=xhci"),
        # the monitor, and a client of it whose other end is a port inside
        *("-chardev", f"socket,id=monitor,path={out}/qmp.sock,server=on,wait=off"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-chardev", f"socket,id=port,path={out}/qmp.sock"),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port,name=qmp"),
    ]


def script(command: list[str]) -> str:
    """What the machine runs."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("JMP_")}
    environment |= {"HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1", "JMP_LAB": "1"}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    lines += ["mkdir /run/lab-all", "mount -t 9p -o trans=virtio,version=9p2000.L all /run/lab-all"]
    return "\n".join([*lines, f"cd {shlex.quote(str(Path.cwd()))}", shlex.join(command), ""])


def run(command: list[str], kernel: Path, timeout: float, machines: int) -> int:
    """Run the command in so many machines; returns the first status that is not 0."""
    with tempfile.TemporaryDirectory(prefix="jmp-lab-") as scratch, ExitStack() as stack:
        end, folders = time.monotonic() + timeout, [Path(scratch) / str(number) for number in range(machines)]
        (shared := Path(scratch) / "all").mkdir()
        started = [stack.enter_context(machine(out, command, kernel, shared)) for out in folders]
        statuses = [status(process, out, end) for process, out in zip(started, folders, strict=True)]
        for out in folders[1:]:
            sys.stdout.write((out / "output").read_text(errors="replace"))
        sys.stdout.flush()
        return next(filter(None, statuses), 0)


@contextmanager
def machine(out: Path, command: list[str], kernel: Path, shared: Path) -> Generator[subprocess.Popen[bytes]]:
    """A machine that runs the command, and is gone afterwards. Of the first one, what it prints is seen."""
    out.mkdir()
    (out / "cmd").write_text(script(command))
    (out / "where").write_text(f"{out}\n")  # for who hands files to QEMU from inside
    with (out / "output").open("wb") as output:
        stdout = None if out.name == "0" else output
        process = subprocess.Popen(qemu(kernel, out, shared), stdin=subprocess.DEVNULL, stdout=stdout)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def status(process: subprocess.Popen[bytes], out: Path, end: float) -> int:
    """What the command has ended with."""
    try:
        process.wait(max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        print("lab: no end in the time that it may take, stopped", file=sys.stderr)  # noqa: T201
        return 124
    if not (file := out / "status").exists():
        print("lab: the virtual machine died", file=sys.stderr)  # noqa: T201
        return 125
    return int(file.read_text())


def _terminated(signum: int, _frame: object) -> NoReturn:
    sys.exit(128 + signum)  # so that the machine ends, too


def main() -> int:
    parser = argparse.ArgumentParser(description="Run one command in the virtual machine of the lab.")
    parser.add_argument("--kernel", type=Path, required=True)
    parser.add_argument("--timeout", type=float, default=900)
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    return run(args.command, args.kernel, args.timeout, args.machines)


if __name__ == "__main__":
    sys.exit(main())
