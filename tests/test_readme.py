"""The READMEs are true: what they show is run, in order, one README after another in an empty directory.

A fenced block says by its info string what is done with it:

    ```console              commands behind `$ `, run by bash. They have to end with status 0, unless `$ echo $?` and a
                            number follow. Output that is shown is compared; a command that shows none may say anything.
    ```yaml title="x.yaml"  a file, and if it is an ExporterConfig, one that `jmp config check` accepts
    ... title="x.yaml" wrong    the same, but one that it does not accept
    ```yaml                 an ExporterConfig that is served to each block that follows, afresh
    ```python title="x.py"  a file
    ```python               a script, which has `client` where an exporter is served
    others                  only for the reader

In output, `…` stands for any text within a line, and a line of nothing but `…` for any lines. Numbers with a point and
digests vary, so they are not compared. `jmp run` goes on until the end of the README, `forward-tcp` until the end of
its block; both have to end in order when they are interrupted there. Port 8080 is some free port, /tmp the directory of
the README, and there is a file image.img.
"""

import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]

NOT_RUN = {
    r"scripts/test\b": "this is part of it",
    r"pip install\b": "wheels are installed by other tests",
    r"jmp demo\b": "scripts/demo runs it",
}
SERVES = re.compile(r"\bjmp run\b|\bforward-(tcp|unix)\b")
PATIENCE = 60.0
"""Seconds until a command counts as stuck."""

EMULATED = """\
import sys
if "run" in sys.orig_argv:  # the process of an exporter
    from pathlib import Path
    from jumpstarter.usb import use_host
    from jumpstarter_testing.usb.bench import FakeBench
    from jumpstarter_testing.usb.dutlink import DutlinkBoard
    from jumpstarter_testing.usb.sdwire import SdWireBoard
    from jumpstarter_testing.usb.storage import MassStorage
    bench = FakeBench()
    entered = use_host(bench.host)
    entered.__enter__()
    medium = bench.root / "medium"
    medium.write_bytes(bytes(1 << 20))
"""
"""Run by Python before anything else: it plugs in the hardware that a README is of."""

HARDWARE = {
    "jumpstarter-driver-gpio": """\
    import threading, time
    from jumpstarter_driver_gpio import chips
    from jumpstarter_testing.gpio import FakeGpioChip
    chip = FakeGpioChip(bench.root / "gpiochip9", label="pinctrl-rp1", lines=28, names={17: "GPIO17"})
    chip.__enter__()
    chips.chip_paths = lambda: [chip.path]
    def blink():
        while True:
            for up in (True, False):
                time.sleep(0.25)
                chip.pull(27, up=up)
    threading.Thread(target=blink, daemon=True).start()
""",
    "jumpstarter-driver-dutlink": "    bench.plug(DutlinkBoard('c415a913', stick=MassStorage(medium)))\n",
    "jumpstarter-driver-sdwire": (
        "    board = SdWireBoard('sd-wire_01', card=medium)\n    bench.plug(board.reader)\n    bench.plug(board)\n"
    ),
}

WITH_CLIENT = """\
import sys
from jumpstarter.utils.env import env
with env() as client, open(sys.argv[1]) as file:
    exec(compile(file.read(), sys.argv[1], "exec"), {"__name__": "__main__", "client": client})
"""


@dataclass
class Block:
    """A fenced block of a README."""

    language: str
    info: str
    text: str
    line: int

    @property
    def title(self) -> str | None:
        found = re.search(r'title="([^"]+)"', self.info)
        return found[1] if found else None


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks, in order."""
    for found in re.finditer(r"^```(\w+)(.*)\n((?s:.*?))^```$", text, flags=re.MULTILINE):
        yield Block(found[1], found[2], found[3], text.count("\n", 0, found.start()) + 1)


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a transcript, each with the lines that are shown below it."""
    command, shown = "", list[str]()
    for line in text.splitlines():
        if line.startswith("$ ") and not shown_by_demo(command):
            if command:
                yield command, shown
            command, shown = line[2:], []
        elif command.endswith("\\"):
            command += f"\n{line}"
        else:
            shown.append(line)
    yield command, shown


def shown_by_demo(command: str) -> bool:
    """Whether what follows is output although it looks like commands: the demo prints some."""
    return command == "scripts/demo"


def normal(line: str) -> str:
    """A line without what varies."""
    line = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", line.rstrip())
    return re.sub(r"\d+\.\d+(?!\.)\b", "NUMBER", line)


def pattern(shown: list[str]) -> re.Pattern[str]:
    """What output has to look like."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(normal(line)).replace("…", r"[^\n]*") + r"\n" for line in shown
    ]
    return re.compile("".join(lines))


def is_as_shown(output: str, shown: list[str]) -> bool:
    said = "".join(f"{normal(line)}\n" for line in output.strip("\n").splitlines())
    return pattern(shown).fullmatch(said) is not None


class Background:
    """A command that goes on, and what it has said."""

    def __init__(self, command: str, directory: Path, environment: dict[str, str]) -> None:
        self.command = command
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def wait_until_it_said(self, shown: list[str]) -> None:
        """Wait for the lines that are shown; without any, for the first one."""
        deadline = time.monotonic() + PATIENCE
        while not (is_as_shown(self.said, shown) if shown else self.said):
            try:
                line = self._lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"{self.command}\nsaid:\n{self.said}\ninstead of:\n" + "\n".join(shown)
            self.said += line

    def interrupt(self) -> None:
        """Ctrl-C; it has to end in order."""
        self.process.send_signal(signal.SIGINT)
        try:
            assert self.process.wait(PATIENCE) in (0, 130), f"{self.command}\nsaid:\n{self.said}"
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(PATIENCE)


@dataclass
class Reader:
    """Somebody who tries what a README says, line by line."""

    directory: Path
    environment: dict[str, str]
    stack: ExitStack
    served: str | None = field(default=None, init=False)
    """The configuration that the blocks have an exporter of."""

    status: int = field(default=0, init=False)

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        with ExitStack() as stack:
            if self.served is not None and block.language in ("console", "python"):
                self.start(f"jmp run --exporter-config {self.served}", ["exporter … is ready on …"], stack)
            self._follow(block, stack)

    def _follow(self, block: Block, stack: ExitStack) -> None:
        match block.language:
            case "console":
                for command, shown in commands(block.text):
                    self.type(command, shown, stack)
                self.expect(0, block.text)
            case "yaml" | "yml":
                self.write(block.title or "exporter.yaml", block.text)
                if "kind: ExporterConfig" in block.text:
                    self.configure(block)
            case "python" if block.title:
                self.write(block.title, block.text)
            case "python":
                path = self.write("block.py", block.text)
                if self.served is not None:
                    self.run(["jmp", "shell", "--", "python", "-c", WITH_CLIENT, str(path)])
                else:
                    self.run(["python", str(path)])
                self.expect(0, block.text)
            case _:
                pass

    def configure(self, block: Block) -> None:
        name = block.title or "exporter.yaml"
        said = self.run(["jmp", "config", "check", name], PYTHONPATH=".")
        assert self.status == (65 if "wrong" in block.info else 0), said
        self.status = 0
        if block.title is None:
            self.served = name

    def type(self, command: str, shown: list[str], block: ExitStack) -> None:
        """Run one command of a transcript and compare what it says."""
        if command == "echo $?":
            assert shown == [str(self.status)]
            self.status = 0
            return
        self.expect(0, command)
        if any(re.match(prefix, command) for prefix in NOT_RUN):
            return
        if SERVES.search(command):
            self.start(command, shown, self.stack if "jmp run" in command else block)
            return
        said = self.run(["bash", "-c", as_here(command)])
        if shown:
            assert is_as_shown(said, shown), f"$ {command}\n{said}\n-- instead of --\n" + "\n".join(shown)

    def expect(self, status: int, what: str) -> None:
        assert self.status == status, f"status {self.status} of the command before:\n{what}"

    def run(self, argv: list[str], **environment: str) -> str:
        """The output of a command that ends."""
        done = subprocess.run(
            argv,
            cwd=self.directory,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.status = done.returncode
        if done.returncode:
            sys.stdout.write(done.stdout)  # pytest shows it, should the status not be the expected one
        return done.stdout

    def start(self, command: str, shown: list[str], stack: ExitStack) -> None:
        """Start a command that goes on until the stack ends it."""
        background = Background(re.sub(r"\s#.*", "", command), self.directory, self.environment)
        stack.callback(background.interrupt)
        background.wait_until_it_said(shown)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path


def as_here(command: str) -> str:
    """The scripts of the checkout, run from elsewhere; the demo without the installation if this is not its venv."""
    if Path(sys.prefix) != ROOT / ".venv":
        return command.replace("scripts/demo", "jmp demo")
    return re.sub(r"^scripts/", f"{ROOT}/scripts/", command)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def reader() -> Generator[Reader]:
    """A reader with an empty directory and home, and with the commands of this environment."""
    ours = ("JMP_", "_JMP", "JUMPSTARTER_", "GRPC_", "XDG_", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools/bin"))
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout if uv else ""
    with tempfile.TemporaryDirectory(prefix="jmp") as name, ExitStack() as stack:  # short: a socket's path has to fit
        directory = Path(name)
        (directory / "image.img").write_bytes(b"an image")
        (directory / "home").mkdir()
        environment |= {
            "HOME": str(directory / "home"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(directory),
            "UV_CACHE_DIR": cache.strip(),
            "UV_OFFLINE": "1",
            "JMP_LOCK_DIR": str(directory),
        }
        yield Reader(directory, environment, stack)


@pytest.mark.slow
@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name if path.parent != ROOT else "root")
def test_what_a_readme_shows_is_so(path: Path) -> None:
    text = path.read_text().replace("8080", str(free_port()))
    with reader() as somebody:
        if (hardware := HARDWARE.get(path.parent.name)) is not None:
            somebody.write("home/sitecustomize.py", EMULATED + hardware)
            somebody.environment["PYTHONPATH"] = str(somebody.directory / "home")
        for block in blocks(text.replace("/tmp/", f"{somebody.directory}/")):
            somebody.follow(block)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name if path.parent != ROOT else "root")
def test_links_of_a_readme_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif "://" not in target:
            assert (path.parent / target).exists(), target


def test_every_package_is_in_the_root_readme() -> None:
    listed = set(re.findall(r"\]\(packages/([^/]+)/README.md\)", (ROOT / "README.md").read_text()))
    assert listed == {path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")}


class TestReading:
    """What this file itself does with a README."""

    def test_output_may_differ_only_where_it_varies(self) -> None:
        shown = ["5.025 V", "…", "on …/lab.sock; go"]
        assert is_as_shown("5.1 V\na\nb\non /run/x/lab.sock; go\n", shown)
        assert is_as_shown("5.1 V\non /run/x/lab.sock; go\n", shown)
        assert not is_as_shown("5.1 W\non /run/x/lab.sock; go\n", shown)
        assert not is_as_shown("5.1 V\non /run/x/lab.sock; go\nmore\n", shown)

    def test_a_transcript_is_taken_apart(self) -> None:
        assert list(commands("$ a\n$ b \\\n  c\nsays\nthis\n")) == [("a", []), ("b \\\n  c", ["says", "this"])]

    def test_blocks_are_found_with_their_titles(self) -> None:
        [one, other] = blocks('text\n```yaml title="x.yaml" wrong\na: 1\n```\n\n```python\npass\n```\n')
        assert (one.language, one.title, one.text, one.line) == ("yaml", "x.yaml", "a: 1\n", 2)
        assert (other.language, other.title, other.text) == ("python", None, "pass\n")
