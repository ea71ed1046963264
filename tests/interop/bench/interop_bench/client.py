"""The client's side, with commands."""

from __future__ import annotations

from dataclasses import dataclass

import click
from jumpstarter.client import DriverClient
from jumpstarter.client.decorators import driver_click_group


@dataclass(kw_only=True)
class ProbeClient(DriverClient):
    def say(self, text: str) -> str:
        return self.call("say", text)

    def cli(self) -> click.Group:
        @driver_click_group(self)
        def base() -> None:
            """Probe the bench"""

        @base.command()
        @click.argument("text")
        def say(text: str) -> None:
            """Say something"""
            click.echo(self.say(text))

        @base.command()
        @click.argument("kind")
        def fail(kind: str) -> None:
            """Fail in a way"""
            self.call("fail", kind, "as you wish")

        _ = say, fail  # registered above
        return base
