"""The commands of every network driver."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
from jumpstarter.client.decorators import driver_click_group
from jumpstarter.common.address import host_port

if TYPE_CHECKING:
    from .client import NetworkClient


def network_commands(client: "NetworkClient") -> click.Group:
    """`forward-tcp`, `forward-unix` and `address` for one client."""

    @driver_click_group(client)
    def base() -> None:
        """Connect to a service behind the exporter."""

    @base.command()
    @click.option(
        "--address", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Local address to listen on."
    )
    @click.argument("port", type=click.IntRange(0, 65535), default=0)
    def forward_tcp(address: str, port: int) -> None:
        """Forward a local TCP PORT, by default any free one, until Ctrl-C.

        Prints the address as HOST:PORT once it takes connections.
        """
        from .adapters import TcpPortforwardAdapter

        forward = TcpPortforwardAdapter(client=client, local_host=address, local_port=port)
        with forward as (host, bound):
            _serve(client, host_port(host, bound))

    @base.command()
    @click.argument("path", type=click.Path(path_type=Path), required=False)
    def forward_unix(path: Path | None) -> None:
        """Forward a local unix socket, by default at a temporary PATH, until Ctrl-C.

        Prints the path once it takes connections.
        """
        from .adapters import UnixPortforwardAdapter

        with UnixPortforwardAdapter(client=client, path=path) as bound:
            _serve(client, str(bound))

    @base.command()
    @click.option("--host", is_flag=True, help="Print the host only.")
    @click.option("--port", is_flag=True, help="Print the port only.")
    def address(host: bool, port: bool) -> None:
        """Print the address of the service, for use without the exporter."""
        url = client.address()
        parts = urlsplit(url)
        wanted = [str(value) for value, asked in ((parts.hostname, host), (parts.port, port)) if asked and value]
        click.echo(":".join(wanted) if host or port else url)

    return base


def _serve(client: "NetworkClient", address: str) -> None:
    """Print the address and wait until the user says that it is enough; raises when the exporter is gone before."""
    from jumpstarter.streams.portal import awaited

    from .forwarding import exporter_lost

    waiting = client.portal.start_task_soon(exporter_lost, client)
    with suppress(KeyboardInterrupt):
        click.echo(address)
        awaited(waiting)
    waiting.cancel()
