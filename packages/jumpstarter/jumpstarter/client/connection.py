"""A connection to an exporter: its address, and gRPC's two ways to call it.

Blocking calls run on gRPC's blocking stub in the caller's thread. The asynchronous stub, and with it the event loop, is
made when something asynchronous is first used. Both ways have a connection of their own to the exporter.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from ..common.env import JMP_DEBUG, JMP_SESSION, JUMPSTARTER_HOST
from ..common.limits import IDLE_STREAMS, TCP_OPTIONS, UNIX_OPTIONS
from ..common.metadata import DEBUG_METADATA_KEY, PASSPHRASE_METADATA_KEY, SESSION_METADATA_KEY
from ..common.services import EXPORTER_SERVICE, ROUTER_SERVICE, exporter_methods, with_metadata
from ..streams import frames
from ..streams.portal import Portal
from .values import PUBLIC

if TYPE_CHECKING:
    from .lane import Lanes


@dataclass(frozen=True)
class Endpoint:
    """Where an exporter is, and how to be let in."""

    address: str
    """Path of a unix socket, with or without `unix:` before it, or host:port."""

    insecure: bool = False
    """TCP in clear text."""

    passphrase: str | None = field(default=None, repr=False)
    """Sent with every call over TCP."""

    ca: str | None = None
    """PEM text of the authorities to trust; the system's if None."""

    session: str | None = field(default=None, repr=False)
    """Token of the session that calls belong to."""

    options: Mapping[str, int | str] = field(default_factory=dict[str, "int | str"])
    """gRPC channel options over the defaults."""

    @property
    def is_tcp(self) -> bool:
        """Whether the address is host:port; a path that exists, or has a slash, is none."""
        match = re.fullmatch(r"(\[[^\]]+\]|[^:/]+):(\d+)", self.address)
        return match is not None and 0 < int(match[2]) < 65536 and not Path(self.address).exists()

    @property
    def target(self) -> str:
        return self.address if self.is_tcp or self.address.startswith("unix:") else f"unix:{self.address}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of every call."""
        metadata: list[tuple[str, str]] = []
        if self.passphrase and self.is_tcp:
            metadata.append((PASSPHRASE_METADATA_KEY, self.passphrase))
        if self.session:
            metadata.append((SESSION_METADATA_KEY, self.session))
        if os.environ.get(JMP_DEBUG):
            metadata.append((DEBUG_METADATA_KEY, "1"))
        return tuple(metadata)

    def channel_options(self) -> list[tuple[str, int | str]]:
        return list({**dict(TCP_OPTIONS if self.is_tcp else UNIX_OPTIONS), **self.options}.items())

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Credentials of a TLS connection, None for clear text."""
        if not self.is_tcp or self.insecure:
            return None
        return grpc.ssl_channel_credentials(self.ca.encode() if self.ca else None)

    def open(self, module: Any) -> Any:
        """A channel, made by the functions of `grpc` or of `grpc.aio`."""
        credentials, options = self.credentials(), self.channel_options()
        if credentials is None:
            return module.insecure_channel(self.target, options=options)
        return module.secure_channel(self.target, credentials, options=options)


def in_session(endpoint: Endpoint) -> Endpoint:
    """The endpoint with the session that this process belongs to, if that is one of the same exporter."""
    if endpoint.session is None and os.environ.get(JUMPSTARTER_HOST) == endpoint.address:
        return replace(endpoint, session=os.environ.get(JMP_SESSION) or None)
    return endpoint


class Stub:
    """The calls of both services on one channel, blocking or asynchronous as the channel is; made when first used."""

    Stream: Callable[..., Any]

    def __init__(self, channel: Any, metadata: Sequence[tuple[str, str]] = ()) -> None:
        self._channel, self._metadata = channel, metadata

    def __getattr__(self, name: str) -> Any:
        call = with_metadata(self._call(name), self._metadata)
        setattr(self, name, call)
        return call

    def _call(self, name: str) -> Callable[..., Any]:
        if name == "Stream":
            return self._channel.stream_stream(f"/{ROUTER_SERVICE}/Stream", frames.Frame.serialize, frames.decode)
        if (method := exporter_methods().get(name)) is None:
            raise AttributeError(f"the services of an exporter have no call {name}")
        if method.takes_stream:
            kind = self._channel.stream_stream
        else:
            kind = self._channel.unary_stream if method.streams else self._channel.unary_unary
        return kind(f"/{EXPORTER_SERVICE}/{name}", method.request.SerializeToString, method.response.FromString)


class IdleStreams:
    """Stream calls that have carried a quick stream, and can carry another one."""

    def __init__(self) -> None:
        self._calls: list[Any] = []
        self._most = IDLE_STREAMS

    def __len__(self) -> int:
        return len(self._calls)

    def take(self) -> Any | None:
        """One of them; None where there is none."""
        while self._calls:
            call = self._calls.pop()
            if not call.done():
                return call
        return None

    def put(self, call: Any) -> None:
        """Keep a call, unless there are enough."""
        if len(self._calls) < self._most:
            self._calls.append(call)
        else:
            call.cancel()

    def close(self) -> None:
        """End those that are kept, and keep none any more."""
        self._most = 0
        while self._calls:
            self._calls.pop().cancel()


class Connection:
    """The stub of all clients of one tree. Its attributes are the asynchronous calls; `blocking` has the others.

    Channels are made when first used and closed with `stack`.
    """

    def __init__(
        self,
        portal: Portal,
        stack: ExitStack,
        *,
        endpoint: Endpoint | None = None,
        channel: Any = None,
    ) -> None:
        self.portal = portal
        self.endpoint = endpoint
        self.values = PUBLIC
        """How values travel; the report says more."""
        self._stack = stack
        self._lock = threading.Lock()
        self._blocking: Stub | None = None
        self._aio: Stub | None = None
        if channel is not None:
            self._aio = Stub(channel, endpoint.metadata if endpoint is not None else ())
        self._has_lane = False
        self._lanes: Lanes | None = None
        self.idle_streams: IdleStreams | None = None

    @property
    def blocking(self) -> Stub | None:
        """Calls that wait in the caller's thread; None where only an asynchronous channel is known."""
        if self._blocking is None and self.endpoint is not None:
            with self._lock:
                if self._blocking is None:
                    channel = self.endpoint.open(grpc)
                    self._stack.callback(channel.close)
                    self._blocking = Stub(channel, self.endpoint.metadata)
                    if self._has_lane:
                        self._shorten(self._blocking)
        return self._blocking

    def _shorten(self, stub: Any) -> None:
        """Have a blocking stub make its further calls by one stream."""
        from .blocking_lane import BlockingLanes

        stub.DriverCall = lanes = BlockingLanes(stub.DriverCalls, stub.DriverCall)
        self._stack.callback(lanes.close)

    def use_shortcuts(self) -> None:
        """Make calls by one stream from now on, and streams quick; for exporters that know both."""
        self._has_lane = True
        if self._blocking is not None:
            self._shorten(self._blocking)
        self.idle_streams = IdleStreams()

    def end_shortcuts(self) -> None:
        """End what these keep open, where the channel may stay; to be called on the event loop."""
        if self.idle_streams is not None:
            self.idle_streams.close()
        if self._lanes is not None:
            self._lanes.close()

    def watch_peer(self) -> None:
        """Notice from now on an exporter that freezes, on a unix socket as well; to be used where it allows pings."""
        if self.endpoint is not None and not self.endpoint.is_tcp:
            self.endpoint = replace(self.endpoint, options={**dict(TCP_OPTIONS), **self.endpoint.options})
            self._blocking = None  # the next call opens a channel with these options

    @property
    def aio(self) -> Stub:
        """Asynchronous calls; to be used on the portal's event loop."""
        if self._aio is None:
            assert self.endpoint is not None
            channel = self.endpoint.open(grpc.aio)
            self._stack.callback(self.portal.call, channel.close, None)
            self._aio = Stub(channel, self.endpoint.metadata)
        return self._aio

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        call = getattr(self.aio, name)
        if name == "DriverCall" and self._has_lane:
            from .lane import Lanes

            call = self._lanes = Lanes(self.aio.DriverCalls, call)
        setattr(self, name, call)
        return call
