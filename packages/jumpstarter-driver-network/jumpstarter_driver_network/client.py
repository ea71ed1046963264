"""The client of every network driver."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jumpstarter.client import DriverClient

if TYPE_CHECKING:
    from types import TracebackType

    import click


@dataclass(kw_only=True)
class NetworkClient(DriverClient):
    """A service behind the exporter; the adapters of this package connect to it."""

    def address(self) -> str:
        """The service's own address as a URL, for use without the exporter."""
        return self.call("address")

    def cli(self) -> "click.Group":
        """The commands `forward-tcp`, `forward-unix` and `address`."""
        from .cli import network_commands

        return network_commands(self)


@dataclass(kw_only=True)
class DbusNetworkClient(NetworkClient):
    """A message bus of the exporter's host. Within `with client:` it is the one that programs here find."""

    _found: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    @property
    def kind(self) -> str:
        """`system` or `session`."""
        from .dbus import KIND_LABEL

        return self.labels[KIND_LABEL]

    def __enter__(self) -> None:
        from .adapters import DbusAdapter

        self._found.enter_context(DbusAdapter(client=self))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        self._found.close()
