"""The history and the log: whatever comes in, every reader gets all of it, in order, or is told what it missed."""

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumpstarter.common.exceptions import BusyError
from jumpstarter_driver_serial.history import BLOCK, History, Reader
from jumpstarter_driver_serial.items import Data, Dropped, Event
from jumpstarter_driver_serial.logfile import LogFile, LogWriter
from jumpstarter_driver_serial.since import offset_of

LOGGER = logging.getLogger("test")


def read_all(reader: Reader, most: int = 1 << 20) -> tuple[bytes, int]:
    """What there is, and how much was dropped."""
    data, dropped = b"", 0
    while (item := reader.take(most)) is not None:
        match item:
            case Data(offset=offset, data=piece):
                assert offset == reader.offset - len(piece)
                data += piece
            case Dropped(count=count):
                dropped += count
            case _:
                pass
    return data, dropped


@given(
    pieces=st.lists(st.binary(max_size=300), max_size=60),
    start=st.integers(0, 400),
    most=st.integers(1, 500),
)
@settings(max_examples=200, deadline=None)
def test_a_reader_has_exactly_what_came_since_its_offset(pieces: list[bytes], start: int, most: int) -> None:
    history = History(1 << 20)
    reader = history.reader(0)
    for piece in pieces:
        history.append(piece)
    whole = b"".join(pieces)
    assert read_all(reader, most) == (whole, 0)
    assert read_all(history.reader(start), most)[0] == whole[start:]


@given(sizes=st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=20), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_a_reader_that_memory_has_passed_is_told_how_much(sizes: list[int], seed: int) -> None:
    history = History(0)
    noise = random.Random(seed)
    whole = b""
    reader = history.reader(0)
    for size in sizes:
        piece = noise.randbytes(size)
        history.append(piece)
        whole += piece
    data, dropped = read_all(reader)
    assert dropped + len(data) == len(whole)
    assert data == whole[dropped:]
    assert len(data) >= min(len(whole), BLOCK)


@pytest.mark.parametrize("size", [1000, BLOCK, 10 * BLOCK])
def test_the_log_has_what_memory_has_not(tmp_path: Path, size: int) -> None:
    history = History(0)
    log = LogWriter(history, LogFile(tmp_path / "a.log", size, 100), LOGGER)
    noise = random.Random(1)
    whole = b""
    for _ in range(40):
        piece = noise.randbytes(noise.randrange(1, BLOCK))
        history.append(piece)
        whole += piece
    assert read_all(history.reader(0)) == (whole, 0)
    log.close()
    older = sorted(tmp_path.glob("a.log.[0-9]*"), key=lambda path: int(path.suffix[1:]))
    parts = [tmp_path / "a.log", *older]
    assert b"".join(path.read_bytes() for path in reversed(parts)) == whole


def test_the_log_keeps_as_much_as_it_is_told(tmp_path: Path) -> None:
    history = History(0)
    log = LogWriter(history, LogFile(tmp_path / "a.log", 1 << 20, 2), LOGGER)
    for number in range(64):
        history.append(bytes([number]) * BLOCK)
    data, dropped = read_all(history.reader(0))
    assert dropped > 0
    assert dropped + len(data) == 64 * BLOCK
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.lock"]


def test_the_log_of_the_last_run_becomes_the_older_part(tmp_path: Path) -> None:
    for run in (b"first", b"second"):
        history = History(0)
        log = LogWriter(history, LogFile(tmp_path / "a.log", 1 << 20, 2), LOGGER)
        history.append(run)
        log.close()
    assert (tmp_path / "a.log").read_bytes() == b"second"
    assert (tmp_path / "a.log.1").read_bytes() == b"first"


def test_two_never_write_one_log(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", 1000, 2)
    with pytest.raises(BusyError, match="log_file"):
        LogFile(tmp_path / "a.log", 1000, 2)
    log.close()
    LogFile(tmp_path / "a.log", 1000, 2).close()


def test_a_full_disk_is_told_once_and_the_console_goes_on(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    history = History(0)
    file = LogFile(tmp_path / "a.log", 1000, 2)
    (tmp_path / "a.log").mkdir()  # so that it cannot be opened
    log = LogWriter(history, file, LOGGER)
    for _ in range(50):
        history.append(bytes(BLOCK // 2))
    log.close()
    assert [record.message for record in caplog.records if "what comes meanwhile is missing" in record.message] != []
    assert len(caplog.records) < 3
    assert history.end == 25 * BLOCK


def test_readers_wait_in_threads() -> None:
    history = History(1 << 20)
    reader = history.reader()
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(reader.wait(15)))
    thread.start()
    history.append(b"x")
    thread.join()
    assert isinstance(got[0], Data)
    assert reader.wait(0.01) is None


def test_events_are_between_the_bytes_where_they_happened() -> None:
    history = History(1 << 20)
    history.append(b"before")
    history.happened("lost", "unplugged")
    history.happened("back", "again")
    history.append(b"after")
    reader = history.reader(0)
    seen = [reader.take() for _ in range(4)]
    assert [item.data if isinstance(item, Data) else item.kind for item in seen if isinstance(item, Data | Event)] == [
        b"before",
        "lost",
        "back",
        b"after",
    ]
    late = history.reader(7)
    assert isinstance(late.take(), Data), "what happened before its place is nothing for a reader"


@pytest.mark.parametrize(
    ("since", "begins"),
    [
        (None, b""),
        ("now", b""),
        ("start", b"one two three"),
        (4, b"two three"),
        ("4", b"two three"),
        ("boot", b"three"),
        ("10m", b"one two three"),
        ("2020-01-01T00:00:00", b"one two three"),
        ("0s", b""),
    ],
)
def test_a_place_can_be_said_in_many_ways(since: str | int | None, begins: bytes) -> None:
    history = History(1 << 20)
    history.append(b"one ")
    history.append(b"two ")
    history.happened("mark", "boot")
    history.append(b"three")
    assert read_all(history.reader(offset_of(history, since)))[0] == begins


@pytest.mark.parametrize("since", ["yesterday", "-1", -1, "12:99", ""])
def test_a_place_that_is_none_says_which_there_are(since: str | int) -> None:
    with pytest.raises(ValueError, match=r"it can be an offset, 30s|an offset is 0 or more"):
        offset_of(History(1 << 20), since)


def test_a_time_of_day_is_one_of_the_last_24_hours() -> None:
    history = History(1 << 20)
    history.append(b"x")
    assert offset_of(history, "0:00:00") in (0, 1)


def test_the_next_session_sees_nothing_of_the_last() -> None:
    history = History(1 << 20)
    history.append(b"secret")
    history.floor = history.end
    history.append(b"mine")
    places: list[Callable[[], int | None]] = [lambda: 0, lambda: offset_of(history, "start"), lambda: 3]
    for place in places:
        assert read_all(history.reader(place()))[0] == b"mine"
