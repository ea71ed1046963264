"""Which packages count as those of installed drivers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.common import importlib
from jumpstarter.common.exceptions import MissingDriverError
from jumpstarter.common.importlib import import_class, is_registered

REGISTERED = (
    "[console_scripts]\nmadeup = madeup_driver:main\n\n[jumpstarter.drivers]\nLamp = madeup_driver.driver:Lamp\n"
)


def install(directory: Path, package: str, entry_points: str) -> None:
    (directory / package).mkdir()
    (directory / package / "__init__.py").write_text("")
    (directory / package / "client.py").write_text("class Client: pass\n")
    metadata = directory / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), str(tmp_path / "missing"), ""])
    is_registered.cache_clear()
    importlib.registered_packages.cache_clear()
    return tmp_path


def test_a_package_that_registers_drivers_is_found_and_its_client_loaded(site: Path) -> None:
    install(site, "madeup_driver", REGISTERED)
    assert import_class("madeup_driver.client.Client").__name__ == "Client"


@pytest.mark.parametrize(
    "entry_points",
    [
        "",
        "[console_scripts]\nmadeup = madeup_other:main\n",
        "[jumpstarter.drivers]\nLamp = elsewhere.driver:Lamp\n",
        "[jumpstarter.drivers]\nLamp = madeup_other_too.driver:Lamp\n",
        "[jumpstarter.adapters]\nLamp = madeup_other.driver:Lamp\n",
    ],
)
def test_others_are_not_allowed(site: Path, entry_points: str) -> None:
    install(site, "madeup_other", entry_points)
    with pytest.raises(MissingDriverError, match="not allowed"):
        import_class("madeup_other.client.Client")


def test_a_package_in_a_distribution_of_another_name_is_found_too(site: Path) -> None:
    install(site, "madeup_bundle", "[jumpstarter.drivers]\nLamp = madeup_inside.driver:Lamp\n")
    assert is_registered("madeup_inside")
    assert not is_registered("madeup_bundle")


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert importlib._registers(text, "no_such_package") in (True, False)  # pyright: ignore[reportPrivateUsage]
