"""A Python client that lives on while its exporter dies and another one starts in its place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from jumpstarter.client.client import connect
from jumpstarter.client.errors import ExporterLost, SessionEnded
from jumpstarter.client.tree import Policy
from processes import wait_for
from proxy import proxying

if TYPE_CHECKING:
    from conftest import StartBench
    from jumpstarter.client import DriverClient

TOLD = 5.0
BACK = 15.0
TRANSPORTS = ("unix", "tcp", "tls")

Call = Callable[["DriverClient"], Any]


def stream(probe: DriverClient) -> bytes:
    with probe.stream() as opened:
        opened.send(b"hello")
        return opened.receive()


# what a client does with the driver, and the answer
CALLS: dict[str, tuple[Call, Any]] = {
    "call": (lambda probe: probe.call("echo", 1), 1),
    "asynchronous call": (lambda probe: probe.portal.call(probe.call_async, "echo", 1), 1),
    "call with a deadline": (lambda probe: probe.portal.call(lambda: probe.call_async("echo", 1, timeout=60)), 1),
    "streaming call": (lambda probe: list(probe.streamingcall("numbers", 3)), [0, 1, 2]),
    "byte stream": (stream, b"hello"),
}


def assert_fails(probe: DriverClient, call: Call, error: type[Exception], *texts: str) -> None:
    """It fails soon, in one line that says what to do."""
    started = time.monotonic()
    with pytest.raises(error) as caught:
        call(probe)
    assert time.monotonic() - started < TOLD
    text = str(caught.value)
    assert "\n" not in text
    assert any(part in text for part in texts), text


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_lives_on_is_told_and_connects_again(start: StartBench, transport: str):
    with start(transport) as first, first.connected() as client:
        probe = client.children["probe"]
        assert [call(probe) for call, _ in CALLS.values()] == [answer for _, answer in CALLS.values()]
        port = first.address.rpartition(":")[2]
        first.process.kill()
        first.process.wait(10)
        for call, _ in CALLS.values():
            assert_fails(probe, call, ExporterLost, "is it still running?", "probe.connect: the exporter is gone")
        with start(transport, listener=("--tls-grpc-listener", port, "--tls-grpc-insecure")) as second:
            assert second.address == first.address
            with second.connected() as again:  # by hand nothing was done but this
                probe_again = again.children["probe"]
                assert [call(probe_again) for call, _ in CALLS.values()] == [answer for _, answer in CALLS.values()]

            for call, _ in CALLS.values():  # each way has a connection of its own
                wait_for(lambda call=call: _knows_the_new_one(probe, call), BACK)
                assert_fails(probe, call, ExporterLost, "connect again: the exporter has started anew")


def _knows_the_new_one(probe: DriverClient, call: Call) -> bool:
    """Whether a call reaches an exporter again, which must not take the client for one of its own."""
    with pytest.raises(ExporterLost) as caught:
        call(probe)
    return caught.value.code == "unknown-driver"


def test_what_a_client_held_of_a_killed_exporter_is_over(start: StartBench, transport: str):
    with start(transport) as first:
        port = first.address.rpartition(":")[2]
        with connect(first.endpoint(), Policy(unsafe=True), hold="a test") as client:
            probe = client.children["probe"]
            assert probe.call("echo", 1) == 1
            first.process.kill()
            first.process.wait(10)
            assert_fails(probe, CALLS["call"][0], ExporterLost, "is it still running?")
            with start(transport, listener=("--tls-grpc-listener", port, "--tls-grpc-insecure")) as second:

                def is_told() -> bool:
                    with pytest.raises((SessionEnded, ExporterLost)) as caught:
                        probe.call("echo", 1)
                    return "again" in str(caught.value)

                wait_for(is_told, BACK)
                with connect(second.endpoint(), Policy(unsafe=True), hold="the next test", wait=TOLD) as again:
                    assert again.children["probe"].call("echo", 1) == 1


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_client_goes_on_after_its_connection_was_cut(start: StartBench, transport: str):
    """The exporter is still the same, so the same client object works again by itself."""
    with start(transport) as bench, proxying(bench.address) as proxy, bench.connected(proxy.address) as client:
        probe = client.children["probe"]
        assert [call(probe) for call, _ in CALLS.values()] == [answer for _, answer in CALLS.values()]
        proxy.freeze()
        proxy.reset()
        proxy.close()
        for call, _ in CALLS.values():
            assert_fails(probe, call, ExporterLost, "is it still running?", "probe.connect: the exporter is gone")
        with proxying(bench.address, port=int(proxy.address.rpartition(":")[2])):

            def works() -> bool:
                try:
                    return [call(probe) for call, _ in CALLS.values()] == [answer for _, answer in CALLS.values()]
                except ExporterLost:
                    return False

            wait_for(works, BACK)
