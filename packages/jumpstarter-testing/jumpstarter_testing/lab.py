"""Plugin of pytest for the tests that run in the lab (`-p jumpstarter_testing.lab`): udev, as on a real machine.

Tests of `usb_bench` run outside of the lab as well. Python is slow in it, so `--sample` takes of these only the ones
that are marked `kernel`: those to which a real kernel can add something. With `--share`, several machines have them
among them: each takes the next test that no other has taken.
"""

import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sample", action="store_true", help="of the tests with usb_bench, those marked kernel only")
    parser.addoption("--share", type=Path, help="run what nobody else has taken, by marks in this folder")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--sample"):
        return
    left_out = [item for item in items if "lab" not in item.path.parts and item.get_closest_marker("kernel") is None]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Pass over what another machine has taken; all have the tests in the same order."""
    folder: Path | None = item.config.getoption("--share")
    if folder is None:
        return None
    try:
        (folder / str(item.session.items.index(item))).mkdir()
    except FileExistsError:
        return True
    # what was passed over has kept the fixtures of the one before it alive, such as those of its module
    item.session._setupstate.teardown_exact(item)  # pyright: ignore[reportPrivateUsage]
    return None


@pytest.fixture(scope="session", autouse=True)
def udev() -> Generator[None]:  # pyright: ignore[reportUnusedFunction] pytest calls it
    """The daemon that makes links, loads drivers for what is plugged in, and knows its properties."""
    subprocess.run(["/lib/systemd/systemd-udevd", "--daemon", "--resolve-names=never"], check=True)
    yield
    subprocess.run(["udevadm", "control", "--exit"], check=False)
