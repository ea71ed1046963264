"""Behind the scenes of the demo: processes, their output, and a private place for them."""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType

import click

PATIENCE = 15.0
"""Seconds that a command may take."""


class DemoError(Exception):
    """A step did not do what it should; the text says which, and what it said instead."""


class Process:
    """A command in the background, whose lines on stderr are collected."""

    def __init__(self, command: str, environment: dict[str, str], folder: Path) -> None:
        self.command = command
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._popen = subprocess.Popen(
            _arguments(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self._output: list[str] = []
        self._threads = [
            threading.Thread(target=self._collect_output, daemon=True),
            threading.Thread(target=self._collect_lines, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, text: str) -> str:
        """Return the first line on stderr that has `text` in it."""
        seen: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except Empty:
                line = ""
            seen.append(line)
            if text in line:
                return line
            if not line:
                raise DemoError(f"{self.command}: {' '.join(seen).strip() or 'no answer'}")

    def finish(self) -> str:
        """Wait for the end and return the output; raises DemoError unless the status is 0."""
        try:
            status = self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.stop()
            raise DemoError(f"{self.command}: not finished after {PATIENCE:g} s") from None
        self._join()
        if status != 0:
            said = [self._lines.get() for _ in range(self._lines.qsize())]
            raise DemoError(f"{self.command}: status {status}: {''.join(said).strip()}")
        return "".join(self._output)

    def stop(self) -> None:
        """End the command, whatever it does."""
        self._popen.terminate()
        try:
            self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._join()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(1)  # a grandchild may keep a pipe open
        for pipe in (self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()

    def _collect_output(self) -> None:
        assert self._popen.stdout is not None
        with suppress(ValueError):
            for line in self._popen.stdout:
                self._output.append(line)

    def _collect_lines(self) -> None:
        assert self._popen.stderr is not None
        with suppress(ValueError):
            for line in self._popen.stderr:
                self._lines.put(line)
        self._lines.put("")


class Backstage:
    """A private directory with the files and the socket of the demo, and its exporter."""

    folder: Path
    """Where the commands run."""

    environment: dict[str, str]
    """What they find in their environment."""

    def __enter__(self) -> "Backstage":
        self._temporary = tempfile.TemporaryDirectory(prefix="jmp-demo-")
        self.folder = Path(self._temporary.name)
        self.environment = _environment(self.folder)
        self._exporter: Process | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exporter is not None:
            self._exporter.stop()
        self._temporary.cleanup()

    def show(self, command: str, output: str = "") -> None:
        """Print a command and its output as a terminal would."""
        click.secho(f"$ {command}", fg="cyan")
        if output:
            click.echo(_tidy(output))

    def run(self, command: str, *, expect: str = "") -> None:
        """Run a command and show it with its output, in which `expect` must be."""
        output = Process(command, self.environment, self.folder).finish()
        self.show(command, output)
        _check(command, output, expect)

    def start_exporter(self, command: str) -> None:
        """Start the exporter and wait until it is ready."""
        self._exporter = Process(command, self.environment, self.folder)
        self.show(f"{command} &", self._exporter.wait_for(" is ready "))

    @contextmanager
    def console(self, until: str, *, expect: str = "") -> Generator[None]:
        """Have the console open in the background meanwhile; what it printed up to `until` is shown at the end."""
        command = f"j board console pipe --until {shlex.quote(until)} --timeout 10"
        process = Process(command, self.environment, self.folder)
        try:
            process.wait_for("console open")
            self.show(f"{command} &")
            yield
            output = process.finish()
        except BaseException:
            process.stop()
            raise
        click.echo(_tidy(output))
        _check(command, output, expect)

    def open_shell(self, command: str) -> None:
        """Give the terminal to a shell."""
        self.show(command)
        subprocess.run(_arguments(command), cwd=self.folder, env=self.environment, check=False)


def _arguments(command: str) -> list[str]:
    """Return what to run: our commands by this very Python, also where no directory of PATH has them."""
    program, *arguments = (sys.executable if word == "python" else word for word in shlex.split(command))
    return [sys.executable, "-c", f"from jumpstarter.cli.{program} import main; main()", *arguments]


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of all commands: as it is, but with no exporter other than ours in sight."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JMP_", "JUMPSTARTER_"))}
    path = os.pathsep.join((sysconfig.get_path("scripts"), kept.get("PATH", os.defpath)))
    return kept | {"PATH": path, "XDG_RUNTIME_DIR": str(folder)}


def _tidy(output: str) -> str:
    """Return output as a terminal shows it, without the blanks at the end of lines."""
    return "\n".join(line.rstrip() for line in output.strip().splitlines())


def _check(command: str, output: str, expected: str) -> None:
    if expected not in output:
        raise DemoError(f"{command}: no {expected!r} in what it printed")
