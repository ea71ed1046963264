"""What the record of a session has of a console."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.common.enums import ExporterStatus
from jumpstarter.exporter.record import Recorder
from jumpstarter.exporter.session import Session
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_serial.history import History
from jumpstarter_driver_serial.notes import BURST, Notes
from jumpstarter_testing.serial import FakeSerial
from jumpstarter_testing.waiting import until


def noting(noted: list[dict[str, Any]]) -> Callable[..., object]:
    def note(**fields: Any) -> None:
        noted.append(fields)

    return note


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_every_line_is_noted_with_its_offset(pieces: list[bytes]) -> None:
    history, noted = History(0), list[dict[str, Any]]()
    notes = Notes(history, noting(noted))
    for piece in pieces:
        history.append(piece)
    notes.close()
    whole = b"".join(pieces)
    lines = [line for line in whole.replace(b"\r", b"\n").split(b"\n") if line]
    assert [entry["text"] for entry in noted] == [line.decode(errors="backslashreplace") for line in lines]
    for entry, line in zip(noted, lines, strict=True):
        assert whole[entry["offset"] :].startswith(line)


def test_a_flood_is_counted() -> None:
    history, noted = History(0), list[dict[str, Any]]()
    notes = Notes(history, noting(noted))
    for _ in range(int(BURST) * 3):
        history.append(b"noise\n")
    until(lambda: len(noted) >= BURST)
    history.happened("mark", "end")
    until(lambda: noted[-1].get("event") == "mark")
    assert len(noted) < BURST * 2
    notes.close()


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=6), st.sampled_from([b"\n", b"\r\n", b""]))
def test_a_flood_leaves_out_lines_and_says_how_many_bytes(pieces: list[bytes], end: bytes) -> None:
    history, noted = History(0), list[dict[str, Any]]()
    notes = Notes(history, noting(noted))
    history.append(lines := b"".join(b"%04d\n" % number for number in range(int(BURST))))
    history.append(flood := b"".join(piece + end for piece in pieces * 20))
    history.happened("mark", "end")
    notes.close()
    assert noted[-1]["event"] == "mark"
    said = [entry for entry in noted[int(BURST) : -1] if "event" not in entry]
    assert len(said) < 100, "some, at the rate that is allowed"
    for entry in said:
        assert flood[entry["offset"] - len(lines) :].decode(errors="backslashreplace").startswith(entry["text"][:500])


def test_the_record_has_lines_events_and_calls(mute: FakeSerial, tmp_path: Path) -> None:
    record = Recorder("lab", directory=tmp_path / "records")
    record.begin()
    with Session(root_device=PySerial(url=mute.path, check_present=False), record=record) as session:
        session.update_status(ExporterStatus.LEASE_READY)
        mute.send(b"login: \x1b[31mred\r\nnext\n")
        until(lambda: len([entry for entry in entries(tmp_path) if entry["kind"] == "console"]) == 2)
        mute.unplug()
        until(lambda: any("unplugged" in str(entry.get("text")) for entry in entries(tmp_path)))
    record.end()
    record.close()
    console = [entry for entry in entries(tmp_path) if entry["kind"] == "console"]
    assert [(entry["text"], entry["offset"]) for entry in console[:2]] == [("login: \x1b[31mred", 0), ("next", 17)]
    assert console[2]["event"] == "lost"
    assert all(entry["mono"] > 0 for entry in console)


def entries(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in (folder / "records").glob("*.jsonl"):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                found.append(json.loads(line))
    return found
