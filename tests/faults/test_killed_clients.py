"""A client that is killed in the middle of anything leaves nothing behind on the exporter."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import CONFIG, wait_for

if TYPE_CHECKING:
    from conftest import StartBench
    from processes import Bench

    from tests.conftest import Lab

pytestmark = pytest.mark.alone  # what has to be seen within a second

SOON = 1.0
LEFT = 5.0
"""Seconds until everything is as it was."""

# who is killed at once in what, with what each method has to note within a second; what the driver does by turns is in
# several groups; a plain method runs to its end
GROUPS: dict[str, dict[str, list[str]]] = {
    "calls": {
        "pending": ["sleep_async ended by CancelledError"],  # the others wait for their turn, and never begin
        "count_async": ["count_async ended by"],
        "streams": ["connect ended by"] * 20,
    },
    "an asynchronous call": {"sleep_async": ["sleep_async ended by CancelledError"]},
    "a plain generator": {"count": ["count ended after"]},
    "upload": {"upload": ["upload ended by"]},
    "a plain call": {"sleep": ["sleep ended"]},
    "a log": {"logs": []},
}


def kill_in(bench: Bench, group: str) -> None:
    """Kill the clients of a group, and check that their methods are told soon."""
    before, roles = len(bench.events()), GROUPS[group]
    expected = sorted(end for ends in roles.values() for end in ends)
    with ExitStack() as stack:
        clients = [stack.enter_context(bench.role(role, *(["0.5"] if role == "sleep" else []))) for role in roles]
        assert [client.line() for client in clients] == ["busy"] * len(clients)
        wait_for(lambda: len(bench.events()) == before + len(expected), 30, lambda: bench.events()[before:])
        assert endings(bench, before) == [] or group == "a plain call"  # without the fault it goes on
        for client in clients:
            client.process.kill()

        def told() -> bool:
            ends = endings(bench, before)
            return len(ends) >= len(expected) and all(map(str.startswith, ends, expected))

        wait_for(told, SOON, lambda: bench.events()[before:])


def endings(bench: Bench, since: int) -> list[str]:
    return sorted(event for event in bench.events()[since:] if " ended" in event)


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
@pytest.mark.parametrize("transport", ["unix", "tcp", "tls"])
def test_nothing_is_left_of_killed_clients(start: StartBench, transport: str):
    with start(transport) as bench, bench.connected() as observer:
        for _ in range(2):  # what the exporter takes once, it may keep
            for group in GROUPS:
                kill_in(bench, group)
        time.sleep(0.6)
        before = bench.census(observer)
        for group in GROUPS:
            kill_in(bench, group)
            wait_for(
                lambda: not bench.census(observer).exceeds(before),
                LEFT,
                lambda group=group: (group, before, bench.census(observer)),
            )
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
