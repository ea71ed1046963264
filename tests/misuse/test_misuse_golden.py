"""Whatever goes wrong, the user gets one line that says what, where, why and what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import cases_configs
import cases_devices
import cases_python
import cases_reach
import cases_use
import pytest
from misuse_cases import CASES

if TYPE_CHECKING:
    from misuse_bench import Bench
    from misuse_golden import Golden

pytestmark = pytest.mark.xdist_group("misuse")  # one bench for all of them, in their order

MODULES = (cases_use, cases_reach, cases_configs, cases_devices, cases_python)  # each adds its cases when imported


@pytest.fixture(scope="module", autouse=True)
def _(bench: Bench) -> None:  # pyright: ignore[reportUnusedFunction] a fixture
    """The gadget no longer counts as absent, as it did at the end of other tests with this bench."""
    assert bench.j("gadget", "set", "1").how == "0"


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_is_what_was_reviewed(name: str, bench: Bench, golden: Golden):
    said = CASES[name](bench)
    assert len(said.lines.splitlines()) == 1, said
    assert "Traceback" not in said.lines
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]|grpc_status|<_\w+RpcError", said.lines)
    assert len(said.lines) < 2500
    assert said.how not in ("0", "1", "no error"), said
    assert str(said) == golden.expected(name, str(said))


def test_there_are_enough_cases_and_no_forgotten_ones(golden: Golden):
    assert len(CASES) >= 50 > len(MODULES)
    if golden.update:
        golden.keep(CASES)
    assert set(golden.sections) <= set(CASES)
