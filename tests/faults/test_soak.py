"""After hundreds of thousands of calls and streams and a thousand sessions the exporter is as it was.

So many with JMP_TEST_NIGHTLY in the environment; a fifth of them without.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import HERE, Bench, resident, wait_for

if TYPE_CHECKING:
    from conftest import StartBench

CLIENTS = 2
"""Processes at once; the rest of the machine is the exporter's."""

WHOLE = {"calls": 200_000, "streams": 20_000, "sessions": 1000}

TOTAL = WHOLE if os.environ.get("JMP_TEST_NIGHTLY") else {kind: number // 5 for kind, number in WHOLE.items()}

WARM_UP = {"calls": 10_000, "streams": 1_000, "sessions": 50}
"""After some rounds allocator and caches have what they keep: the history of the log, compiled patterns, pools."""


def work(bench: Bench, amount: dict[str, int]) -> Counter[str]:
    """Let the clients do so much: calls and streams together, then sessions, which are one's alone."""
    done = Counter[str]()
    shares = {**{kind: number // CLIENTS for kind, number in amount.items()}, "sessions": 0}
    for number, share in ((CLIENTS, shares), (1, {**dict.fromkeys(amount, 0), "sessions": amount["sessions"]})):
        with ExitStack() as stack:
            program = (Path(sys.executable).name, str(HERE / "soak.py"), *map(str, share.values()))
            for client in [stack.enter_context(bench.client(*program)) for _ in range(number)]:
                done.update(json.loads(client.line(500)))
    return done


def warm_up(bench: Bench) -> int:
    """Work until that takes no more memory, which is how much the exporter has then."""
    memory = 0
    for _ in range(5):
        work(bench, WARM_UP)
        memory, before = resident(bench.pid), memory
        if memory < 1.01 * before:
            break
    return memory


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_grows(start: StartBench):
    with start("unix") as bench:
        memory = warm_up(bench)
        with bench.connected() as observer:
            before = bench.census(observer)
        assert work(bench, TOTAL) == TOTAL
        growth = resident(bench.pid) / memory - 1
        with bench.connected() as observer:
            wait_for(
                lambda: not bench.census(observer).exceeds(before), 5, lambda: (before, bench.census(observer), growth)
            )
        assert growth < 0.05, f"{growth:.1%} of {memory >> 20} MiB"
