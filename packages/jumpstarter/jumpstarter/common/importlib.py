"""Which client classes a client loads.

A class that an exporter names is loaded only from a package that an installed distribution registers as a driver, or
that the user allows; nothing that a peer sends chooses other code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path

from .exceptions import MissingDriverError


@cache
def registered_packages() -> frozenset[str]:
    """Top-level packages of the drivers that installed distributions register."""
    from importlib.metadata import entry_points  # slow to import, and not needed where everything is allowed

    return frozenset(entry.module.partition(".")[0] for entry in entry_points(group="jumpstarter.drivers"))


@cache
def is_registered(package: str) -> bool:
    """Whether an installed distribution registers drivers of a top-level package.

    One that has the package's own name is found without importlib.metadata, whose import takes a tenth of a command.
    """
    own = (file for path in sys.path for file in Path(path).glob(f"{package}-*.dist-info/entry_points.txt"))
    return any(_registers(file.read_text(errors="replace"), package) for file in own) or (
        package in registered_packages()
    )


def _registers(entry_points: str, package: str) -> bool:
    """Whether the text of a distribution's entry points has drivers of a package."""
    section = ""
    for line in entry_points.splitlines():
        module = line.partition("=")[2].strip().partition(":")[0]
        if line.startswith("["):
            section = line.strip()
        elif section == "[jumpstarter.drivers]" and module.partition(".")[0] == package:
            return True
    return False


def import_class(class_path: str, allow: Iterable[str] = (), unsafe: bool = False) -> type:
    """The class with that dotted path, if `unsafe`, a pattern of `allow` or an installed driver package covers it.

    Raises MissingDriverError, which says whether the class is not installed, not allowed or failed to import, and what
    to do.
    """
    module_path, dot, name = class_path.rpartition(".")
    package = module_path.partition(".")[0]
    if not dot or not all(part.isidentifier() for part in class_path.split(".")):
        raise MissingDriverError(f"{class_path[:200]!r} is not the dotted path of a class", class_path)
    if not (unsafe or _is_allowed(class_path, package, allow)):
        raise MissingDriverError(_refusal(package, class_path), class_path)
    try:
        module = import_module(module_path)
    except (Exception, SystemExit) as e:  # whatever the module does when it is imported
        raise MissingDriverError(_failure(e, class_path, module_path, package), class_path) from e
    try:
        loaded: object = getattr(module, name)
    except AttributeError as e:
        raise MissingDriverError(_outdated(package, class_path), class_path) from e
    if not isinstance(loaded, type):
        raise MissingDriverError(f"{class_path} is not a client class", class_path)
    return loaded


def cached_import(module_path: str, class_name: str) -> type:
    """The class of a module, which is imported unless it is there. For code of one's own: it may be any."""
    return getattr(sys.modules.get(module_path) or import_module(module_path), class_name)


def value_class(name: str, allow: Iterable[str] = (), unsafe: bool = False) -> type | None:
    """The class of a value that an exporter names as `module:qualified name`.

    The same classes may be loaded as by `import_class`. None where it may not be, or cannot.
    """
    module_path, _, qualname = name.partition(":")
    parts = [*module_path.split("."), *qualname.split(".")]
    if not all(part.isidentifier() for part in parts) or not (
        unsafe or _is_allowed(f"{module_path}.{qualname}", parts[0], allow)
    ):
        return None
    try:
        found: object = import_module(module_path)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit):  # noqa: BLE001 whatever the module does when it is imported, if it is there at all
        return None
    return found if isinstance(found, type) else None


def _is_allowed(class_path: str, package: str, allow: Iterable[str]) -> bool:
    own = class_path.startswith(("jumpstarter.client.", "jumpstarter.common."))
    return own or any(fnmatchcase(class_path, pattern) for pattern in allow) or is_registered(package)


def _refusal(package: str, class_path: str) -> str:
    if not _is_installed(package):
        return _not_installed(package, class_path)
    return (
        f"client {class_path} is not allowed: no installed distribution registers {package} as a driver; "
        f"allow it with JMP_DRIVERS_ALLOW='{package}.*'"
    )


def _failure(error: BaseException, class_path: str, module_path: str, package: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return _not_installed(package, class_path)
    if isinstance(error, ModuleNotFoundError) and f"{module_path}.".startswith(f"{error.name}."):
        return _outdated(package, class_path)
    return f"client {class_path} failed to import: {type(error).__name__}: {error}; {_repair(error, package)}"


def _not_installed(package: str, class_path: str) -> str:
    """Only a name that follows our convention is worth a command: an exporter may have made it up."""
    ours = package.startswith("jumpstarter_driver_")
    advice = f"pip install {distribution_of(package)}" if ours else f"install the distribution that has {package}"
    return f"client {class_path} is not installed here: {advice}"


def _outdated(package: str, class_path: str) -> str:
    return f"client {class_path} is not in the installed {package}: update it"


def _repair(error: BaseException, package: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install what has {error.name}"
    return f"python -c 'import {package}' shows where, or update it"


def _is_installed(package: str) -> bool:
    """Whether there is such a package; it is not imported."""
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a module that somebody put into sys.modules
        return True


def distribution_of(package: str) -> str:
    """Name of the distribution that, by convention, holds an import package."""
    return package.replace("_", "-")
