"""An exporter at an address, in the place of a leased one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from ..config.tls import TLSConfigV1Alpha1

if TYPE_CHECKING:
    from ..streams.portal import Portal
    from .base import DriverClient


@dataclass(kw_only=True)
class DirectLease:
    """What code for a `Lease` can use for an exporter that no controller gives away: it is there, and does not end."""

    address: str
    """host:port, or the path of a unix socket."""
    portal: Portal
    allow: Sequence[str] = ()
    unsafe: bool = False
    tls_config: TLSConfigV1Alpha1 = field(default_factory=TLSConfigV1Alpha1)
    grpc_options: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    insecure: bool = False
    passphrase: str | None = field(default=None, repr=False)

    name: str = field(default="direct", init=False)
    exporter_name: str = field(default="direct", init=False)
    exporter_labels: dict[str, str] = field(default_factory=dict[str, str], init=False)
    release: bool = field(default=False, init=False)
    lease_ended: bool = field(default=False, init=False)
    lease_transferred: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        """There is nothing to give back."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: Any) -> None:
        """There is nothing to give back."""

    @asynccontextmanager
    async def serve_unix_async(self) -> AsyncGenerator[str]:
        """The address that clients dial: the exporter's own."""
        yield self.address

    @contextmanager
    def serve_unix(self) -> Generator[str]:
        """The same for blocking code."""
        yield self.address

    @asynccontextmanager
    async def connect_async(self, stack: ExitStack) -> AsyncGenerator[DriverClient]:
        """The client of the exporter's root. Raises ExporterUnreachableError."""
        from .client import client_from_path

        async with client_from_path(
            self.address,
            self.portal,
            stack,
            self.allow,
            self.unsafe,
            tls_config=self.tls_config,
            grpc_options=self.grpc_options,
            insecure=self.insecure,
            passphrase=self.passphrase,
        ) as client:
            yield client

    @contextmanager
    def connect(self) -> Generator[DriverClient]:
        """The same for blocking code."""
        with ExitStack() as stack, self.portal.wrap_async_context_manager(self.connect_async(stack)) as client:
            yield client

    @asynccontextmanager
    async def monitor_async(self, threshold: timedelta = timedelta(minutes=5)) -> AsyncGenerator[None]:
        """Nothing to warn of: it has no end."""
        yield

    @contextmanager
    def monitor(self, threshold: timedelta = timedelta(minutes=5)) -> Generator[None]:
        """The same for blocking code."""
        yield
