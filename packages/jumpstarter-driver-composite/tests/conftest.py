from __future__ import annotations

import sys
import types
from dataclasses import dataclass

import click
import pytest
from jumpstarter.client import DriverClient
from jumpstarter.client.decorators import driver_click_group
from jumpstarter.driver import Driver, export

MODULE = "composite_test_devices"


@dataclass(kw_only=True)
class Lamp(Driver):
    """A device that counts what is done to it."""

    text: str = "on"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.resets = 0
        self.closes = 0

    @classmethod
    def client(cls) -> str:
        return f"{MODULE}.LampClient"

    @export
    def light(self) -> str:
        return self.text

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closes += 1


@dataclass(kw_only=True)
class LampClient(DriverClient):
    """Its class counts how often commands were made."""

    made = 0

    def light(self) -> str:
        return self.call("light")

    def cli(self) -> click.Group:
        type(self).made += 1

        @driver_click_group(self)
        def base() -> None:
            """A lamp."""

        @base.command()
        def light() -> None:
            """Switch it on."""
            click.echo(self.light())

        return base


@dataclass(kw_only=True)
class Silent(Lamp):
    """A device without a client class of its own."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"


@dataclass(kw_only=True)
class Foreign(Lamp):
    """A device whose client class is not installed."""

    @classmethod
    def client(cls) -> str:
        return "not_installed_anywhere.client.Client"


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The classes above as an importable module."""
    module = types.ModuleType(MODULE)
    module.__dict__.update(Lamp=Lamp, LampClient=LampClient, Silent=Silent, Foreign=Foreign)
    monkeypatch.setitem(sys.modules, MODULE, module)
    LampClient.made = 0
    return module
