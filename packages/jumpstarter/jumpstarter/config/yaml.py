"""A YAML file as a mapping with positions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from yaml.reader import Reader

from ..common.text import one_line
from .expand import expand
from .nodes import EMPTY, compose, whole
from .place import Place
from .problems import ConfigurationNotFoundError, wrong

MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Document:
    """What a file says, and where."""

    data: dict[Any, Any]
    place: Place


def read_file(path: Path) -> Document:
    """The mapping in a file. Raises ConfigurationError with the position of what is wrong."""
    name = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as e:
        raise ConfigurationNotFoundError([f"{one_line(name)}: does not exist; check the path"]) from e
    except IsADirectoryError as e:
        raise wrong(whole(name), "is a directory; name a file in it") from e
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise wrong(whole(name), f"cannot be read: {reason.lower()}") from e
    if len(content) > MAX_BYTES:
        raise wrong(whole(name), f"is larger than {MAX_BYTES >> 20} MiB; that is no configuration")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        position = _position(content[: e.start].decode("utf-8-sig", "replace"))
        byte = content[e.start]
        raise wrong(whole(name, *position), f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from e
    return read_text(text, name)


def read_text(text: str, name: str = "<string>") -> Document:
    """The mapping in a text; `name` stands for the file in errors."""
    if forbidden := Reader.NON_PRINTABLE.search(text):
        position = _position(text[: forbidden.start()])
        raise wrong(whole(name, *position), f"character {forbidden.group()!a} is not allowed in YAML")
    data, place = expand(compose(text, name), name)
    if data is None:
        raise wrong(whole(name), EMPTY)
    if not isinstance(data, dict):
        kind = "list" if isinstance(data, list) else type(data).__name__
        raise wrong(place, f"expected a mapping (key: value), got a {kind}")
    return Document(cast("dict[Any, Any]", data), place)


def _position(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what comes after a text."""
    lines = before.split("\n")
    return len(lines), len(lines[-1]) + 1
