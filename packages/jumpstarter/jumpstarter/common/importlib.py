"""Which client classes a client loads.

A class that an exporter names is loaded only from a package that an installed distribution registers as a driver, or
that the user allows; nothing that a peer sends chooses other code.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module

from .exceptions import MissingDriverError


@cache
def registered_packages() -> frozenset[str]:
    """Top-level packages of the drivers that installed distributions register."""
    from importlib.metadata import entry_points  # slow to import, and not needed where everything is allowed

    return frozenset(entry.module.partition(".")[0] for entry in entry_points(group="jumpstarter.drivers"))


def import_class(class_path: str, allow: Iterable[str] = (), unsafe: bool = False) -> type:
    """The class with that dotted path, if `unsafe`, a pattern of `allow` or an installed driver package covers it.

    Raises ImportError for a path without a dot, and MissingDriverError that says whether the class is not installed,
    not allowed, or failed to import, and what to do.
    """
    module_path, dot, name = class_path.rpartition(".")
    package = module_path.partition(".")[0]
    if not dot or not all(part.isidentifier() for part in class_path.split(".")):
        raise ImportError(f"{class_path!r} is not the dotted path of a class")
    own = class_path.startswith("jumpstarter.client.")
    if not (own or unsafe or any(fnmatchcase(class_path, p) for p in allow) or package in registered_packages()):
        raise MissingDriverError(_not_allowed(package, class_path), class_path)
    try:
        loaded: object = getattr(import_module(module_path), name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module_path}.".startswith(f"{e.name}."):
            raise MissingDriverError(f"client {class_path} failed to import: {e}", class_path) from e
        raise MissingDriverError(
            f"client {class_path} is not installed here: pip install {distribution_of(package)}", class_path
        ) from e
    except AttributeError as e:
        raise MissingDriverError(f"client {class_path} is not in the installed {package}: update it", class_path) from e
    except Exception as e:  # whatever the module does when it is imported
        raise MissingDriverError(f"client {class_path} failed to import: {type(e).__name__}: {e}", class_path) from e
    if not isinstance(loaded, type):
        raise MissingDriverError(f"{class_path} is not a client class", class_path)
    return loaded


def _not_allowed(package: str, class_path: str) -> str:
    if package.startswith("jumpstarter_driver_"):
        return f"client {class_path} is not installed here: pip install {distribution_of(package)}"
    return (
        f"client {class_path} is not allowed: no installed distribution registers {package} as a driver; "
        f"allow it with JMP_DRIVERS_ALLOW='{package}.*'"
    )


def distribution_of(package: str) -> str:
    """Name of the distribution that, by convention, holds an import package."""
    return package.replace("_", "-")
