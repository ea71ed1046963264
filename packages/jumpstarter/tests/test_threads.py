"""Work in threads, and what happens to it when a call is cancelled."""

import asyncio
import threading

import pytest
from anyio import create_task_group
from jumpstarter.streams.threads import in_thread


def test_the_result_and_the_error_arrive() -> None:
    async def work() -> None:
        assert await in_thread(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 7, 0)

    asyncio.run(work())


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancelled_task_ends_after_its_thread(fails: bool) -> None:
    started, go, ended = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        started.set()
        assert go.wait(60)
        ended.set()
        if fails:
            raise OSError("disk full")

    async def work() -> None:
        task = asyncio.create_task(in_thread(write))
        await asyncio.to_thread(started.wait, 5)
        for _ in range(3):  # as often as somebody likes
            task.cancel()
            assert not (await asyncio.wait([task], timeout=0.02))[0]
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(work())


def test_a_cancelled_scope_ends_after_its_thread() -> None:
    started, ended = threading.Event(), threading.Event()

    def write() -> None:
        started.set()
        threading.Event().wait(0.1)
        ended.set()

    async def work() -> None:
        async with create_task_group() as group:
            group.start_soon(in_thread, write)
            await asyncio.to_thread(started.wait, 5)
            group.cancel_scope.cancel()
        assert ended.is_set()

    asyncio.run(work())
