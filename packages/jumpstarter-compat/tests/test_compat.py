"""The names of the public release are those of the packages behind them, and nothing else."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from jumpstarter.client.tree import Policy
from jumpstarter.common.importlib import import_class
from jumpstarter.config.exporter import ExporterConfigV1Alpha1

NAMES = {
    "jumpstarter_driver_gpiod.driver": ["jumpstarter_driver_gpio.driver"],
    "jumpstarter_driver_gpiod.client": ["jumpstarter_driver_gpio.client"],
    "jumpstarter_driver_pyserial.driver": ["jumpstarter_driver_serial.driver"],
    "jumpstarter_driver_pyserial.client": ["jumpstarter_driver_serial.client"],
    "jumpstarter_driver_pyserial.console": ["jumpstarter_driver_serial.client"],
    "jumpstarter_driver_opendal.driver": ["jumpstarter_driver_storage.driver"],
    "jumpstarter_driver_opendal.client": ["jumpstarter_driver_storage.client", "jumpstarter_driver_storage.adapter"],
    "jumpstarter_driver_opendal.adapter": ["jumpstarter_driver_storage.adapter"],
    "jumpstarter_driver_opendal.common": ["jumpstarter.client.flasher"],
}
"""The modules that each alias has its names from."""


@pytest.mark.parametrize("name", NAMES)
def test_module_holds_nothing_but_names_of_others(name: str) -> None:
    alias, behind = import_module(name), [import_module(other) for other in NAMES[name]]
    public = {key for key in vars(alias) if not key.startswith("__")}
    assert public == set(alias.__all__)
    assert all(any(getattr(alias, key) is getattr(module, key, None) for module in behind) for key in public)


def test_every_module_is_looked_at() -> None:
    folder = Path(__file__).parents[1]
    files = [file for file in folder.glob("jumpstarter_driver_*/*.py") if file.stem != "__init__"]
    assert {f"{file.parent.name}.{file.stem}" for file in files} == NAMES.keys()


def test_client_that_an_exporter_of_the_public_release_names_is_loaded() -> None:
    from jumpstarter_driver_serial.client import PySerialClient
    from jumpstarter_driver_storage.client import StorageMuxFlasherClient

    policy = Policy()
    for path, expected in {
        "jumpstarter_driver_pyserial.client.PySerialClient": PySerialClient,
        "jumpstarter_driver_opendal.client.StorageMuxFlasherClient": StorageMuxFlasherClient,
    }.items():
        assert import_class(path, policy.allow, policy.unsafe) is expected


def test_config_of_the_public_release_loads(tmp_path: Path) -> None:
    config = tmp_path / "bench.yaml"
    config.write_text(
        """
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {namespace: default, name: bench}
export:
  console: {type: jumpstarter_driver_pyserial.driver.PySerial, config: {url: "loop://"}}
  sd: {type: jumpstarter_driver_opendal.driver.MockStorageMuxFlasher}
"""
    )
    root = ExporterConfigV1Alpha1.load_path(config).instantiate()
    assert {name: type(child).__module__ for name, child in root.children.items()} == {
        "console": "jumpstarter_driver_serial.driver",
        "sd": "jumpstarter_driver_storage.driver",
    }
    root.close()
