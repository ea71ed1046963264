"""Connecting to an exporter."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.empty_pb2 import Empty

from ..common.exceptions import ExporterUnreachableError
from ..common.limits import CONNECT_TIMEOUT
from ..streams.portal import LazyPortal
from .connection import Connection, Endpoint, Stub, in_session
from .errors import unreachable
from .tree import Policy, build_tree
from .values import Values

SHORTCUTS = 2
"""Version of additions from which on exporters know DriverCalls and quick streams."""

if TYPE_CHECKING:
    from ..config.tls import TLSConfigV1Alpha1
    from ..streams.portal import Portal
    from .base import DriverClient


@contextmanager
def connect(
    endpoint: Endpoint,
    policy: Policy,
    portal: Portal | None = None,
    *,
    hold: str | None = None,
    wait: float | None = 0,
    watch: bool = True,
) -> Generator[DriverClient]:
    """Connect to an exporter from blocking code; yields the client of its root.

    With `hold`, which says what for, nobody else can use the exporter meanwhile, and its devices are handed back at the
    end; BusyError when it is somebody else's for more than `wait` seconds, None for ever. In a session of `jmp shell`,
    that one is used. No event loop runs until something asynchronous is used. Raises ExporterUnreachableError after
    CONNECT_TIMEOUT. Without `watch`, an exporter on a unix socket that freezes goes unnoticed.
    """
    endpoint = in_session(endpoint)
    with ExitStack() as stack:
        if hold is not None and endpoint.session is None:
            from .holding import holding

            endpoint = stack.enter_context(holding(endpoint, purpose=hold, wait=wait)).endpoint
        portal = portal or LazyPortal()
        connection = Connection(portal, stack, endpoint=endpoint)
        assert connection.blocking is not None
        try:
            report = connection.blocking.GetReport(Empty(), timeout=CONNECT_TIMEOUT)
        except grpc.RpcError as e:
            raise unreachable(e, endpoint.address) from e
        connection.values = Values(report.additions, policy.allow, policy.unsafe)
        if report.additions and watch:
            connection.watch_peer()
        if report.additions >= SHORTCUTS:
            connection.use_shortcuts()
        yield build_tree(report.reports, connection, portal, stack, policy, report.driver_types)


@asynccontextmanager
async def client_from_path(
    path: str,
    portal: Portal,
    stack: ExitStack,
    allow: Iterable[str] = (),
    unsafe: bool = False,
    *,
    tls_config: TLSConfigV1Alpha1 | None = None,
    grpc_options: Mapping[str, int | str] | None = None,
    insecure: bool = False,
    passphrase: str | None = None,
) -> AsyncGenerator[DriverClient]:
    """Connect to an exporter from the event loop of `portal`; yields the client of its root.

    `path` is a unix socket, or host:port for TCP, with TLS unless `insecure`; `tls_config` says whose certificate is
    taken, with its own `insecure` that of whoever answers. Raises ExporterUnreachableError.
    """
    endpoint = in_session(_endpoint(path, tls_config, grpc_options, insecure, passphrase))
    if tls_config is not None and tls_config.insecure and endpoint.is_tcp and not insecure:
        endpoint = replace(endpoint, ca=await _shown_by(path))
    async with endpoint.open(grpc.aio) as channel:
        connection = Connection(portal, stack, endpoint=endpoint, channel=channel)
        try:
            yield await _client_on(connection, connection.aio, portal, stack, Policy.of(allow, unsafe), path)
        finally:
            connection.end_shortcuts()


async def _shown_by(address: str) -> str:
    """The certificates that an exporter shows, to be taken as they are."""
    from anyio.to_thread import run_sync

    from ..streams.channels import shown_certificates

    try:
        return await run_sync(shown_certificates, address)
    except OSError as e:
        raise ExporterUnreachableError(f"no exporter answers at {address}: {e}") from e


def _endpoint(
    path: str,
    tls_config: TLSConfigV1Alpha1 | None,
    grpc_options: Mapping[str, int | str] | None,
    insecure: bool,
    passphrase: str | None,
) -> Endpoint:
    return Endpoint(
        path,
        insecure=insecure,
        passphrase=passphrase,
        ca=b64decode(tls_config.ca).decode() if tls_config is not None and tls_config.ca else None,
        options=dict(grpc_options or {}),
    )


@asynccontextmanager
async def client_from_channel(
    channel: Any,
    portal: Portal,
    stack: ExitStack,
    allow: Iterable[str] = (),
    unsafe: bool = False,
) -> AsyncGenerator[DriverClient]:
    """The client of the root at the other end of a grpc.aio channel, which stays the caller's."""
    connection = Connection(portal, stack, channel=channel)
    try:
        yield await _client_on(connection, connection.aio, portal, stack, Policy.of(allow, unsafe), "channel")
    finally:
        connection.end_shortcuts()


async def _client_on(
    connection: Connection, stub: Stub, portal: Portal, stack: ExitStack, policy: Policy, where: str
) -> DriverClient:
    try:
        report = await stub.GetReport(Empty(), timeout=CONNECT_TIMEOUT)
    except grpc.RpcError as e:
        raise unreachable(e, where) from e
    connection.values = Values(report.additions, policy.allow, policy.unsafe)
    if report.additions >= SHORTCUTS:
        connection.use_shortcuts()
    return build_tree(report.reports, connection, portal, stack, policy, report.driver_types)
