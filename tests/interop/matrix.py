"""What was found, as a table: a row for each scenario, a column for each pairing."""

from __future__ import annotations

from collections.abc import Iterator

from pairings import Outcome, Pairing

RESULTS: dict[Pairing, dict[str, Outcome]] = {}

NOT_INSTALLED: dict[str, str] = {}
"""Releases that could not be installed, and why."""

MARKS = {"passed": "ok", "failed": "FAIL", "none": "-"}


def lines() -> Iterator[str]:
    """The table, with the remarks below it."""
    for release, why in NOT_INSTALLED.items():
        yield f"interop: release {release} could not be installed, so NOTHING was tried with it: {why.splitlines()[-1]}"
    if not RESULTS:
        return
    columns = list(RESULTS)
    names = list(dict.fromkeys(name for results in RESULTS.values() for name in results))
    width = max(map(len, names))
    yield "interop: client → exporter"
    for part in ("client", "exporter", "transport"):
        yield f"{part:>{width}}  " + "  ".join(f"{getattr(column, part):>5}" for column in columns)
    for name in names:
        marks = (MARKS[results[name].outcome] if name in results else "" for results in RESULTS.values())
        yield f"{name:>{width}}  " + "  ".join(f"{mark:>5}" for mark in marks)
    remarks: dict[str, list[str]] = {}
    for pairing, results in RESULTS.items():
        for name, outcome in results.items():
            if outcome.outcome == "none":
                remarks.setdefault(f"{name}: {outcome.remark}", []).append(str(pairing))
    for remark, where in remarks.items():
        yield f"- {remark} ({'; '.join(where)})"
