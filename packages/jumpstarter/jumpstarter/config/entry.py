"""An entry of the driver tree: a driver, a composite of more entries, or a reference to another entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from ..common.scalars import show
from .place import Place
from .problems import Problems
from .schema import dump_values, is_mapping, is_text, key, read_values, settings, unknown_key
from .yaml import Document, read_file, read_text

if TYPE_CHECKING:
    from ..driver import Driver


def read_entries(data: Any, place: Place, problems: Problems) -> Any:
    """Entries by name; those that are wrong are left out. MISSING if it is no mapping."""
    if not is_mapping(data, place, problems):
        return MISSING
    entries: dict[str, ExporterConfigV1Alpha1DriverInstance] = {}
    for name, content in data.items():
        below = place / name
        if is_text(below, problems) and (entry := read_entry(content, below, problems)) is not None:
            entries[name] = entry
    return entries


@dataclass
class ExporterConfigV1Alpha1DriverInstance:
    """One entry: with `type` a driver, with `ref` a reference, else a composite of `children`."""

    type: str | None = field(default=None, metadata=key(help="Dotted path of the driver's class."))
    description: str | None = field(default=None, metadata=key(help="Help text, in place of the client's own."))
    methods_description: dict[str, str] = field(
        default_factory=dict[str, str], metadata=key(help="Help texts of commands, by command name.")
    )
    config: dict[str, Any] = field(
        default_factory=dict[str, Any], metadata=key(help="Parameters of the driver's class.")
    )
    children: dict[str, ExporterConfigV1Alpha1DriverInstance] = field(
        default_factory=dict[str, "ExporterConfigV1Alpha1DriverInstance"],
        metadata=key(read=read_entries, help="Entries below this one, by name."),
    )
    ref: str | None = field(default=None, metadata=key(help="Names from the root to another entry, joined with dots."))
    required: bool = field(
        default=False, metadata=key(help="The exporter does not start without its device; otherwise it looks for it.")
    )
    isolate: Literal["process"] | None = field(
        default=None,
        metadata=key(help="process: it runs in a process of its own, and takes no other along when it crashes."),
    )
    concurrent: bool = field(
        default=False,
        metadata=key(help="All methods of the driver may run at once; otherwise those that it marks."),
    )
    place: Place | None = field(default=None, repr=False, compare=False, metadata=key(internal=True))
    """Where it was read from; None if it was made in Python."""

    def __post_init__(self) -> None:
        self.children = as_entries(self.children)

    @classmethod
    def from_path(cls, path: str | Path) -> ExporterConfigV1Alpha1DriverInstance:
        """The entry in a file that holds nothing else."""
        return _from_document(read_file(Path(path)))

    @classmethod
    def from_str(cls, config: str) -> ExporterConfigV1Alpha1DriverInstance:
        """The entry in a text."""
        return _from_document(read_text(config))

    def dump(self) -> dict[str, Any]:
        """The entry as plain data."""
        empty: dict[str, Any] = {} if self.type is not None or self.ref is not None else {"children": {}}
        return empty | dump_values(self)

    def check(self) -> None:
        """Raise ConfigurationError with all that would keep it from being made. Makes no driver."""
        from .tree import plan

        plan(self)

    def instantiate(self) -> Driver:
        """Make the driver, with those below it. References start here. Raises ConfigurationError."""
        from .tree import make

        return make(self)


def _from_document(document: Document) -> ExporterConfigV1Alpha1DriverInstance:
    problems = Problems()
    entry = read_entry(document.data, document.place, problems)
    problems.raise_any()
    assert entry is not None
    return entry


def as_entries(entries: Mapping[str, Any]) -> dict[str, ExporterConfigV1Alpha1DriverInstance]:
    """Entries made in Python: objects as they are, mappings read. Raises ConfigurationError."""
    problems = Problems()
    made: dict[str, ExporterConfigV1Alpha1DriverInstance] = {}
    for name, content in entries.items():
        if isinstance(content, ExporterConfigV1Alpha1DriverInstance):
            made[name] = content
        elif (entry := read_entry(content, Place(path=(name,)), problems)) is not None:
            made[name] = entry
    problems.raise_any()
    return made


def read_entry(data: Any, place: Place, problems: Problems) -> ExporterConfigV1Alpha1DriverInstance | None:
    """An entry from data at a place; None if its kind cannot be told."""
    if not isinstance(data, Mapping):
        hint = f"; write 'type: {data}'" if isinstance(data, str) and "." in data else _KINDS
        problems.add(place, f"expected an entry, got {show(data)}{hint}")
        return None
    content = cast("Mapping[Any, Any]", data)
    if not _check_keys(content, place, problems):
        return None
    known = {name: value for name, value in content.items() if name in _KEYS}
    values = read_values(ExporterConfigV1Alpha1DriverInstance, known, place, problems)
    kind = next(name for name in ("type", "ref", "children") if name in content)
    if kind not in values:
        return None
    if values[kind] is None:
        problems.add(place / kind, f"expected str, got {show(None)}")
        return None
    return ExporterConfigV1Alpha1DriverInstance(**values, place=place)


def _check_keys(content: Mapping[Any, Any], place: Place, problems: Problems) -> bool:
    """Complain of keys that are unknown or contradict each other; whether the kind of entry is clear."""
    unknown = [name for name in content if name not in _KEYS]
    for name in unknown:
        unknown_key(place / name, _KEYS, problems, otherwise=_advice(content, content[name]))
    kinds = [name for name in ("type", "ref", "children") if name in content]
    if not kinds:
        if not unknown:
            problems.add(place, f"neither a driver, a composite nor a reference{_KINDS}")
        return False
    if "ref" in kinds and len(kinds) > 1:
        other = "type" if "type" in kinds else "children"
        problems.add(place / "ref", f"'ref' and {other!r} exclude each other; remove one of them")
        return False
    of_drivers = ("config", "methods_description", "required", "isolate", "concurrent")
    meaningless = {"type": (), "ref": _KEYS, "children": of_drivers}[kinds[0]]
    for name in content:
        if name in meaningless and name != kinds[0]:
            owner = "a reference" if kinds[0] == "ref" else "a composite"
            problems.add(place / name, f"has no meaning for {owner}; it belongs to an entry with 'type'")
    return True


def _advice(content: Mapping[Any, Any], value: Any) -> str | None:
    if isinstance(value, Mapping) and any(kind in value for kind in ("type", "ref", "children")):
        return "entries below this one belong under 'children'"
    return "parameters of the driver belong under 'config'" if "type" in content else None


_KEYS = tuple(setting.name for setting in settings(ExporterConfigV1Alpha1DriverInstance))
_KINDS = "; give it 'type', 'children' or 'ref'"
