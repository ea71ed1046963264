"""The status of an exporter: one owner, and readers that wait for changes."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise

from jumpstarter.common.changes import Changes, first_of
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.common.limits import STATUS_HISTORY
from jumpstarter.exporter.ownership import Holder
from jumpstarter.exporter.status import StatusBoard, StatusReport


def test_every_reader_sees_every_change_from_any_thread() -> None:
    board = StatusBoard()

    def change(status: ExporterStatus) -> None:
        for _ in range(25):
            board.set(status)

    statuses = (ExporterStatus.LEASE_READY, ExporterStatus.AVAILABLE)
    threads = [threading.Thread(target=change, args=(status,)) for status in statuses]

    async def read() -> list[StatusReport]:
        seen: list[StatusReport] = []
        async for report in board.changes():
            seen.append(report)
            if report.version == 50:
                break
        return seen

    async def main() -> None:
        readers = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0)
        for thread in threads:
            thread.start()
        for seen in await asyncio.gather(*readers):
            assert [report.version for report in seen] == list(range(51))
            assert all(after.previous is before.status for before, after in pairwise(seen))

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_reader_that_is_too_slow_goes_on_with_the_oldest_that_is_known() -> None:
    board = StatusBoard()
    for number in range(STATUS_HISTORY + 10):
        board.set(ExporterStatus.LEASE_READY, str(number))
    oldest = board.after(0)
    assert oldest is not None
    assert oldest.version == 11
    assert board.after(board.current.version) is None
    assert board.after(board.current.version + 1) is board.current


def test_the_holder_stays_while_the_status_changes() -> None:
    board = StatusBoard()
    board.set(ExporterStatus.LEASE_READY, "a warning")
    holder = Holder(principal="ann", user="ann")
    board.set_holder(holder)
    assert (board.current.holder, board.current.message) == (holder, "a warning")
    board.set(ExporterStatus.AVAILABLE)
    assert board.current.holder is holder
    board.set_holder(None)
    assert board.current.holder is None


def test_a_change_between_looking_and_waiting_is_not_missed() -> None:
    changes, state = Changes(), list[int]()

    def look() -> bool:
        if not state:
            state.append(1)
            changes.notify()
            return False
        return True

    asyncio.run(asyncio.wait_for(changes.until(look), 5))


def test_the_first_of_several_ends_the_others() -> None:
    ended: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            ended.append(name)
        except asyncio.CancelledError:
            ended.append(f"not {name}")
            raise

    asyncio.run(first_of(lambda: wait("quick", 0), lambda: wait("slow", 60)))
    assert ended == ["quick", "not slow"]
