"""`jmp record`: what was done in the sessions of the exporters on this host."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator

import click

from ..common.exceptions import ArgumentError
from ..common.records import Entry, Record, find_records, is_event, records_dir
from ..common.text import one_line
from . import errors
from .group import LazyGroup, examples

_KINDS = ("call", "stream", "log", "state", "hook", "console", "session", "lost")


@click.group(
    cls=LazyGroup,
    table={
        "list": ("jumpstarter.cli.record:list_records", "Show which sessions there were"),
        "show": ("jumpstarter.cli.record:show", "Show what happened in a session"),
    },
    epilog=examples("jmp record list", "jmp record show", "jmp record show --follow --driver power"),
)
def record() -> None:
    """Look at the records of sessions, which exporters on this host keep for their user."""


@click.command("list", epilog=examples("jmp record list", "jmp record list --exporter lab -o json"))
@click.option("--exporter", metavar="NAME", help="Only the sessions of this exporter.")
@errors.output_option
def list_records(exporter: str | None, output: str | None) -> None:
    """Show which sessions there were, the newest last, and what SESSION is called in `jmp record show`."""
    rows = [_row(found) for found in find_records(exporter)]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(
            f"no records in {records_dir(exporter)}; jmp run and jmp shell --exporter-config keep them", err=True
        )
        return
    from .timeline import size_text

    table = [("SESSION", "EXPORTER", "BEGAN", "BY", "SIZE", "END")]
    table += [(r["session"], r["exporter"], r["began"], r["by"], size_text(r["size"]), r["end"]) for r in rows]
    widths = [max(len(str(row[column])) for row in table) for column in range(len(table[0]))]
    for row in table:
        click.echo("  ".join(f"{one_line(str(c)):<{w}}" for c, w in zip(row, widths, strict=True)).rstrip())


def _row(found: Record) -> dict[str, str | int]:
    from .timeline import began_text, duration_text, holder_text

    end = found.end
    if end is not None:
        how = f"after {duration_text(end.get('seconds'))}{': ' if end.get('cause') else ''}{end.get('cause', '')}"
    else:
        how = "goes on" if found.is_live else "cut off" if _has_session(found) else "no session"
    return {
        "session": found.id,
        "exporter": str(found.head.get("exporter") or found.path.parent.name),
        "began": began_text(found.begin),
        "by": holder_text(found.begin),
        "size": found.size,
        "end": how,
        "path": str(found.path),
    }


@click.command(
    epilog=examples(
        "jmp record show                                   the newest session",
        "jmp record show 20260203T120304                   another one, by the beginning of its name",
        "jmp record show --kind calls --kind log --driver board",
        "jmp record show -o json | jq 'select(.outcome == \"failed\")'",
    )
)
@click.argument("session", default="last", metavar="[SESSION]")
@click.option("--exporter", metavar="NAME", help="Only look among the sessions of this exporter.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until the session ends.")
@click.option("--driver", "drivers", metavar="PATH", multiple=True, help="Only this driver and those below it.")
@click.option("--kind", "kinds", metavar="KIND", multiple=True, help=f"Only entries of this kind: {', '.join(_KINDS)}.")
@errors.output_option
def show(
    session: str,
    exporter: str | None,
    follow: bool,
    drivers: tuple[str, ...],
    kinds: tuple[str, ...],
    output: str | None,
) -> None:
    """Show what happened in a session: calls, byte streams, states of drivers, hooks and log.

    SESSION is the name that `jmp record list` shows, or its beginning, or `last`, which is the default. Times are
    seconds since the session began.
    """
    found = _find(session, exporter)
    wanted = _Filter(tuple(_kind(kind) for kind in kinds), drivers)
    entries = filter(wanted, _following(found) if follow else _sorted(found.entries()))
    if output == "json":
        for entry in entries:
            click.echo(json.dumps(entry, ensure_ascii=False))
            sys.stdout.flush()
        return
    from .timeline import heading, line_of

    click.echo(heading(found))
    start = float(found.begin.get("mono") or 0.0)
    lost = 0
    begun = False
    for entry in entries:
        match entry.get("kind"), entry.get("event"):
            case "record", _:  # the head of a part
                if (so_far := int(entry.get("lost") or 0)) <= lost:
                    continue
                lost = so_far
            case "session", "begin":
                if begun:  # said again at the head of a later part
                    continue
                begun = True
            case _:
                pass
        click.echo(line_of(entry, start))


def _kind(text: str) -> str:
    """The kind of entries that somebody means: `calls` are those of kind `call`."""
    kind = text.lower()
    kind = kind.removesuffix("s") if kind not in _KINDS else kind
    if kind not in _KINDS:
        from ..common.suggest import did_you_mean

        raise click.BadParameter(f"{text!r} is none of {', '.join(_KINDS)}{did_you_mean(text, _KINDS)}")
    return kind


class _Filter:
    """Which entries are shown."""

    def __init__(self, kinds: tuple[str, ...], drivers: tuple[str, ...]) -> None:
        self._kinds, self._drivers = kinds, drivers

    def __call__(self, entry: Entry) -> bool:
        kind = entry.get("kind")
        if kind in ("lost", "record") and (entry.get("entries") or entry.get("lost")):
            return True  # whatever is shown, it is not all
        if self._kinds and kind not in self._kinds:
            return False
        if not self._drivers:
            return True
        path = str(entry.get("driver") or "")
        return any(path == driver or path.startswith(f"{driver}.") for driver in self._drivers)


def _has_session(found: Record) -> bool:
    """Whether somebody had a session, so that not only its surroundings are on record."""
    return is_event(found.begin, "begin")


def _find(session: str, exporter: str | None) -> Record:
    """The record that somebody means; ArgumentError where there is none, or more than one."""
    records = find_records(exporter)
    if not records:
        raise ArgumentError(f"no records in {records_dir(exporter)}; has an exporter of this user run here?")
    if session == "last":
        return next(filter(_has_session, reversed(records)), records[-1])
    found = [candidate for candidate in records if candidate.id.startswith(session)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ArgumentError(f"no session {session!r}; jmp record list shows those that have a record")
    raise ArgumentError(f"{len(found)} sessions begin with {session!r}: {', '.join(each.id for each in found[:4])}")


def _sorted(entries: Iterable[Entry]) -> list[Entry]:
    """Entries by the time at which things began, without those that a later one makes needless."""
    found = list(entries)
    ended = {entry.get("id") for entry in found if entry.get("kind") == "call" and entry.get("outcome") != "running"}
    found = [entry for entry in found if not (entry.get("outcome") == "running" and entry.get("id") in ended)]
    return sorted(found, key=lambda entry: float(entry.get("mono") or 0.0) if entry.get("kind") != "record" else 0.0)


def _following(found: Record) -> Iterator[Entry]:
    for entry in found.follow():
        if entry is not None:
            yield entry
            if is_event(entry, "end"):
                return
