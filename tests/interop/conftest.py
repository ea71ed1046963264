"""The pairings are played in the background while their outcomes are asserted; their matrix is printed in the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the modules beside this one

import matrix  # noqa: E402
import pairings  # noqa: E402
import releases  # noqa: E402
from pairings import Pairing, Results  # noqa: E402

collect_ignore_glob = ["bench/*", "third_party/*"]

AT_A_TIME = 3
"""Pairings that do something at the same time; they wait for one another's starts, mostly."""


@pytest.fixture(scope="session")
def bins(uv: str) -> Callable[[str], Path]:
    """The `bin` folder of a release; the test is skipped where it cannot be installed."""

    def found(release: str) -> Path:
        try:
            return releases.environment_of(release, uv)
        except releases.NotInstalledError as e:
            matrix.NOT_INSTALLED[release] = str(e)
            pytest.skip(f"release {release} cannot be installed here: {e}")

    return found


@pytest.fixture(scope="session")
def played(
    request: pytest.FixtureRequest, bins: Callable[[str], Path], certificate: tuple[Path, Path]
) -> Generator[Callable[[Pairing], Results]]:
    """The results of a pairing; all that this run asks for are played, a few at a time."""
    parameters: list[Any] = [getattr(getattr(item, "callspec", None), "params", {}) for item in request.session.items]
    wanted = dict.fromkeys(cast("list[Pairing]", [found["pairing"] for found in parameters if "pairing" in found]))
    busy = threading.Semaphore(AT_A_TIME)
    waiting = sum(map(pairings.is_idle_for_long, wanted))
    with ThreadPoolExecutor(AT_A_TIME + waiting) as pool:
        futures: dict[Pairing, Future[Results]] = {}
        for pairing in sorted(wanted, key=pairings.is_idle_for_long, reverse=True):
            for release in (pairing.client, pairing.exporter):
                bins(release)
            futures[pairing] = pool.submit(pairings.play, pairing, bins, certificate, busy)
        try:
            yield lambda pairing: futures[pairing].result(900)
        finally:
            for future in futures.values():
                future.cancel()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in matrix.lines():
        terminalreporter.write_line(line)
