"""Commands as users have them: an exporter in a process of its own, `j`, and real terminals."""

import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

J = (sys.executable, "-c", "from jumpstarter.cli.start import j; j()")
JMP = (sys.executable, "-c", "from jumpstarter.cli.start import jmp; jmp()")

PATIENCE = 30.0
"""Seconds after which something that should happen did not."""


class Commands:
    """`j` for the devices of an exporter, which has a runtime and a state directory of its own."""

    def __init__(self, folder: Path, export: str) -> None:
        """`export` is the YAML of the devices, indented; `folder` has a short path, since a socket's has to fit.

        Returns when the exporter is ready. Raises AssertionError with its output where it ends before.
        """
        ours = ("JMP_", "JUMPSTARTER_", "XDG_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment |= {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder), "TERM": "xterm"}
        self.environment["JMP_LOCK_DIR"] = str(folder)  # a pty that is gone may be somebody else's by now
        config = folder / "lab.yaml"
        config.write_text(
            "apiVersion: jumpstarter.dev/v1alpha1\nkind: ExporterConfig\nmetadata: {namespace: default, name: lab}\n"
            f"export:\n{export}"
        )
        self._exporter = subprocess.Popen(
            [*JMP, "run", "--exporter-config", str(config)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        """What the exporter has said."""
        assert self._exporter.stderr is not None
        for line in self._exporter.stderr:
            self.lines.append(line)
            if " is ready on " in line:
                break
        else:
            raise AssertionError(f"the exporter ended with {self._exporter.wait(PATIENCE)}: {self.lines}")
        self._reader = threading.Thread(target=lambda: self.lines.extend(self._exporter.stderr or ()), daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """End the exporter."""
        self._exporter.terminate()
        self._exporter.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._exporter.stderr is not None
        self._exporter.stderr.close()

    def run(self, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run `j …` to its end."""
        return subprocess.run(
            [*J, *arguments], env=self.environment, input=input, capture_output=True, timeout=PATIENCE, check=False
        )

    def output(self, *arguments: str, input: bytes = b"") -> str:
        """What `j …` prints; AssertionError where it fails."""
        done = self.run(*arguments, input=input)
        assert done.returncode == 0, (done.stderr, self._exporter.poll(), self.lines)
        return done.stdout.decode()

    def start(self, *arguments: str, until: bytes) -> subprocess.Popen[bytes]:
        """Start `j …`, and wait until it has said a line on its standard error."""
        process = subprocess.Popen(
            [*J, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said == until + b"\n", (said, self.lines)
        return process

    @contextmanager
    def terminal(self, *arguments: str) -> "Generator[Terminal]":
        """`j …` on a terminal of its own, until the context ends."""
        terminal = Terminal([*J, *arguments], self.environment)
        try:
            yield terminal
        finally:
            terminal.close()


class Terminal:
    """A command on a terminal that controls it, as a shell's does: closing it is told by SIGHUP."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        with ExitStack() as opened:
            self.fd, inside = pty.openpty()
            opened.callback(os.close, inside)
            self.before = termios.tcgetattr(self.fd)
            self.process = subprocess.Popen(
                ["setsid", "--ctty", *command], env=environment, stdin=inside, stdout=inside, stderr=inside
            )
            self._inside = os.dup(inside)
            """Kept open: what a command has printed stays when it has ended."""

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.fd, keys)

    def read_until(self, text: bytes) -> bytes:
        """What is shown, up to a text and what came with it; AssertionError says what came instead."""
        deadline = time.monotonic() + PATIENCE
        read = b""
        while text not in read:
            ready = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"no {text!r} in {read!r}"
            read += os.read(self.fd, 4096)
        return read

    def read_to_end(self) -> bytes:
        """What is shown until the command has ended; AssertionError where it does not end."""
        deadline = time.monotonic() + PATIENCE
        read = b""
        while True:
            has_ended = self.process.poll() is not None
            assert has_ended or time.monotonic() < deadline, f"it still runs: {read!r}"
            while select.select([self.fd], [], [], 0 if has_ended else 0.02)[0]:
                read += os.read(self.fd, 4096)
            if has_ended:
                return read

    def is_as_before(self) -> bool:
        """Whether its settings are those from before the command."""
        return termios.tcgetattr(self.fd) == self.before

    def hang_up(self) -> None:
        """Close it under the command, as a window is closed."""
        for fd in (self._inside, self.fd):
            with suppress(OSError):
                os.close(fd)

    def close(self) -> None:
        """End the command, if it has not, and close."""
        self.process.kill()
        self.process.wait()
        self.hang_up()
