"""Make a new driver package from driver-template/: a driver that works, with its client, emulator and tests."""

import argparse
import re
import sys
from pathlib import Path

TEMPLATE = Path(__file__).parent / "driver-template"
PACKAGES = Path(__file__).resolve().parents[2] / "packages"
IGNORED = {"__pycache__", ".pytest_cache", ".ruff_cache"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/new-driver", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="what it drives: lower case, words joined by dashes (usb-relay)")
    parser.add_argument("--into", metavar="FOLDER", type=Path, default=PACKAGES, help="where to put the package")
    arguments = parser.parse_args()
    name: str = arguments.name.removeprefix("jumpstarter-driver-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        parser.error(f"{name!r} is no name for a package: use lower case words joined by dashes")
    target: Path = arguments.into / f"jumpstarter-driver-{name}"
    if target.exists():
        parser.error(f"{target} exists")
    create(name, target)
    sys.stdout.write(f"{target}\n")
    return 0


def create(name: str, target: Path) -> None:
    """Copy the template to `target`, with `name` in place of its own, in file names and texts alike."""
    for source in sorted(TEMPLATE.rglob("*")):
        relative = source.relative_to(TEMPLATE)
        if source.is_dir() or IGNORED & set(relative.parts):
            continue
        path = target / renamed(str(relative), name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(renamed(source.read_text(), name))


def renamed(text: str, name: str) -> str:
    class_name = "".join(word.capitalize() for word in name.split("-"))
    identifier = name.replace("-", "_")
    return (
        text.replace("jumpstarter-driver-template", f"jumpstarter-driver-{name}")
        .replace("Template", class_name)
        .replace("template", identifier)
    )


if __name__ == "__main__":
    sys.exit(main())
