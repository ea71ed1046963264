"""The file of a record: how large it gets, what the disk may do, and how it is read."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from jumpstarter.common.limits import RECORD_QUEUE
from jumpstarter.common.records import Entry, Record
from jumpstarter.exporter.record import Recorder
from jumpstarter.exporter.recordfile import RecordFile, prune


def read(directory: Path) -> list[Entry]:
    """All entries of all records."""
    return [entry for path in sorted(directory.glob("*.jsonl")) for entry in Record(path).entries()]


# how large it gets


def test_a_flood_of_entries_is_cut_to_size_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path, size=64 * 1024)
    recorder.begin(user="x")
    total = 0
    for _ in range(20):
        for _ in range(200):
            recorder.event("flood", number=total)
            total += 1
        time.sleep(0.03)
    recorder.end()
    recorder.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 66 * 1024
    [path] = tmp_path.glob("*.jsonl")
    found = list(Record(path).entries())
    numbers = [entry["number"] for entry in found if entry["kind"] == "flood"]
    assert numbers == list(range(total - len(numbers), total))  # the newest ones, none missing between
    begin, end = Record(path).begin, Record(path).end
    assert end is not None
    assert begin["user"] == "x"
    assert abs(end["lost"] + len(numbers) - total) <= 1  # the session's begin went, too


def test_what_comes_faster_than_it_can_be_written_is_counted(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path)
    recorder.begin(user="x")
    for number in range(10 * RECORD_QUEUE):
        recorder.event("flood", number=number)
    recorder.end()
    recorder.close()
    found = read(tmp_path)
    there = sum(entry["kind"] == "flood" for entry in found)
    missing = sum(entry["entries"] for entry in found if entry["kind"] == "lost")
    assert there >= RECORD_QUEUE - 1
    assert there + missing == 10 * RECORD_QUEUE
    assert found[-1]["event"] == "end"
    assert found[-1]["lost"] == missing


def test_the_oldest_records_make_room_but_not_those_that_are_written(tmp_path: Path) -> None:
    recorders = [Recorder("lab", directory=tmp_path) for _ in range(3)]
    recorders[0].begin(user="goes on")
    time.sleep(0.1)  # records are in the order in which they begin
    for recorder in recorders[1:]:
        recorder.begin()
        recorder.end()
        recorder.close()
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    prune(tmp_path, keep=1)
    [left] = tmp_path.iterdir()
    assert Record(left).begin["user"] == "goes on"
    assert Record(left).is_live
    recorders[0].close()
    prune(tmp_path, keep=0)
    assert not list(tmp_path.iterdir())


# what the disk does


def test_where_the_older_part_finds_no_place_the_record_goes_on_and_says_what_is_lost(tmp_path: Path) -> None:
    failures: list[OSError] = []
    file = RecordFile(
        tmp_path, "session", lambda lost: [b'{"kind":"record","lost":%d}\n' % lost], 4096, failures.append
    )
    file.write([b'{"kind":"call","number":0}\n'])
    follower = Record(file.path).follow()
    assert [next(follower), next(follower), next(follower)][2] is None
    (place := Record(file.path).earlier).mkdir()  # no file can take its name
    for number in range(1, 200):
        file.write([b'{"kind":"call","number":%d}\n' % number])
    place.rmdir()
    numbers = [entry["number"] for entry in Record(file.path).entries() if entry["kind"] == "call"]
    assert numbers == list(range(200 - len(numbers), 200))
    assert file.path.stat().st_size <= 2048
    assert file.lost == 200 - len(numbers)
    assert failures == []
    assert [entry for entry in itertools.islice(follower, len(numbers) + 2) if entry][-1]["number"] == 199
    follower.close()
    file.close()


FULL = """
import logging, resource, sys, time
from pathlib import Path
from jumpstarter.exporter.record import Recorder
from jumpstarter.exporter import recordfile
recordfile.RETRY = 0.2
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
recorder = Recorder("lab", directory=Path(sys.argv[1]))
recorder.begin(user="x")
def calls(count):
    for number in range(count):
        with recorder.call("power", "on", calls, [1.0], {}):
            pass
        time.sleep(0.0005)
calls(2000)
print("calls went on")
time.sleep(0.3)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
calls(100)
time.sleep(0.3)
calls(1)
recorder.end()
recorder.close()
"""


def test_a_full_disk_is_named_once_and_calls_go_on(tmp_path: Path) -> None:
    directory = tmp_path / "records"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(directory)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line for line in said if line.startswith("LOG")] == [
        f"LOG the session's record cannot be written in {directory}: File too large; devices work on, entries are lost"
    ]
    assert "calls went on" in said
    [path] = directory.iterdir()
    for line in path.read_bytes().splitlines():
        json.loads(line)  # no half line in the middle
    found = list(Record(path).entries())
    there = sum(entry["kind"] == "call" for entry in found)
    end = Record(path).end
    assert end is not None
    assert end["lost"] > 100
    assert there + end["lost"] == 2101
    assert found[0]["lost"] == 0


def test_a_record_that_somebody_removes_is_no_trouble(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path, size=8192)
    recorder.begin(user="x")
    for number in range(300):
        recorder.event("flood", number=number)
        if number in (100, 200):
            time.sleep(0.1)
            for path in tmp_path.iterdir():
                path.unlink()
    recorder.end()
    recorder.close()


def test_a_half_last_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "20260101T000000Z-00000000.jsonl"
    path.write_bytes(b'{"kind":"record","mono":1.0}\n{"kind":"call","mono":2.0}\n{"kind":"ca')
    assert [entry["kind"] for entry in Record(path).entries()] == ["record", "call"]
    assert [entry and entry["kind"] for entry in Record(path).follow()] == ["record", "call"]
    assert Record(path).end is None
    path.write_bytes(b'{"kind":"record"}\n\xff\xfe garbage\n[1]\n{"kind":"call"}\n')
    assert [entry["kind"] for entry in Record(path).entries()] == ["record", "call"]


def test_who_follows_a_record_sees_every_entry_across_its_parts(tmp_path: Path) -> None:
    recorder = Recorder("lab", directory=tmp_path, size=64 * 1024)
    recorder.begin(user="x")
    seen: list[int] = []

    def follow() -> None:
        deadline = time.monotonic() + 60
        while not (paths := list(tmp_path.glob("*.jsonl"))) and time.monotonic() < deadline:
            time.sleep(0.01)
        for entry in Record(paths[0]).follow():
            if entry is not None and entry["kind"] == "flood":
                seen.append(entry["number"])

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(1000):
        recorder.event("flood", number=number)
        time.sleep(0.001)
    recorder.end()
    recorder.close()
    thread.join(60)
    assert not thread.is_alive()
    assert seen == list(range(1000))


def test_parts_are_turned_at_the_size_that_was_given(tmp_path: Path) -> None:
    failed: list[OSError] = []
    file = RecordFile(tmp_path, "x", lambda lost: [b"head %d\n" % lost], 2000, failed.append)
    for number in range(500):
        file.write([b"line %d\n" % number])
        assert file.path.stat().st_size <= 1000
    file.close()
    assert not failed
    earlier = (tmp_path / "x.jsonl.1").read_bytes()
    whole = earlier + file.path.read_bytes()
    lines = [line for line in whole.splitlines() if line.startswith(b"line")]
    assert lines == [b"line %d" % number for number in range(500 - len(lines), 500)]
    assert file.lost == 500 - len(lines)
