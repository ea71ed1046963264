from dataclasses import dataclass

import click
from jumpstarter_driver_composite.client import CompositeClient
from pydantic import TypeAdapter

from .common import Step


@dataclass(kw_only=True)
class HarnessClient(CompositeClient):
    def bring_up(self):
        return self.call("bring_up")

    def plan(self, repeat=1):
        steps = TypeAdapter(list[Step]).validate_python(self.call("plan", repeat))
        return [(step.name, step.seconds) for step in steps]

    def cli(self):
        base = super().cli()

        @base.command("bring-up")
        def bring_up():
            """Switch everything on"""
            click.echo(self.bring_up())

        return base
