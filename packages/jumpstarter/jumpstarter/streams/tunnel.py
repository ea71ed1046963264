"""A byte stream through a router: what two peers have that both know the same token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, create_task_group
from anyio.abc import AnyByteStream

from ..common.groups import ungrouped
from ..common.services import ROUTER_SERVICE
from . import frames
from .channels import open_channel
from .common import join_streams
from .router import RouterStream

if TYPE_CHECKING:
    from ..config.tls import TLSConfigV1Alpha1


async def carry(
    endpoint: str, token: str, stream: AnyByteStream, tls: TLSConfigV1Alpha1, options: Mapping[str, str | int]
) -> None:
    """Join a stream with the one that a router opens for a token, until both directions have ended.

    Closes the stream. Raises BrokenResourceError when the router, or the peer behind it, breaks it off, and what
    `open_channel` raises.
    """
    try:
        async with open_channel(endpoint, tls, options) as channel:
            call: Any = channel.stream_stream(f"/{ROUTER_SERVICE}/Stream", frames.Frame.serialize, frames.decode)
            remote = RouterStream(call(metadata=(("authorization", f"Bearer {token}"),)), name="tunnel")
            try:
                await join_streams(remote, stream)
                await remote.aclose()
            finally:
                remote.abort()
    finally:
        with CancelScope(shield=True):
            await stream.aclose()


@asynccontextmanager
async def connect_router_stream(
    endpoint: str,
    token: str,
    stream: AnyByteStream,
    tls_config: TLSConfigV1Alpha1,
    grpc_options: Mapping[str, str | int] | None = None,
) -> AsyncGenerator[None]:
    """The same in the background; leaving waits until both directions have ended, an exception ends them."""
    with ungrouped():
        async with create_task_group() as tasks:
            tasks.start_soon(carry, endpoint, token, stream, tls_config, grpc_options or {})
            yield
