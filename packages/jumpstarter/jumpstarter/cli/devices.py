"""The tree of devices, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from ..common.exceptions import DeviceAbsentError, DeviceFaultyError, JumpstarterException
from ..common.text import one_line

if TYPE_CHECKING:
    from ..client.base import DriverClient


MOST = 20
"""Commands of one device that are listed."""


@dataclass(frozen=True)
class Row:
    """A device in a tree."""

    name: str
    text: str
    children: list[Row] = field(default_factory=list["Row"])


def draw(rows: Iterable[Row]) -> str:
    """The tree as lines: names on the left, texts in a column on the right."""
    lines = list(_lines(list(rows), ""))
    width = max((len(left) for left, _ in lines), default=0)
    return "\n".join(f"{left:<{width}}  {text}".rstrip() for left, text in lines)


def describe(client: DriverClient) -> str:
    """What `j` alone says: the devices with their descriptions and commands."""
    rows = [_row(name, child) for name, child in client.children.items()]
    if not rows:
        rows = [_row(type(client).__name__, client)]
    first = next((name for name, child in client.children.items() if hasattr(child, "cli")), None)
    hint = f"j {first} --help" if first else "j --help"
    return f"{draw(rows)}\n\nMore: {hint}"


def describe_as_json(client: DriverClient) -> str:
    """The same for programs, with the methods of each device as far as its exporter describes them."""
    import json

    return json.dumps(_as_json(client), indent=2)


def _as_json(client: DriverClient) -> dict[str, object]:
    described = client.driver_type
    return {
        "name": client.name if client.path else None,
        "path": client.path,
        "uuid": str(client.uuid),
        "description": client.description,
        "unavailable": client.unavailable or None,
        "type": described.name if described is not None else None,
        "labels": client.labels,
        "methods": [method.name for method in described.methods] if described is not None else None,
        "children": [_as_json(child) for child in client.children.values()],
    }


def command_of(client: DriverClient) -> click.Command | None:
    """The command of a device, or the group of its commands; a device without any has no method `cli`."""
    make: Callable[[], click.Command] | None = getattr(client, "cli", None)
    return make() if make is not None else None


def own_commands(client: DriverClient, command: click.Group) -> list[str]:
    """The commands of a device itself, without those of its children."""
    own: Callable[[], list[str]] | None = getattr(command, "own_commands", None)
    return (
        own()
        if own is not None
        else [name for name, made in command.commands.items() if name not in client.children and not made.hidden]
    )


def _row(name: str, client: DriverClient) -> Row:
    command = command_of(client)
    children = [_row(child_name, child) for child_name, child in client.children.items()]
    return Row(name, _text(client, command), children)


def _text(client: DriverClient, command: click.Command | None) -> str:
    if isinstance(command, click.Group):
        names = own_commands(client, command)
        if not names:
            about = [client.description or "", _condition(client)]  # a mere group: the tree shows what is in it
            return one_line("  ".join(filter(None, about)))
        offers = f"[{', '.join([*names[:MOST], '…'] if len(names) > MOST else names)}]"
    else:
        offers = "" if command is not None or client.unavailable else "(no commands: use it from Python)"
    about = client.description or (command.get_short_help_str(60) if command is not None else "")
    return one_line("  ".join(filter(None, [about, offers, _condition(client)])))


def _condition(client: DriverClient) -> str:
    """That a device cannot be used, in a word."""
    return f"({client.unavailable.partition(':')[0]}, see jmp status)" if client.unavailable else ""


def unavailable(client: DriverClient, path: list[str]) -> JumpstarterException | None:
    """Why a device named by the first words of a command line cannot be used; None where all can."""
    for name in path:
        if name not in client.children:
            break
        client = client.children[name]
        if client.unavailable:
            kind = DeviceAbsentError if client.unavailable.startswith("absent") else DeviceFaultyError
            return kind(f"{client.path} is {client.unavailable}")
    return None


def _lines(rows: list[Row], indent: str) -> Iterator[tuple[str, str]]:
    for row in rows:
        is_last = row is rows[-1]
        yield f"{indent}{'└─' if is_last else '├─'} {one_line(row.name)}", row.text
        yield from _lines(row.children, f"{indent}{'   ' if is_last else '│  '}")
