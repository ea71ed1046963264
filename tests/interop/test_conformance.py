"""What the table of conformance says of our core is so, and is explained; `scripts/conformance` looks at all of it."""

from __future__ import annotations

import json

import conformance
import pytest
from releases import NotInstalledError

QUICK = ("power", "composite", "network", "gpiod", "sdwire", "snmp", "http")
"""Packages whose tests take a few seconds."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("package", QUICK)
def test_packaged_tests_do_as_the_table_says(package: str, uv: str) -> None:
    try:
        python = conformance.environment("ours", uv)
    except NotInstalledError as e:
        pytest.skip(f"the driver packages of the public release cannot be installed here: {e}")
    known = conformance.load()["ours"][package]
    found = conformance.run("ours", python, package)
    worse = {name: found.get(name) for name in known if conformance.is_worse(known[name], found.get(name))}
    assert not worse


def test_whatever_does_worse_on_our_core_is_explained() -> None:
    data = conformance.load()
    reasons = json.loads((conformance.HERE / "conformance_reasons.json").read_text())
    worse = {
        name
        for package in conformance.PACKAGES
        for name, outcome in data["public"][package].items()
        if conformance.is_worse(outcome, data["ours"][package].get(name))
    }
    assert worse == reasons.keys()
    assert conformance.TABLE.read_text() == conformance.table(data, reasons)
