"""Drivers in a process of their own (`isolate: process`): one that crashes takes no other along.

In the exporter's tree stands an object of the driver's class whose methods call the driver in its process; so do those
of the drivers below it. The process has no token of the exporter in its environment, and ends with the exporter. When
it dies, the call that runs fails, and the next one starts it again. One that is frozen is ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import wraps
from importlib import import_module
from typing import Any, cast
from uuid import UUID, uuid4

import grpc
from anyio import to_thread
from google.protobuf.empty_pb2 import Empty
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from .client.connection import Connection, Stub
from .client.core import AsyncDriverClient
from .client.errors import CallDeadlineExceeded, DriverError, ExporterLost, driver_error
from .client.values import Values
from .common.exceptions import ConfigurationError, DeviceAbsentError
from .common.limits import CONNECT_TIMEOUT, DRIVER_LIFE, FROZEN, PROCESS_OPTIONS
from .common.metadata import CLIENT_LABEL, NAME_LABEL
from .common.processes import GuardedProcess
from .config.dumper import dump_text
from .driver.base import Driver
from .driver.log import DriverLogger
from .driver.table import ExportedMethod, exported_methods
from .isolated import PART

_RESET = DRIVER_LIFE - 2
"""Seconds that it has to reset its drivers, so that one that hangs is known in time."""

_PAUSE = 0.2
"""Seconds until the log of a process that ended, although it has not, is asked for again."""

_DYING = 1.0
"""Seconds in which a process that does not answer turns out to be dead."""


def isolated(cls: type[Driver], entry: Mapping[str, Any], arguments: Mapping[str, Any], config: str) -> Driver:
    """A driver of a class, made from an entry of a configuration in a process of its own, which is started.

    Raises DeviceAbsentError or ConfigurationError where the driver cannot be made there.
    """
    host = _Process(entry, config)
    host.start()
    try:
        return host.tree(cls, arguments)
    except BaseException:
        host.close()
        raise


class _Process:
    """The process of a driver and those below it, and the way there. May be used from any thread."""

    def __init__(self, entry: Mapping[str, Any], config: str) -> None:
        self._order = {"entry": dump_text(dict(entry)), "path": sys.path, "config": config}
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._starting: _Running | None = None
        self._closed = False
        self.parts: dict[str, Driver] = {}
        """What stands for the drivers of the process, by their path there."""

    def start(self) -> _Running:
        """The process that runs, which is started where none does."""
        with self._lock:
            if self._closed:
                raise DeviceAbsentError("the exporter is stopping")
            if self._running is None or self._running.has_ended:
                if self._running is not None:
                    self._running.close()
                self._running = self._started()
            return self._running

    def _started(self) -> _Running:
        """A new life of the process; `close` ends it even before it has begun."""
        self._starting = _Running()
        try:
            if self._closed:
                self._starting.end()
            self._starting.begin(self._order, self._logged)
            return self._starting
        finally:
            self._starting = None

    def _logged(self, path: str, line: Any) -> None:
        """Write a line of the process's log in the name of its driver."""
        driver = self.parts.get(path)
        level = logging.getLevelNamesMapping().get(line.severity, logging.INFO)
        (driver.logger if driver is not None else logging.getLogger(__name__)).log(level, "%s", line.message)

    async def running(self) -> _Running:
        """The same on the event loop."""
        running = self._running
        if running is None or running.has_ended:
            running = await to_thread.run_sync(self.start)
        return running

    def reset(self) -> None:
        """Reset the drivers of the process; one that is started for that resets them by itself."""
        before = self._running
        running = self.start()
        if running is before:
            running.reset()

    def close(self) -> None:
        """End the process."""
        self._closed = True
        if (starting := self._starting) is not None:
            starting.end()
        with self._lock:
            if self._running is not None:
                self._running.close()

    def tree(self, cls: type[Driver], arguments: Mapping[str, Any]) -> Driver:
        """What stands for the drivers of the process; of its own one the class and arguments are known."""
        running = self.start()
        for path in running.nodes:
            name = path.rpartition(".")[2]
            kind = cls if path == PART else _class_named(running.nodes[path].driver_type)
            part = self.parts[path] = _part(self, path, kind, running.nodes[path], arguments if path == PART else {})
            if path != PART:
                self.parts[path.rpartition(".")[0]].children[name] = part
        return self.parts[PART]


class _Running:
    """One life of the process."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "jumpstarter.isolated"]
        self._process = GuardedProcess(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._connection: Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ending = self._was_frozen = False
        self.nodes: dict[str, Any] = {}
        """What the process says of its drivers, by path, the upper ones first."""

    def begin(self, order: Mapping[str, Any], logged: Callable[[str, Any], None]) -> None:
        """Have the drivers made; raises why they are not, and has ended then."""
        try:
            self._address = self._answer(order)
            self._channel = grpc.insecure_channel(f"unix:{self._address}", options=PROCESS_OPTIONS)
            self._stub: Any = Stub(self._channel)
            self._report = self._stub.GetReport(Empty(), timeout=CONNECT_TIMEOUT)
        except BaseException as e:
            self._process.close(grace=0)
            if isinstance(e, grpc.RpcError):
                raise DeviceAbsentError(f"its process {self._how_ended()} before it served") from e
            raise
        self.nodes = _by_path(self._report.reports)
        self._follower = threading.Thread(target=self._follow, args=(logged,), name="log of a process", daemon=True)
        self._follower.start()

    def _answer(self, order: Mapping[str, Any]) -> str:
        """Where the process serves; raises why it does not."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        with suppress(BrokenPipeError):
            stdin.write(json.dumps(order).encode() + b"\n")
            stdin.close()
        line, deadline = b"", time.monotonic() + DRIVER_LIFE
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        while not line.endswith(b"\n"):
            if not poll.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                raise DeviceAbsentError(f"its process did not begin to serve within {DRIVER_LIFE:g} s")
            data = os.read(stdout.fileno(), 4096)
            if not data:
                raise DeviceAbsentError(f"its process {self._how_ended()} before it served")
            line += data
        answer = json.loads(line)
        if failed := answer.get("failed"):
            kind = ConfigurationError if failed["code"] in ("configuration", "invalid-argument") else DeviceAbsentError
            raise kind(failed["text"], failed["hint"])
        return answer["serves"]

    @property
    def has_ended(self) -> bool:
        """Whether the process is dead, or as good as that."""
        return self._was_frozen or self._process.poll() is not None or self._process.is_gone

    def _how_ended(self) -> str:
        status = None
        with suppress(TimeoutError):
            status = self._process.wait(FROZEN + _DYING)
        if self._was_frozen:
            return "did not answer any more, and was ended"
        if status is None:
            return "ended"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def client(self, path: str) -> AsyncDriverClient:
        """The client of a driver of the process; DeviceAbsentError where it has none at that path."""
        if path not in self.nodes:
            raise DeviceAbsentError("since its process was started again, it is not there any more")
        return self._client(self.nodes[path].uuid)

    def client_of_host(self) -> AsyncDriverClient:
        """The client of what is above the drivers."""
        return self._client(self._report.reports[0].uuid)

    def _client(self, uuid: str) -> AsyncDriverClient:
        loop = asyncio.get_running_loop()
        if self._connection is None:
            channel = grpc.aio.insecure_channel(f"unix:{self._address}", options=PROCESS_OPTIONS[:2])
            self._connection = Connection(cast(Any, None), ExitStack(), channel=channel)
            self._connection.values = Values(self._report.additions, unsafe=True)
            self._connection.use_shortcuts()
            self._loop, self._close_channel = loop, channel.close
        return AsyncDriverClient(uuid=UUID(uuid), labels={}, stub=self._connection)

    async def lost(self) -> DeviceAbsentError:
        """What to tell of a call that the process did not answer."""
        how = await to_thread.run_sync(self._how_ended)
        return DeviceAbsentError(f"its process {how}", "call again, which starts another one; the log may say why")

    def reset(self) -> None:
        """Reset the drivers; a process that does not answer is ended. Raises what a call of it does."""
        try:
            self._stub.Reset(pb.ResetRequest(), timeout=_RESET)
        except grpc.RpcError as e:
            failure = driver_error(e, "", "reset")
            if isinstance(failure, CallDeadlineExceeded):
                self._process.close(grace=0)
                raise DeviceAbsentError(f"its process did not answer within {_RESET:g} s, and was ended") from None
            if isinstance(failure, ExporterLost):
                raise DeviceAbsentError(f"its process {self._how_ended()}") from None
            failure.message = failure.reason
            raise failure from None

    def _follow(self, logged: Callable[[str, Any], None]) -> None:
        """Pass on the log until the process ends; the connection shows whether it still answers."""
        paths, last = {node.uuid: path for path, node in self.nodes.items()}, 0
        while not self._is_ending and not self.has_ended:
            with suppress(grpc.RpcError, ValueError):  # it has ended, or answers no more
                for line in self._stub.LogStream(Empty()):
                    if line.uuid in paths and line.timestamp.ToNanoseconds() > last:
                        last = line.timestamp.ToNanoseconds()
                        logged(paths[line.uuid], line)
            with suppress(TimeoutError):
                self._process.wait(_PAUSE)
            if not self._is_ending and not self.has_ended:
                self._end_if_frozen()

    def _end_if_frozen(self) -> None:
        """End a process whose connection broke, and which takes no other."""
        try:
            grpc.channel_ready_future(self._channel).result(FROZEN)
        except (grpc.FutureTimeoutError, ValueError):
            if not self._is_ending and not self.has_ended:
                self._was_frozen = True
                self._process.end(grace=0)

    def end(self) -> None:
        """Have the process ended; does not wait."""
        self._is_ending = True
        self._process.end()

    def close(self) -> None:
        """End the process and the ways to it."""
        self._is_ending = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                asyncio.run_coroutine_threadsafe(self._close_channel(None), self._loop)
        self._process.close()
        self._channel.close()
        self._follower.join(_DYING)


def _by_path(reports: Any) -> dict[str, Any]:
    """The entries of a report below its root by path, where a driver comes before those below it."""
    paths: dict[str, str] = {}
    found: dict[str, Any] = {}
    for report in reports:
        if not report.parent_uuid:
            paths[report.uuid] = ""
            continue
        above, name = paths[report.parent_uuid], report.labels.get(NAME_LABEL, "")
        path = paths[report.uuid] = f"{above}.{name}" if above else name
        found[path] = report
    return found


def _class_named(path: str) -> type[Driver]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as e:
        raise ConfigurationError(f"a driver with a part of class {path} cannot be isolated: {e}") from e
    if not (isinstance(found, type) and issubclass(found, Driver)):
        raise ConfigurationError(f"a driver with a part of class {path} cannot be isolated: that is no driver")
    return found


def _part(process: _Process, path: str, cls: type[Driver], report: Any, arguments: Mapping[str, Any]) -> Driver:
    """What stands for one driver of the process."""
    part = cast("Driver", object.__new__(_class_of(cls)))
    given = {name: value for name, value in arguments.items() if name != "children"}
    own = {CLIENT_LABEL, NAME_LABEL}
    vars(cast("object", part)).update(
        given,
        uuid=uuid4(),
        labels={key: value for key, value in report.labels.items() if key not in own},
        children={},
        resources={},
        description=report.description or None,
        methods_description=dict(report.methods_description),
        log_level="DEBUG",  # its process has filtered the log
        on_release=None,
        isolated_process=process,
        isolated_place=path,
    )
    part.logger = DriverLogger(part)
    return part


class _Isolated:
    """Methods of what stands for a driver."""

    isolated_process: _Process
    isolated_place: str

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in a process of its own>"

    def reset(self) -> None:
        """As in the process, where one driver speaks for those below it."""
        if self.isolated_place == PART:
            self.isolated_process.reset()

    def close(self) -> None:
        """End the process, which closes its drivers."""
        if self.isolated_place == PART:
            self.isolated_process.close()

    async def release(self) -> None:
        """Hand back the devices of the process; where it dies before it has, those of the one that follows it."""
        if self.isolated_place != PART:
            return
        running = await self.isolated_process.running()
        try:
            await _told(running, running.client_of_host().call_async("release"))
        except DeviceAbsentError:
            if not running.has_ended:
                raise
            running = await self.isolated_process.running()
            await _told(running, running.client_of_host().call_async("release"))

    def identity(self) -> None:
        """None here: the process itself has locked it."""

    def extra_labels(self) -> dict[str, str]:
        return {}


async def _told(running: _Running, call: Any) -> Any:
    """The result of a call of the process; what it raises is told as if it were raised here."""
    try:
        return await call
    except ExporterLost:
        raise await running.lost() from None
    except DriverError as e:
        e.message = e.reason
        raise e from None


_classes: dict[type[Driver], type] = {}


def _class_of(cls: type[Driver]) -> type:
    """A class that is a `cls` for all who ask, with the same exported methods, which call those of the process."""
    if cls not in _classes:
        life = {name: vars(_Isolated)[name] for name in ("reset", "close", "release", "identity", "extra_labels")}
        exported = {name: _FORWARDING[method.kind](method) for name, method in exported_methods(cls).items()}
        named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        metaclass: Any = type(cls)
        _classes[cls] = metaclass(cls.__name__, (_Isolated, cls), {**named, **life, **exported})
    return _classes[cls]


@asynccontextmanager
async def _passed_on(
    driver: Any, client: AsyncDriverClient, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[tuple[list[Any], dict[str, Any]]]:
    """Arguments of a call, in which the files that our client offers are offered to the process."""

    async def pass_on(value: Any) -> Any:
        handle: Mapping[str, Any] = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
        if handle.get("kind") != "client_stream":
            return cast(Any, value)
        stream = await stack.enter_async_context(driver.resource(handle))
        return await stack.enter_async_context(client.resource_async(stream))

    async with AsyncExitStack() as stack:
        yield [await pass_on(arg) for arg in args], {name: await pass_on(arg) for name, arg in kwargs.items()}


def _call(method: ExportedMethod) -> Callable[..., Any]:
    @wraps(method.function)
    async def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        running = await self.isolated_process.running()
        client = running.client(self.isolated_place)
        async with _passed_on(self, client, args, kwargs) as (given, named):
            return await _told(running, client.call_async(method.name, *given, **named))

    return forward


def _streamed(method: ExportedMethod) -> Callable[..., Any]:
    @wraps(method.function)
    async def forward(self: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        running = await self.isolated_process.running()
        client = running.client(self.isolated_place)
        async with _passed_on(self, client, args, kwargs) as (given, named):
            items = client.streamingcall_async(method.name, *given, **named)
            try:
                while True:
                    try:
                        item = await _told(running, anext(items))
                    except StopAsyncIteration:
                        return
                    yield item
            finally:
                await items.aclose()

    return forward


def _stream(method: ExportedMethod) -> Callable[..., Any]:
    @wraps(method.function)
    @asynccontextmanager
    async def forward(self: Any) -> AsyncGenerator[Any]:
        running = await self.isolated_process.running()
        try:
            async with running.client(self.isolated_place).stream_async(method.name) as stream:
                yield stream
        except ExporterLost:
            raise await running.lost() from None

    return forward


_FORWARDING: dict[str, Callable[[ExportedMethod], Callable[..., Any]]] = {
    "call": _call,
    "streamingcall": _streamed,
    "stream": _stream,
}
