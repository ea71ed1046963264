"""The client of the drivers that fail."""

from functools import partial

import click
from jumpstarter.client import DriverClient
from jumpstarter.client.decorators import driver_click_group


class GadgetClient(DriverClient):
    """One command per method."""

    def cli(self) -> click.Group:
        @driver_click_group(self)
        def gadget() -> None:
            """Fail as told."""

        @gadget.command()
        @click.argument("how")
        def fail(how: str) -> None:
            """Fail."""
            self.call("fail", how)

        @gadget.command()
        @click.argument("channel", type=int)
        @click.option("--on/--off", default=True)
        def set(channel: int, on: bool) -> None:
            """Switch a channel."""
            click.echo(self.call("set", channel, on))

        for name in ("wait", "slow", "large", "unsendable"):
            gadget.command(name)(partial(self.call, name))

        @gadget.command()
        def count() -> None:
            """Count."""
            for number in self.streamingcall("count"):
                click.echo(number)

        @gadget.command()
        @click.argument("method", default="connect")
        def stream(method: str) -> None:
            """Open the stream and read it."""
            with self.stream(method) as stream:
                while True:
                    stream.receive()

        return gadget
