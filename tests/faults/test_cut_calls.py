"""Calls, streamed calls and uploads whose connection is reset, closed or cut in mid-frame, in clear text and TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
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

# who is cut off at once, and what the methods note in the end; what the driver does by turns is in several groups
GROUPS: dict[str, dict[str, list[str]]] = {
    "calls": {
        "pending": ["sleep_async ended by CancelledError"],  # the others wait for their turn, and never begin
        "count_async": ["count_async ended by"],
        "streams": ["connect ended by"] * 20,
    },
    "a plain generator": {"count": ["count ended after"]},
    "upload": {"upload": ["upload ended by"]},  # and it must not look complete
    "a plain call": {"sleep": ["sleep ended"]},  # of a method that takes no notice, and ends by itself
}


ARGUMENTS = {"sleep": ["3"]}


def endings(bench: Bench) -> list[str]:
    return sorted(event for event in bench.events() if " ended" in event)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("cut", CUTS)
def test_all_that_is_cut_off_is_told_at_both_ends(start: StartBench, transport: str, cut: str):
    with start(transport) as bench:
        for roles in GROUPS.values():
            bench.record.unlink(missing_ok=True)
            with ExitStack() as stack:
                proxy = stack.enter_context(proxying(bench.address))
                clients = {
                    role: stack.enter_context(bench.role(role, *ARGUMENTS.get(role, ()), address=proxy.address))
                    for role in roles
                }
                assert [client.line(20) for client in clients.values()] == ["busy"] * len(clients)
                wait_for(lambda roles=roles: len(bench.events()) == sum(map(len, roles.values())), 20, bench.events)
                assert endings(bench) == []  # without the fault it goes on
                CUTS[cut](proxy)
                cut_at = time.monotonic()
                for role, client in clients.items():
                    told = client.line(2 * TOLD)
                    assert time.monotonic() - cut_at < TOLD, role
                    assert any(name in told for name in ("ConnectionError", "BrokenResourceError")), (role, told)
                    assert role != "pending" or told.startswith("5*ExporterLost "), told
            ends = sorted(end for ends in roles.values() for end in ends)
            wait_for(lambda ends=ends: len(endings(bench)) == len(ends), TOLD, bench.events)
            assert all(map(str.startswith, endings(bench), ends)), bench.events()
            assert not any(" took " in event for event in bench.events())
        with bench.connected() as client:  # the others are served
            assert client.children["probe"].call("echo", "hello") == "hello"
