"""Driver classes by their dotted path, and what is wrong where there is none."""

from __future__ import annotations

import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..common.suggest import did_you_mean
from .place import Place
from .problems import Problems

if TYPE_CHECKING:
    from ..driver import Driver


def load_class(path: str, place: Place, problems: Problems) -> type[Driver] | None:
    """The driver class at a dotted path; None, and a problem, if there is none that can be made."""
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        problems.add(place, f"{path!r} is not the dotted path of a class{_registered_as(path) or _LIST}")
        return None
    try:
        module = import_module(module_name)
        found = getattr(module, name, None)
    except ModuleNotFoundError as e:
        is_itself = e.name is not None and f"{module_name}.".startswith(f"{e.name}.")
        problems.add(place, _not_found(e.name or "") if is_itself else _broken(module_name, e))
        return None
    except (Exception, SystemExit) as e:  # noqa: BLE001 a module can raise anything, and other entries are checked on
        problems.add(place, _broken(module_name, e))
        return None
    if problem := _unusable(found, name, module):
        problems.add(place, problem)
        return None
    return found


def common_parameters() -> set[str]:
    """The parameters that every driver takes."""
    return {field.name for field in fields(_driver())}


def _driver() -> type[Driver]:
    from ..driver import Driver  # a layer above: this is where configurations act

    return Driver


def _unusable(found: Any, name: str, module: ModuleType) -> str | None:
    """Why what stands in a module under a name cannot be made, if so."""
    driver = _driver()
    if found is None:
        names = [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, driver)]
        drivers = [name for name in names if name != "Driver"]
        listed = f"; its drivers: {', '.join(drivers)}" if drivers else ""
        return f"module {module.__name__!r} has no class {name!r}{did_you_mean(name, drivers) or listed}"
    if not isinstance(found, type) or not issubclass(found, driver):
        kind = "class" if isinstance(found, type) else type(found).__name__
        return f"{kind} {name!r} is no driver: it does not derive from jumpstarter.driver.Driver{_LIST}"
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        return f"class {name!r} is no complete driver: it does not define {', '.join(missing)}"
    return None


def _not_found(module: str) -> str:
    parent, _, name = module.rpartition(".")
    if not parent:
        similar = _similar_package(module)
        if module.startswith("jumpstarter_driver_"):
            return f"package {module!r} is not installed; pip install {module.replace('_', '-')}{similar}"
        return f"module {module!r} is not found; install its package, or name its folder in PYTHONPATH{similar}"
    from pkgutil import iter_modules

    package = sys.modules.get(parent)
    known = [found.name for found in iter_modules(getattr(package, "__path__", []))]
    return f"package {parent!r} has no module {name!r}{did_you_mean(name, known)}"


def _similar_package(package: str) -> str:
    from difflib import get_close_matches

    installed = {path.partition(".")[0] for path in _registered().values()} - {package}
    short = {name.removeprefix(_PREFIX): name for name in installed}
    close = get_close_matches(package.removeprefix(_PREFIX), short, n=1, cutoff=0.75)
    return f" (or did you mean {short[close[0]]!r}?)" if close else ""


def _registered_as(name: str) -> str:
    """The path of an installed driver that has this as its short name."""
    paths = _registered()
    return f"; did you mean {paths[name]!r}?" if name in paths else ""


def _registered() -> dict[str, str]:
    """The dotted paths of the installed drivers, by their short names."""
    from importlib.metadata import entry_points  # slow, and only an error needs it

    return {entry.name: entry.value.replace(":", ".") for entry in entry_points(group="jumpstarter.drivers")}


def _broken(module: str, error: BaseException) -> str:
    text = str(error)
    where = "" if isinstance(error, SyntaxError) else _where(error)  # a syntax error says itself
    return f"module {module!r} is there, but cannot be imported: {type(error).__name__}{text and ': '}{text}{where}"


def _where(error: BaseException) -> str:
    from traceback import extract_tb

    frames = [frame for frame in extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    inside = frames[1:]  # the first is ours
    return f" ({Path(inside[-1].filename).name} line {inside[-1].lineno})" if inside else ""


_PREFIX = "jumpstarter_driver_"

_LIST = "; jmp driver list shows those that are installed"
