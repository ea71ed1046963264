"""After hundreds of thousands of calls and streams and a thousand sessions the exporter is as it was."""

from __future__ import annotations

import json
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

TOTAL = {"calls": 200_000, "streams": 20_000, "sessions": 1000}

WARM_UP = {"calls": 20_000, "streams": 2_000, "sessions": 100}
"""After so many the allocator and the caches have what they keep: the history of the log, compiled patterns, pools."""


def work(bench: Bench, amount: dict[str, int]) -> Counter[str]:
    """Let the clients do so much: calls and streams together, then sessions, which are one's alone."""
    done = Counter[str]()
    shares = {**{kind: number // CLIENTS for kind, number in amount.items()}, "sessions": 0}
    for number, share in ((CLIENTS, shares), (1, {**dict.fromkeys(amount, 0), "sessions": amount["sessions"]})):
        with ExitStack() as stack:
            program = (Path(sys.executable).name, str(HERE / "soak.py"), *map(str, share.values()))
            for client in [stack.enter_context(bench.client(*program)) for _ in range(number)]:
                done.update(json.loads(client.line(230)))
    return done


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_grows(start: StartBench):
    with start("unix") as bench:
        work(bench, WARM_UP)
        with bench.connected() as observer:
            before, memory = bench.census(observer), resident(bench.pid)
        assert work(bench, TOTAL) == TOTAL
        growth = resident(bench.pid) / memory - 1
        with bench.connected() as observer:
            wait_for(
                lambda: not bench.census(observer).exceeds(before), 5, lambda: (before, bench.census(observer), growth)
            )
        assert growth < 0.05, f"{growth:.1%} of {memory >> 20} MiB"
