"""Calls, streamed calls and uploads whose connection is reset, closed or cut in mid-frame, in clear text and TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from processes import wait_for
from proxy import Proxy, proxying

if TYPE_CHECKING:
    from conftest import StartBench
    from processes import Bench

TOLD = 5.0

CUTS: dict[str, Callable[[Proxy], object]] = {
    "reset": Proxy.reset,
    "fin": Proxy.fin,
    "mid-frame": lambda proxy: proxy.cut_after(7),  # a frame has 9 bytes of header, a record of TLS has 5
}

# what the methods note in the end; a plain method runs to its end, and an upload must not look complete
ROLES = {
    "sleep_async": ["sleep_async ended by CancelledError"],
    "pending": ["sleep_async ended by CancelledError"],  # the others wait for their turn, and never begin
    "count": ["count ended after"],
    "count_async": ["count_async ended by"],
    "streams": ["connect ended by"] * 20,
    "upload": ["upload ended by"],
}


def endings(bench: Bench) -> list[str]:
    return [event for event in bench.events() if " ended" in event]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("cut", CUTS)
def test_all_that_is_cut_off_is_told_at_both_ends(start: StartBench, transport: str, cut: str):
    with start(transport) as bench:
        for role, ends in ROLES.items():
            bench.record.unlink(missing_ok=True)
            with proxying(bench.address) as proxy, bench.role(role, address=proxy.address) as client:
                assert client.line(20) == "busy"
                wait_for(bench.events, 10)
                assert endings(bench) == []  # without the fault it goes on
                CUTS[cut](proxy)
                if cut == "mid-frame" and role in ("sleep_async", "pending"):
                    proxy.fin()  # nothing is sent there that could be cut
                cut_at = time.monotonic()
                told = client.line(TOLD + 5)
                assert time.monotonic() - cut_at < TOLD, f"{role}: told after {time.monotonic() - cut_at:.1f} s"
                assert any(name in told for name in ("ConnectionError", "BrokenResourceError")), (role, told)
                if role == "pending":
                    assert told.split()[0] == "5*ExporterLost", told
            wait_for(lambda ends=ends: len(endings(bench)) >= len(ends), TOLD, bench.events)
            assert all(map(str.startswith, endings(bench), ends)), (role, bench.events())
            assert not any(" took " in event for event in bench.events())
        with bench.connected() as client:  # the others are served
            assert client.children["probe"].call("echo", "hello") == "hello"
