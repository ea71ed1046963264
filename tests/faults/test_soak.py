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

WARM_UP = {"calls": 30_000, "streams": 3_000, "sessions": 100}
"""After so many the allocator and the caches have what they keep: the history of the log, compiled patterns, pools."""


def work(bench: Bench, amount: dict[str, int]) -> Counter[str]:
    """Let the clients do so much together; returns how much they did."""
    shares = [str(number // CLIENTS) for number in amount.values()]
    with ExitStack() as stack:
        clients = [
            stack.enter_context(bench.client(Path(sys.executable).name, str(HERE / "soak.py"), *shares))
            for _ in range(CLIENTS)
        ]
        done = Counter[str]()
        for client in clients:
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
