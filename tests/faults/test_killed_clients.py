"""A client that is killed in the middle of anything leaves nothing behind on the exporter."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import CONFIG, wait_for

if TYPE_CHECKING:
    from processes import Bench

    from tests.conftest import Lab

pytestmark = pytest.mark.alone  # what has to be seen within a second

SOON = 1.0
LEFT = 5.0
"""Seconds until everything is as it was."""

# what each role is killed in, with what its method has to note within a second; a plain method runs to its end
ENDS = {
    "sleep": [],
    "sleep_async": ["sleep_async ended by CancelledError"],
    "pending": ["sleep_async ended by CancelledError"],
    "count": ["count ended after"],
    "count_async": ["count_async ended by"],
    "streams": ["connect ended by"] * 20,
    "upload": ["upload ended by"],
    "logs": [],
}


def kill_in(bench: Bench, role: str) -> None:
    """Kill a client in a role, and check that its methods are told soon."""
    before = len(bench.events())
    arguments = ["0.5"] if role == "sleep" else []
    with bench.role(role, *arguments) as client:
        assert client.line() == "busy"
        wait_for(lambda: role == "logs" or len(bench.events()) > before, 30)
        client.process.kill()

        def told() -> bool:
            endings = [event for event in bench.events()[before:] if " ended" in event]
            return len(endings) >= len(ENDS[role]) and all(map(str.startswith, endings, ENDS[role]))

        wait_for(told, SOON, lambda: bench.events()[before:])


def test_a_call_of_a_killed_client_has_the_driver_until_it_ends(bench: Bench):
    with bench.connected() as other, bench.role("sleep", "1") as client:
        wait_for(bench.events, 30)
        client.process.kill()
        client.process.wait()
        time.sleep(0.2)
        other.children["probe"].call("sleep", 0)
    assert bench.events() == ["sleep began", "sleep ended"] * 2


def test_a_call_that_waits_never_starts_for_a_killed_client(bench: Bench):
    with bench.connected() as other:
        with bench.role("sleep", "1") as first, bench.role("sleep", "1") as second:
            assert (first.line(), second.line()) == ("busy", "busy")
            wait_for(bench.events, 30)
            time.sleep(0.3)  # the second one waits for the first
            first.process.kill()
            second.process.kill()
        other.children["probe"].call("sleep", 0)
    assert bench.events() == ["sleep began", "sleep ended"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("role", ENDS)
def test_nothing_is_left_of_a_client_killed_in(bench: Bench, role: str):
    with bench.connected() as observer:
        for _ in range(2):  # what the exporter takes once, it may keep
            kill_in(bench, role)
        time.sleep(0.6)
        before = bench.census(observer)
        for _ in range(3):
            kill_in(bench, role)
        wait_for(lambda: not bench.census(observer).exceeds(before), LEFT, lambda: (before, bench.census(observer)))
    assert bench.process.poll() is None


def test_the_killed_child_of_a_shell_ends_what_it_was_in(lab: Lab):
    here = Path(__file__).parent
    lab.environment |= {"PYTHONPATH": str(here), "TMPDIR": str(lab.directory)}
    record = lab.directory / "record"
    config = lab.write("faults", CONFIG.format(port=9, record=record))
    script = f"python {here / 'faultclients.py'} sleep_async & echo $! > {lab.directory}/pid; wait $!"
    shell = lab.start("jmp", "shell", "--exporter-config", config, "--", "sh", "-c", script)
    with shell:
        wait_for(lambda: record.exists() and "sleep_async began" in record.read_text(), 30)
        os.kill(int((lab.directory / "pid").read_text()), signal.SIGKILL)
        wait_for(lambda: "sleep_async ended by CancelledError" in record.read_text(), SOON, record.read_text)
        assert shell.wait(LEFT) == 128 + signal.SIGKILL
    left = [path for path in lab.directory.rglob("*") if path.is_socket()]
    assert left == []
