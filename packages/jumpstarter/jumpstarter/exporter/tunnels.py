"""The connections by which the client of a lease reaches its session: one tunnel through a router for each."""

from __future__ import annotations

import logging
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from anyio import BrokenResourceError, ClosedResourceError, create_task_group, sleep
from anyio.abc import UNIXSocketStream
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.backoff import Backoff
from ..common.exceptions import ConfigurationError
from ..common.limits import CONTROLLER_RETRY, MAX_TUNNELS
from ..common.text import one_line
from ..streams.channels import asked
from ..streams.tunnel import carry

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ..common.changes import Changes
    from ..config.exporter import ExporterConfigV1Alpha1
    from .controller import Controller

logger = logging.getLogger(__name__)


class Tunnels:
    """Opens a tunnel from a lease's socket for every dial; `changes` are notified when one comes or goes."""

    def __init__(self, controller: Controller, config: ExporterConfigV1Alpha1, lease: str, changes: Changes) -> None:
        self._controller, self._config, self._lease = controller, config, lease
        self._changes = changes
        self.count = 0
        """How many are open."""
        self.last_used = time.monotonic()
        """When the last of them ended."""

    async def run(self, path: Path) -> None:
        """Listen for clients, through all outages of the controller, until cancelled."""
        backoff = Backoff(*CONTROLLER_RETRY)
        async with create_task_group() as tasks:
            while True:
                stub = await self._controller.connected()
                started = time.monotonic()
                try:
                    await self._listen(stub, tasks, path)
                except (grpc.RpcError, OSError) as e:
                    details: Any = e.details() if isinstance(e, grpc.aio.AioRpcError) else e
                    logger.debug("listening for lease %s ended: %s", self._lease, details)
                await sleep(backoff.after(time.monotonic() - started))

    async def _listen(self, stub: Any, tasks: TaskGroup, path: Path) -> None:
        call = stub.Listen(pb.ListenRequest(lease_name=self._lease))
        try:
            while (dial := await asked(call.read)) is not grpc.aio.EOF:
                if self.count >= MAX_TUNNELS:
                    logger.warning(
                        "the client of lease %s has %d connections (limit MAX_TUNNELS)", self._lease, self.count
                    )
                    continue
                tasks.start_soon(self._serve, dial, path)
        finally:
            call.cancel()

    async def _serve(self, dial: pb.ListenResponse, path: Path) -> None:
        """Serve one connection of the client, whatever becomes of it."""
        config = self._config
        self.count += 1
        self._changes.notify()
        try:
            local = await _connected(path)
            await carry(dial.router_endpoint, dial.router_token, local, config.tls, config.grpcOptions)
        except (BrokenResourceError, ClosedResourceError, OSError, ConfigurationError) as e:
            logger.info(
                "a connection of lease %s through the router %s ended: %s",
                self._lease,
                one_line(dial.router_endpoint),
                one_line(str(e) or type(e).__name__),
            )
        finally:
            self.count -= 1
            self.last_used = time.monotonic()
            self._changes.notify()


async def _connected(path: Path) -> UNIXSocketStream:
    """A connection to a session's socket, by a name of its own where the system has such names.

    By that, the session counts its byte streams apart from those of other tunnels, and knows that its client may be on
    another host.
    """
    local = socket.socket(socket.AF_UNIX)
    try:
        local.setblocking(False)
        if sys.platform == "linux":
            local.bind("")  # the kernel chooses the name (unix(7), autobind)
        local.connect(str(path))  # at once or never, on a unix socket
        return await UNIXSocketStream.from_socket(local)
    except BaseException:
        local.close()
        raise
