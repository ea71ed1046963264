"""Blocking calls, many of which travel on one stream: to their callers they are like calls of their own."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from jumpstarter.client import DriverClient
from jumpstarter.client.blocking_lane import FEW
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.core import DriverError, DriverInvalidArgument, DriverTimeout, ExporterLost
from jumpstarter.client.tree import Policy
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.common.limits import MAX_MESSAGE
from jumpstarter.common.utils import serve
from jumpstarter.driver import Driver, check_cancelled, export
from jumpstarter.exporter.session import Session
from jumpstarter.streams.portal import shared_portal


class Sample(Driver):
    """Answers at once, later, or never."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.running = 0
        self.cancelled = threading.Event()

    @export(concurrent=True)
    def echo(self, value: Any) -> Any:
        return value

    @export(concurrent=True)
    def wait(self, seconds: float) -> str:
        self.running += 1
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                check_cancelled()
                time.sleep(0.01)
        except BaseException:
            self.cancelled.set()
            raise
        finally:
            self.running -= 1
        return "waited"

    @export(concurrent=True)
    def fail(self, text: str) -> None:
        raise ValueError(text)

    @export(concurrent=True)
    def large(self, size: int) -> str:
        return "x" * size


@contextmanager
def warm(driver: Driver) -> Generator[DriverClient]:
    """A client that has made more than a few calls."""
    with serve(driver) as client:
        for n in range(FEW + 2):
            assert client.call("echo", n) == n
        yield client


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_each_thread_gets_its_own_results() -> None:
    def use(client: DriverClient, thread: int) -> bool:
        return all(client.call("echo", [thread, n]) == [thread, n] for n in range(60))

    with warm(Sample()) as client, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(partial(use, client), range(8)))


def test_a_slow_call_holds_up_no_other() -> None:
    with warm(Sample()) as client, ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(client.call, "wait", seconds) for seconds in (0.5, 1.0, 1.5)]
        for n in range(50):
            assert client.call("echo", n) == n
        assert not slow[-1].done()
        assert [call.result(15) for call in slow] == ["waited"] * 3


def test_errors_are_those_of_calls_by_themselves() -> None:
    with warm(Sample()) as client:
        for method, args in (("fail", ["broken"]), ("missing", []), ("echo", [1, 2, 3]), ("large", [MAX_MESSAGE])):
            errors: list[DriverError] = []
            for timeout in (None, 30):  # by the stream, and by itself
                with pytest.raises(DriverError) as caught:
                    client.call(method, *args, timeout=timeout)
                errors.append(caught.value)
            one, other = errors
            assert (type(one), str(one), one.parts()) == (type(other), str(other), other.parts())
        assert client.call("echo", "still here") == "still here"
        assert client.call("echo", "y" * (1 << 20)) == "y" * (1 << 20)
        with pytest.raises(DriverTimeout):
            client.call("wait", 60, timeout=0.2)


def test_an_interrupt_cancels_the_call_and_no_other() -> None:
    driver = Sample()

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    with warm(driver) as client, ThreadPoolExecutor(1) as pool:
        other = pool.submit(client.call, "wait", 2)
        until(lambda: driver.running == 1)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt):
                client.call("wait", 60)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert driver.cancelled.wait(15)
        assert other.result(15) == "waited"
        with pytest.raises(DriverInvalidArgument, match="as before"):
            client.call("fail", "as before")


def test_calls_fail_with_their_exporter() -> None:
    portal, driver = shared_portal(), Sample()
    with Session(root_device=driver) as session, ExitStack() as exporter, ThreadPoolExecutor(4) as pool:
        path = exporter.enter_context(portal.wrap_async_context_manager(session.serve_unix_async()))
        session.update_status(ExporterStatus.LEASE_READY)
        with connect(Endpoint(str(path)), Policy(unsafe=True)) as client:
            for n in range(FEW + 2):
                client.call("echo", n)
            calls = [pool.submit(client.call, "wait", 60) for _ in range(4)]
            until(lambda: driver.running == 4)
            exporter.close()
            for call in calls:
                with pytest.raises(DriverError):
                    call.result(20)
            for _ in range(2 * FEW):
                with pytest.raises(ExporterLost):
                    client.call("echo", 1)


def test_closing_the_connection_ends_those_who_wait() -> None:
    driver = Sample()
    with ThreadPoolExecutor(3) as pool:
        with warm(driver) as client:
            calls = [pool.submit(client.call, "wait", 60) for _ in range(3)]
            until(lambda: driver.running == 3)
        for call in calls:
            with pytest.raises(DriverError):
                call.result(20)
    until(lambda: driver.running == 0)
