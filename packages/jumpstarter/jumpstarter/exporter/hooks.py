"""The scripts that run around a lease: one run of one of them, and what its outcome means."""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from anyio import CapacityLimiter, create_task_group, sleep_forever
from anyio.lowlevel import checkpoint_if_cancelled
from anyio.to_thread import run_sync

from ..common import env as names
from ..common.enums import HOOK_WARNING_PREFIX
from ..common.environment import allowed_environment, path_with_commands
from ..common.exceptions import HookFailedError
from ..common.text import printable
from .hookoutput import HookOutput, open_terminal

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ..common.processes import GuardedProcess
    from ..config.hooks import HookConfigV1Alpha1, HookInstanceConfigV1Alpha1

HookExecutionError = HookFailedError
"""By its name in the public release."""

HookKind = Literal["beforeLease", "afterLease"]


class HookedLease(Protocol):
    """What a hook is told of its lease."""

    lease_name: str
    client_name: str
    hook_socket_path: str


MAX_MOTD = 64 * 1024
"""Bytes that a hook may add to the message of the day."""

_DRAIN = 5.0
"""Seconds to read what is still in the terminal once nobody is left who could write to it."""


@dataclass(frozen=True, kw_only=True)
class HookOutcome:
    """How a run of a hook ended, and what has to happen now."""

    kind: HookKind
    action: Literal["continue", "warn", "endLease", "exit"]
    """`continue` after success; else what the configuration wants, but see `is_unrunnable`.

    warn: go on, and show `status_message`. endLease: the lease ends, or without a controller is not given. exit: the
    same, and the exporter stops with status 1.
    """
    message: str = ""
    """What went wrong, in one line; empty after success."""
    is_unrunnable: bool = False
    """It did not even start. Before a lease, `warn` counts as `endLease` then: nothing was done to the board."""
    motd: str = ""
    """What it wrote to JMP_MOTD_FILE."""
    duration: float = 0.0
    """Seconds."""

    @property
    def is_success(self) -> bool:
        """Whether nothing went wrong."""
        return self.action == "continue"

    @property
    def status_message(self) -> str:
        """What the status of the exporter says: the message, marked where it is no more than a warning."""
        return HOOK_WARNING_PREFIX + self.message if self.action == "warn" else self.message


def hook_variables(
    *, host: str, session: str = "", exporter: str = "", lease: str = "", client: str = ""
) -> dict[str, str]:
    """The variables that tell a hook what it runs for: its own socket, the token that admits it there, and names."""
    variables = {
        names.JUMPSTARTER_HOST: host,
        names.JMP_SESSION: session,
        names.JMP_EXPORTER: exporter,
        "LEASE_NAME": lease,
        "CLIENT_NAME": client,
    }
    return {name: value for name, value in variables.items() if value or name in ("LEASE_NAME", "CLIENT_NAME")}


async def run_hook(
    kind: HookKind,
    config: HookInstanceConfigV1Alpha1,
    *,
    env: Mapping[str, str],
    log: logging.Logger | None = None,
) -> HookOutcome:
    """Run a hook to its end, and the end of every process that it started.

    It gets `env` (see `hook_variables`) beside the harmless part of our own environment. Its output goes to `log` line
    by line as it comes, by default to the logger whose lines clients see as the hook's. When this is cancelled, the
    hook is ended and then the cancellation goes on; when this process dies, the hook is ended all the same.
    """
    run = _Run(kind, config, env, log or logging.getLogger(f"hook.{kind}"))
    outcome: HookOutcome | None = None
    async with create_task_group() as tasks:
        await tasks.start(_end_when_cancelled, run)
        outcome = await run_sync(run.run, limiter=CapacityLimiter(1))  # not cancelled itself: it ends with the hook
        tasks.cancel_scope.cancel()
    await checkpoint_if_cancelled()
    assert outcome is not None
    return outcome


@dataclass(kw_only=True)
class HookExecutor:
    """Runs the hooks of a configuration, for somebody who has the leases and serves the devices to the hooks.

    A lease is anything with `lease_name`, `client_name`, and `hook_socket_path`: the unix socket for the hook's `j`.
    """

    config: HookConfigV1Alpha1

    async def execute_before_lease_hook(self, lease_scope: HookedLease) -> str | None:
        """Run the hook before a lease, if there is one; returns what to warn of, None where nothing went wrong.

        Raises HookExecutionError when a failure of this hook is to end the lease, or the exporter.
        """
        return await self._execute("beforeLease", self.config.before_lease, lease_scope)

    async def execute_after_lease_hook(self, lease_scope: HookedLease) -> str | None:
        """The same after a lease."""
        return await self._execute("afterLease", self.config.after_lease, lease_scope)

    async def _execute(
        self, kind: HookKind, config: HookInstanceConfigV1Alpha1 | None, lease: HookedLease
    ) -> str | None:
        if config is None:
            return None
        variables = hook_variables(host=str(lease.hook_socket_path), lease=lease.lease_name, client=lease.client_name)
        outcome = await run_hook(kind, config, env=variables)
        if outcome.action in ("endLease", "exit"):
            raise HookExecutionError(outcome.message)
        return outcome.message or None


def unrunnable(kind: HookKind, config: HookInstanceConfigV1Alpha1, error: OSError) -> HookOutcome:
    """The outcome of a hook that cannot even be started."""
    return _Run(kind, config, {}, logging.getLogger(f"hook.{kind}")).unrunnable(error, 0.0)


async def _end_when_cancelled(run: _Run, *, task_status: TaskStatus[None]) -> None:
    try:
        task_status.started()
        await sleep_forever()
    finally:
        run.end()


class _Run:
    """One run, in a thread of its own; `end` comes from another one."""

    def __init__(
        self, kind: HookKind, config: HookInstanceConfigV1Alpha1, env: Mapping[str, str], log: logging.Logger
    ) -> None:
        self._kind: HookKind = kind
        self._config = config
        self._variables = env
        self._log = log
        self._process: GuardedProcess | None = None
        self._is_unwanted = False
        self._timed_out = False

    def end(self) -> None:
        """Have it ended, if it still runs."""
        self._is_unwanted = True
        if self._process is not None:
            self._process.end()

    def run(self) -> HookOutcome:
        """Run it to its end."""
        started = time.monotonic()
        output = HookOutput(self._log, secrets=[self._variables.get(names.JMP_SESSION, "")])
        try:
            with _motd_file() as motd_file:
                status = self._execute(_command(self._config), self._environment(motd_file), output)
                motd = _read_motd(motd_file)
            problem = self._problem(status)
            if problem and output.last_line:
                problem += f"; its last words: {output.last_line[:200]}"
        except OSError as e:
            return self.unrunnable(e, time.monotonic() - started)
        return self._outcome(problem, False, motd, time.monotonic() - started)

    def unrunnable(self, error: OSError, duration: float) -> HookOutcome:
        """Its outcome where it cannot even be started."""
        what = f"{error.filename}: " if error.filename else ""
        problem = f"cannot run: {what}{error.strerror or error}; check hooks.{self._kind}"
        return self._outcome(problem, True, "", duration)

    def _outcome(self, problem: str, is_unrunnable: bool, motd: str, duration: float) -> HookOutcome:
        message = printable(f"{self._kind} hook {problem}") if problem else ""
        action = self._config.on_failure if problem else "continue"
        if is_unrunnable and self._kind == "beforeLease" and action == "warn":
            action = "endLease"
        if problem:
            self._log.warning("%s", message)
        return HookOutcome(
            kind=self._kind, action=action, message=message, is_unrunnable=is_unrunnable, motd=motd, duration=duration
        )

    def _environment(self, motd_file: Path) -> dict[str, str]:
        environment = allowed_environment(self._config.pass_environment)
        environment |= {
            "TERM": "dumb",
            "DEBIAN_FRONTEND": "noninteractive",
            "GIT_TERMINAL_PROMPT": "0",
            names.JMP_DRIVERS_ALLOW: "UNSAFE",
            names.JMP_SUPPRESS_DRIVER_WARNINGS: "1",
            **self._variables,
            "PATH": path_with_commands(environment),
        }
        environment.pop("PS1", None)
        if self._kind == "beforeLease":
            environment["JMP_MOTD_FILE"] = str(motd_file)
        return environment

    def _execute(self, argv: list[str], environment: dict[str, str], output: HookOutput) -> int:
        """Start the command on a terminal, follow what it writes, and return how it ended once its family is gone."""
        from ..common.processes import GuardedProcess

        with open_terminal() as (ours, theirs):
            try:
                process = GuardedProcess(
                    argv, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, terminal=True
                )
            finally:
                os.close(theirs)  # reading ends when the hook's family, which has it too, is gone
            with process:
                self._process = process
                if self._is_unwanted:  # since before there was a process
                    process.end()
                self._follow(process, ours, output)
                output.drain(ours, _DRAIN)
                if process.left:
                    self._log.warning("the hook's processes %s could not be ended", process.left)
                return process.wait(0)

    def _follow(self, process: GuardedProcess, ours: int, output: HookOutput) -> None:
        """Read the output until nobody is left who could write any; end the hook when its time is over."""
        deadline: float | None = time.monotonic() + self._config.timeout
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(ours, select.POLLIN)
        is_open = True
        while not process.is_gone:
            if process.poll() is not None:
                deadline = None
            patience = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = {fd for fd, _ in poll.poll(None if patience is None else int(patience * 1000) + 1)}
            if is_open and ours in ready and not output.read(ours):
                poll.unregister(ours)
                is_open = False
            if deadline is not None and time.monotonic() >= deadline and process.poll() is None:
                self._timed_out, deadline = True, None
                process.end()

    def _problem(self, status: int) -> str:
        """What is wrong with the way in which it ended; empty if nothing is."""
        if self._timed_out:
            return f"timed out after {self._config.timeout} s (hooks.{self._kind}.timeout)"
        if self._is_unwanted:
            return "was cancelled"
        if status < 0:
            with suppress(ValueError):
                return f"failed: killed by {signal.Signals(-status).name}"
            return f"failed: killed by signal {-status}"
        return f"failed: exit status {status}" if status else ""


def _command(config: HookInstanceConfigV1Alpha1) -> list[str]:
    """The command line of a hook. Raises OSError when its interpreter or its file cannot be used."""
    file = _file(config.script)
    interpreter = config.exec_
    if interpreter is None:
        interpreter = sys.executable if file is not None and file.endswith(".py") else "/bin/sh"
    if file is not None:
        with open(file, "rb"):  # noqa: PTH123 raises, where the interpreter would end with some status
            pass
        return [interpreter, file]
    return [interpreter, "-c", config.script]


def _file(script: str) -> str | None:
    """The path, if a script is nothing but the path of a file."""
    path = script.strip()
    if not path or "\n" in path:
        return None
    try:
        return path if stat.S_ISREG(os.stat(path).st_mode) else None  # noqa: PTH116 it may be no path at all
    except (OSError, ValueError):
        return None


@contextmanager
def _motd_file() -> Generator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="jumpstarter-hook-"))
    try:
        yield directory / "motd"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _read_motd(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return printable(file.read(MAX_MOTD).decode(errors="replace"))
    return ""
