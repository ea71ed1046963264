"""A stream that is cut anywhere ends with an error at both ends, soon, and never looks like the end of the data."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from peers import BLOCK, PATIENCE, dial, end_of, reset
from processes import wait_for
from proxy import Proxy, proxying

if TYPE_CHECKING:
    from conftest import StartBench
    from processes import Bench, Client

pytestmark = pytest.mark.alone  # what has to be seen within a second

SOON = 1.0
"""Seconds until the other side has to know."""


@dataclass
class Tunnel:
    """A local program's connection to a service, through client and exporter."""

    bench: Bench
    client: Client
    local: socket.socket
    remote: socket.socket
    """The service's end."""
    proxy: Proxy | None

    def check(self) -> None:
        """Bytes pass both ways."""
        for one, other in ((self.local, self.remote), (self.remote, self.local)):
            one.sendall(b"hello")
            assert other.recv(5, socket.MSG_WAITALL) == b"hello"


OpenTunnel = Callable[..., AbstractContextManager[Tunnel]]


@pytest.fixture
def tunnel(start: StartBench) -> OpenTunnel:
    """Open a tunnel: `tunnel(transport)`. It is the second of its forward, in the call that the first one has left."""

    @contextmanager
    def opened(transport: str, *, by_proxy: bool = False) -> Generator[Tunnel]:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            start(transport, listener.getsockname()[1]) as bench,
            proxying(bench.address) if by_proxy else nullcontext() as proxy,
            bench.forward(address=proxy.address if proxy else None) as (client, port),
            _after_another(port, listener),
            dial(port) as local,
            listener.accept()[0] as remote,
        ):
            remote.settimeout(PATIENCE)
            opened = Tunnel(bench, client, local, remote, proxy)
            opened.check()
            yield opened

    return opened


@contextmanager
def _after_another(port: int, listener: socket.socket) -> Generator[None]:
    """When a connection has come and gone in order."""
    with dial(port) as local, listener.accept()[0] as remote:
        local.sendall(b"hello")
        assert remote.recv(5, socket.MSG_WAITALL) == b"hello"
        for one, other in ((local, remote), (remote, local)):
            one.shutdown(socket.SHUT_WR)
            assert other.recv(1) == b""
    yield


def send_until_broken(sock: socket.socket) -> BaseException:
    block = b"x" * BLOCK
    while True:
        try:
            sock.sendall(block)
        except OSError as e:
            return e


def watch(
    pool: ThreadPoolExecutor, sock: socket.socket, function: Callable[[socket.socket], BaseException | None]
) -> Future[tuple[BaseException | None, float]]:
    """How a connection ends, and when."""
    return pool.submit(lambda: (function(sock), time.monotonic()))


FLOWS = {
    "idle": (end_of, end_of),
    "upload": (send_until_broken, end_of),
    "download": (end_of, send_until_broken),
}
"""What the local program and the service do meanwhile."""


def break_and_watch(tunnel: Tunnel, flow: str, fault: Callable[[], object], ends: str = "local remote") -> None:
    """Both ends, or the one that is named, have to see an error soon."""
    local, remote = FLOWS[flow]
    with ThreadPoolExecutor() as pool:
        futures: dict[str, Future[tuple[BaseException | None, float]]] = {}
        if "local" in ends:
            futures["local"] = watch(pool, tunnel.local, local)
        if "remote" in ends:
            futures["remote"] = watch(pool, tunnel.remote, remote)
        time.sleep(0.3 if flow != "idle" else 0.1)  # the transfer is in its middle
        assert not any(future.done() for future in futures.values())
        broken = time.monotonic()
        fault()
        for name, future in futures.items():
            error, ended = future.result(60)
            assert isinstance(error, ConnectionResetError | BrokenPipeError), f"{name} saw {error!r}"
            assert ended - broken < SOON, f"{name} saw it after {ended - broken:.2f} s"


def test_without_a_fault_both_ends_see_a_clean_end(tunnel: OpenTunnel, transport: str):
    with tunnel(transport) as through:
        for one, other in ((through.local, through.remote), (through.remote, through.local)):
            one.sendall(b"x" * 3 * BLOCK)
            one.shutdown(socket.SHUT_WR)
            assert end_of(other) is None


@pytest.mark.parametrize("flow", FLOWS)
def test_a_killed_exporter_breaks_it(tunnel: OpenTunnel, transport: str, flow: str):
    with tunnel(transport) as through:
        break_and_watch(through, flow, through.bench.process.kill)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_killed_client_breaks_it(tunnel: OpenTunnel, transport: str, flow: str):
    with tunnel(transport) as through:
        break_and_watch(through, flow, through.client.process.kill)


@pytest.mark.parametrize("flow", ["idle", "download"])
def test_a_service_that_is_gone_breaks_it(tunnel: OpenTunnel, transport: str, flow: str):
    def vanish() -> None:
        through.remote.setblocking(True)
        reset(through.remote)

    with tunnel(transport) as through:
        if flow == "download":
            through.remote.sendall(b"x" * BLOCK)
        break_and_watch(through, "idle", vanish, "local")


@pytest.mark.parametrize("flow", ["idle", "upload"])
def test_a_local_program_that_is_gone_breaks_it(tunnel: OpenTunnel, transport: str, flow: str):
    with tunnel(transport) as through:
        if flow == "upload":
            through.local.sendall(b"x" * BLOCK)
        break_and_watch(through, "idle", lambda: reset(through.local), "remote")


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("fault", ["reset", "fin"])
def test_a_cut_between_client_and_exporter_breaks_it(tunnel: OpenTunnel, flow: str, fault: str):
    with tunnel("tcp", by_proxy=True) as through:
        break_and_watch(through, flow, getattr(through.proxy, fault))


@pytest.mark.parametrize("flow", ["upload", "download"])
def test_a_cut_in_the_middle_of_a_frame_breaks_it(tunnel: OpenTunnel, flow: str):
    with tunnel("tcp", by_proxy=True) as through:
        assert through.proxy is not None
        proxy = through.proxy
        break_and_watch(through, flow, lambda: proxy.cut_after(300_001))


@pytest.mark.parametrize("stream", ["the client", "the driver"])
def test_a_killed_peer_breaks_the_streams_of(bench: Bench, stream: str):
    with bench.role("streams", "3") as client:
        assert client.line() == "busy"
        killed = time.monotonic()
        if stream == "the client":
            bench.process.kill()
            assert "BrokenResourceError" in client.line(SOON)
        else:
            client.process.kill()
            wait_for(lambda: len(bench.events()) == 6, SOON, bench.events)
            assert all("ended by" in event for event in bench.events()[3:])
        assert time.monotonic() - killed < SOON
