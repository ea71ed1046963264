"""Who blocks the event loop is named; a machine that lets the loop wait is not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from jumpstarter.exporter.watchdog import Watchdog

HOG = """\
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
end = time.monotonic() + 0.6
while time.monotonic() < end:
    pass
"""
"""Takes a processor for a while; who has no such priority waits."""


def watched(begin: Callable[[], object], lasts: float) -> None:
    """Run a loop in a thread and have it watched, from the begin of something on."""

    async def main() -> None:
        watchdog = Watchdog(lambda driver: "")
        watchdog.begin()
        try:
            begin()
            await asyncio.sleep(lasts)
        finally:
            watchdog.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_a_loop_that_sleeps_is_blocked(caplog: pytest.LogCaptureFixture) -> None:
    watched(lambda: time.sleep(0.6), 0.1)
    assert "blocks the event loop" in caplog.text
    assert "test_watchdog.py" in caplog.text


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="needs the scheduler of Linux")
def test_a_loop_that_gets_no_processor_is_not_blocked(caplog: pytest.LogCaptureFixture) -> None:
    processor = min(os.sched_getaffinity(0))

    def begin() -> None:
        os.sched_setaffinity(threading.get_native_id(), {processor})
        hogs.append(subprocess.Popen([sys.executable, "-c", HOG, str(processor)], stderr=subprocess.DEVNULL))

    hogs: list[subprocess.Popen[bytes]] = []
    watched(begin, 1)
    if hogs[0].wait(60):
        pytest.skip("nobody may have so high a priority here")
    assert "blocks the event loop" not in caplog.text


def test_without_a_thread_nothing_counts_as_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def begin() -> None:
        dog = Watchdog(lambda _: "")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(RuntimeError, match="start new thread"):
                dog.begin()
        assert dog.watched == 0
        dog.begin()
        dog.end()
        dog.close()

    asyncio.run(begin())
