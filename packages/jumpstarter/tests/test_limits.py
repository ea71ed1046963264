"""The limits are what users are told that they are."""

import re
from pathlib import Path

from jumpstarter.common import limits

README = Path(__file__).parents[1] / "README.md"
UNITS = {"": 1, "s": 1, "KiB": 1 << 10, "MiB": 1 << 20}


def test_the_limits_are_those_of_the_readme() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([\d.]+) ?(\w*) \|", README.read_text(), re.MULTILINE)
    told = {name: float(number) * UNITS[unit] for name, number, unit in rows}
    assert len(told) >= 19
    assert told == {name: getattr(limits, name) for name in told}
