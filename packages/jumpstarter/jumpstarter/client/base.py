"""The blocking client of one driver instance."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.limits import HAND_BACK
from .core import AsyncDriverClient, session_has_ended
from .errors import driver_error
from .values import deadline

if TYPE_CHECKING:
    import click

    from ..streams.blocking import BlockingStream
    from .status import StatusChange


class _Cli:
    """`cli` of a client class that has none of its own: commands made from what the exporter says of the driver.

    As a convention, a client has the attribute only if there are commands.
    """

    def __get__(self, client: DriverClient | None, owner: type) -> Callable[[], click.Command]:
        if client is None:
            raise AttributeError("cli")
        bases = type(client).__mro__
        for base in bases[bases.index(DriverClient) + 1 :]:  # of a mixin that comes after this class
            if "cli" in vars(base):
                return vars(base)["cli"].__get__(client, owner)
        if not _has_described_commands(client):
            raise AttributeError(f"{type(client).__name__!r} object has no attribute 'cli'", name="cli", obj=client)
        from .generic_cli import commands_of

        return partial(commands_of, client)


def _has_described_commands(client: DriverClient) -> bool:
    """Whether the exporter says enough of a driver, or of one below it, to make commands of it."""
    described = client.driver_type
    if described is None:
        return False
    return bool(described.methods) or any(hasattr(child, "cli") for child in client.children.values())


@dataclass(kw_only=True)
class DriverClient(AsyncDriverClient):
    """Calls the methods of one driver instance and waits for them in the caller's thread."""

    children: dict[str, DriverClient] = field(default_factory=dict["str", "DriverClient"], repr=False)
    """Clients of the instances below this one, by name."""

    joins_pieces: ClassVar[bool] = False
    """Whether pieces that wait to be sent on a stream may go as one: the device sees bytes, not how they were cut."""

    portal: Any = field(repr=False)
    """The event loop that asynchronous methods and byte streams use; a `jumpstarter.streams.portal.Portal`."""

    stack: ExitStack = field(repr=False)
    """What this client opens and `close` ends."""

    description: str | None = None
    """What the exporter says of this instance."""

    methods_description: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """What the exporter says of its commands, by name."""

    def call(self, method: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call an exported method with these arguments and return its result, as the driver returned it.

        `timeout` is in seconds; a parameter of the method with that name is passed by position. Raises DriverError or
        one of its subclasses, whose text has what the driver said, and DriverTimeout where the time is over.
        """
        return self._call(method, args, kwargs, timeout)

    def _call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None) -> Any:
        blocking = getattr(self.stub, "blocking", None)
        if blocking is None:
            return self.portal.call(partial(self.call_async, method, *args, timeout=timeout, **kwargs))
        try:
            response = blocking.DriverCall(self._request(method, args, kwargs), timeout=deadline(timeout))
        except grpc.RpcError as e:
            raise driver_error(e, self.path, method, timeout) from e
        return self._values.read(response)

    def streamingcall(self, method: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Generator[Any]:
        """The items of an exported generator, which ends when this one is closed, or after `timeout` seconds.

        Raises as `call` does.
        """
        return self._streamingcall(method, args, kwargs, timeout)

    def _streamingcall(
        self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
    ) -> Generator[Any]:
        blocking = getattr(self.stub, "blocking", None)
        if blocking is None:
            yield from self._by_portal(self.streamingcall_async(method, *args, timeout=timeout, **kwargs))
            return
        request = self._request(method, args, kwargs, pb.StreamingDriverCallRequest)
        call = blocking.StreamingDriverCall(request, timeout=deadline(timeout))
        try:
            for response in call:
                yield from self._values.read_items(response)
        except grpc.RpcError as e:
            raise driver_error(e, self.path, method, timeout) from e
        finally:
            call.cancel()

    def _by_portal(self, items: AsyncGenerator[Any]) -> Generator[Any]:
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
        """Open a byte stream that the driver exports; closed cleanly at the end, cut off by an exception.

        One thread may send while another receives. Raises as `call` does where it cannot be opened.
        """
        blocking = getattr(self.stub, "blocking", None)
        if blocking is not None and type(self).stream_async is AsyncDriverClient.stream_async:
            from .direct import open_direct

            with open_direct(self, blocking, method) as stream:
                yield stream
            return
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

    def status_changes(self) -> Generator[StatusChange]:
        """The exporter's status now, and every later one as it comes; ends where the exporter is too old to tell."""
        from .status import follow

        blocking = getattr(self.stub, "blocking", None)
        if blocking is not None:
            for change in follow(blocking):
                self._told = change.status
                yield change
            return
        yield from self._by_portal(self.status_changes_async())

    def end_session(self) -> bool:
        """Ask the exporter to end the session, and wait until it has taken the devices back.

        False where it is not ours alone, as with calls outside of `jmp shell`: that ends by itself.
        """
        blocking = getattr(self.stub, "blocking", None)
        if blocking is None:
            return self.portal.call(self.end_session_async)
        try:
            return blocking.EndSession(pb.EndSessionRequest(), timeout=HAND_BACK).success
        except grpc.RpcError as e:
            return session_has_ended(e)

    def close(self) -> None:
        """End what this client and those of its children have opened."""
        for child in self.children.values():
            child.close()
        self.stack.close()

    if not TYPE_CHECKING:  # a convention: what a class of its own declares need not fit anything here
        cli = _Cli()


@dataclass(kw_only=True)
class StubDriverClient(DriverClient):
    """Stands for a client whose class cannot be used here; calls by name work, its own methods do not.

    Where the exporter describes the driver's methods, it is a generic client as well, which has them.
    """

    reason: str = ""
    """Why, and what to do."""

    if not TYPE_CHECKING:

        @property
        def status(self) -> Any:
            return self.__getattr__("status")  # its own class may have it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "cli":
            raise AttributeError(name)
        raise AttributeError(f"{self.path or 'root'}.{name}: {self.reason}")
