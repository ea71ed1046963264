"""The blocking client of one driver instance."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.values import decode_value
from .core import AsyncDriverClient
from .errors import driver_error

if TYPE_CHECKING:
    from ..streams.blocking import BlockingStream


@dataclass(kw_only=True)
class DriverClient(AsyncDriverClient):
    """Calls the methods of one driver instance and waits for them in the caller's thread."""

    children: dict[str, DriverClient] = field(default_factory=dict["str", "DriverClient"])
    """Clients of the instances below this one, by name."""

    portal: Any
    """The event loop that asynchronous methods and byte streams use; a `jumpstarter.streams.portal.Portal`."""

    stack: ExitStack
    """What this client opens and `close` ends."""

    description: str | None = None
    """What the exporter says of this instance."""

    methods_description: dict[str, str] = field(default_factory=dict[str, str])
    """What the exporter says of its commands, by name."""

    def call(self, method: str, *args: Any) -> Any:
        """Call an exported method and return its result.

        Raises DriverError or one of its subclasses; its text has what the driver said.
        """
        blocking = getattr(self.stub, "blocking", None)
        if blocking is None:
            return self.portal.call(self.call_async, method, *args)
        try:
            response = blocking.DriverCall(self._request(method, args))
        except grpc.RpcError as e:
            raise driver_error(e, self.path, method) from e
        return decode_value(response.result)

    def streamingcall(self, method: str, *args: Any) -> Generator[Any]:
        """The items of an exported generator, which ends when this one is closed. Raises as `call` does."""
        blocking = getattr(self.stub, "blocking", None)
        if blocking is None:
            yield from self._streamingcall_by_portal(method, args)
            return
        call = blocking.StreamingDriverCall(self._request(method, args, pb.StreamingDriverCallRequest))
        try:
            for response in call:
                yield decode_value(response.result)
        except grpc.RpcError as e:
            raise driver_error(e, self.path, method) from e
        finally:
            call.cancel()

    def _streamingcall_by_portal(self, method: str, args: tuple[Any, ...]) -> Generator[Any]:
        items = self.streamingcall_async(method, *args)
        try:
            while True:
                try:
                    yield self.portal.call(items.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            self.portal.call(items.aclose)

    @contextmanager
    def stream(self, method: str = "connect") -> Generator[BlockingStream]:
        """Open a byte stream that the driver exports; closed cleanly at the end, cut off by an exception."""
        from ..streams.blocking import BlockingStream

        with self.portal.wrap_async_context_manager(self.stream_async(method)) as stream:
            yield BlockingStream(stream=stream, portal=self.portal)

    def open_stream(self) -> BlockingStream:
        """Open the stream `connect`, which `close` ends."""
        return self.stack.enter_context(self.stream())

    @contextmanager
    def log_stream(self, show_all_logs: bool = True) -> Generator[None]:
        """Write the exporter's log to the loggers `exporter:driver`, `exporter:system`, ... meanwhile."""
        cm: AbstractContextManager[None] = self.portal.wrap_async_context_manager(self.log_stream_async(show_all_logs))
        with cm:
            yield

    def close(self) -> None:
        """End what this client has opened."""
        self.stack.close()


@dataclass(kw_only=True)
class StubDriverClient(DriverClient):
    """Stands for a client whose class cannot be used here; calls by name work, its own methods do not."""

    reason: str = ""
    """Why, and what to do."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "cli":
            raise AttributeError(name)
        raise AttributeError(f"{self.path or 'root'}.{name}: {self.reason}")
