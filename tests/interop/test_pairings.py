"""Clients and exporters of ours and of the public release do the same things with each other, in all pairings."""

from __future__ import annotations

from collections.abc import Callable

import matrix
import pytest
from pairings import Pairing, Results
from releases import NEWEST, OLDER, OURS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.alone]

TRANSPORTS = ("unix", "tcp", "tls")

PAIRINGS = [
    *(Pairing(NEWEST, OURS, transport) for transport in TRANSPORTS),
    *(Pairing(OURS, NEWEST, transport) for transport in TRANSPORTS),
    *(Pairing(OLDER, OURS, transport) for transport in ("unix", "tls")),
    *(Pairing(OURS, OLDER, transport) for transport in ("unix", "tls")),
    *(Pairing(OURS, OURS, transport) for transport in TRANSPORTS),
    Pairing(NEWEST, NEWEST, "unix"),  # what the scenarios are held against
]

SCENARIOS = (
    "report",
    "calls",
    "calls_in_parallel",
    "streamed_calls",
    "errors",
    "byte_streams",
    "many_byte_streams",
    "refused_byte_stream",
    "resources",
    "encoded_resources",
    "logs_and_hooks",
    "status",
    "large_messages",
    "end_of_session",
    "lost_exporter",
    "j power",
    "j of a client's own",
    "j that fails",
    "killed client",
)
"""What every pairing is asked to do; some are asked more."""


@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_everything_works(pairing: Pairing, played: Callable[[Pairing], Results]) -> None:
    results = matrix.RESULTS[pairing] = played(pairing)
    failed = [f"{name}: {one.remark}" for name, one in results.items() if one.outcome == "failed"]
    assert not failed, "\n\n".join(failed)
    assert results.keys() >= set(SCENARIOS)
    if pairing.transport == "tcp":
        assert results["keepalive"].outcome == "passed"
