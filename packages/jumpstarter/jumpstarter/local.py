"""Exporter and client in one process: what a test of a driver uses."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import grpc

from .client.client import client_from_path, connect
from .client.connection import Endpoint
from .client.tree import Policy
from .common.enums import ExporterStatus
from .common.limits import SHUTDOWN
from .driver.base import Driver
from .exporter.session import Session
from .streams.portal import entered, shared_portal

if TYPE_CHECKING:
    from .client.base import DriverClient
    from .streams.portal import Portal

_ALL = Policy(unsafe=True)


@contextmanager
def serve(root_device: Driver) -> Generator[DriverClient]:
    """Serve a driver over a real socket and yield its client. The driver is reset before, and closed after."""
    portal = shared_portal()
    _keep_poller(portal)
    with (
        Session(root_device=root_device) as session,
        entered(portal, session.serve_unix_async(), SHUTDOWN) as path,
    ):
        session.update_status(ExporterStatus.LEASE_READY)
        with connect(Endpoint(str(path)), _ALL, portal, watch=False) as client:
            yield client


_kept: Portal | None = None
"""The portal on whose loop gRPC's poller runs on."""


def _keep_poller(portal: Portal) -> None:
    """Leave gRPC's poller running, which ends with the last server or channel and takes a while to start anew."""
    global _kept
    if _kept is None:
        portal.call(grpc.aio.init_grpc_aio)
        _kept = portal


def _let_go() -> None:
    """Let the poller end: a child that is forked while it runs can never use gRPC."""
    global _kept
    portal, _kept = _kept, None
    if portal is not None:
        with suppress(RuntimeError):  # the loop has ended
            portal.call(grpc.aio.shutdown_grpc_aio)


os.register_at_fork(before=_let_go)


@asynccontextmanager
async def serve_async(root_device: Driver, portal: Portal, stack: ExitStack) -> AsyncGenerator[DriverClient]:
    """The same on the running event loop, which is that of `portal`."""
    async with Session(root_device=root_device) as session, session.serve_unix_async() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        async with client_from_path(str(path), portal, stack, unsafe=True) as client:
            yield client
