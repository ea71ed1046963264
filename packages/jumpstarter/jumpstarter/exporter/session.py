"""One user's time with one tree of drivers: which instances there are, in what state, and where they run."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from anyio import CancelScope, move_on_after
from anyio.to_thread import run_sync

from ..common.address import host_port
from ..common.enums import ExporterStatus, LogSource
from ..common.exceptions import LimitError, NotReady, UnknownInstance, UnknownMethod
from ..common.limits import CALLER_STREAMS, DRAIN, LOCAL_STREAMS, TCP_SERVER_OPTIONS, UNIX_SERVER_OPTIONS
from ..common.metadata import NAME_LABEL
from ..common.suggest import did_you_mean
from ..common.tempfile import TemporarySocket
from ..driver.base import RECORDER, Driver
from ..driver.rounds import Halt
from ..driver.standin import Waiting
from ..driver.table import MARKERS, ExportedMethod, Kind, exported_methods
from ..driver.turns import Failure
from .calls import Calls
from .handback import release_all
from .logging import LogHandler, LogHistory, LogLine
from .marker import Marker
from .record import Recorder
from .states import DriverState
from .status import StatusBoard
from .upkeep import Tolerance, Upkeep

if TYPE_CHECKING:
    import grpc
    from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

    from .gate import Gate

logger = logging.getLogger(__name__)


class Session:
    """Serves one tree of drivers: resets it on entry, closes it on exit.

    A context manager, for blocking code as well as for the event loop.
    """

    def __init__(
        self,
        *,
        root_device: Driver,
        uuid: UUID | None = None,
        labels: dict[str, str] | None = None,
        motd: str = "",
        record: Recorder | None = None,
        tolerance: Tolerance | None = None,
        config: str = "",
        halt: Halt | None = None,
    ) -> None:
        """`tolerance` lets it begin with the drivers that can be used; `config` is the file that they come from.

        After a `halt`, drivers are not reset any more, and entering it raises Halted.
        """
        self.root_device = root_device
        self.uuid = uuid or uuid4()
        self.labels = dict(labels or {})
        self.motd = motd
        self.status = StatusBoard()
        self.record = record or Recorder()
        self.log = LogHistory(listener=self._note)
        self._handler = LogHandler(self.log, lambda driver: self._instances.get(str(driver.uuid)) is driver)
        self._instances: dict[str, Driver] = {}
        self._paths: dict[UUID, str] = {}
        self._waiting: dict[str, Waiting] = {}
        self.config = config
        self.calls = Calls(self.path)
        self.upkeep = Upkeep(
            root_device, self.tree, tolerance, config, halt, lambda driver: self.calls.turn(driver, "reset")
        )
        self.upkeep.states.on_change.append(self._note_state)
        self.marker = Marker(self.labels.get(NAME_LABEL, ""), config)
        self.tree()
        self._servers = 0
        self._streams: Counter[str] = Counter()

    # life

    def __enter__(self) -> Session:
        logging.getLogger().addHandler(self._handler)
        try:
            self.upkeep.begin()
            self.tree()
        except BaseException as e:
            try:
                self.__exit__()
            except Exception as closing:  # noqa: BLE001 the reason why the session did not start counts more
                e.add_note(f"closing failed too: {closing}")
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.upkeep.end()
        finally:
            self._leave()

    def _leave(self) -> None:
        self.log.close()
        logging.getLogger().removeHandler(self._handler)

    async def __aenter__(self) -> Session:
        self.calls.begin()
        return await run_sync(self.__enter__)

    async def __aexit__(self, *exc: object) -> None:
        with CancelScope(shield=True):
            await run_sync(self.__exit__, *exc)

    def _note(self, line: LogLine) -> None:
        """Put a line of the log on record."""
        self.record.log(
            line.message,
            level=line.severity,
            source=line.source.name.lower(),
            driver=self.path(line.driver) if line.driver is not None else "",
            operation=line.operation or "",
            fields=line.fields,
        )

    def add_logger_source(self, logger_name: str, source: LogSource) -> None:
        """Have clients see the lines of a logger, and of those below it, as of that source."""
        self._handler.sources[logger_name] = source

    @contextmanager
    def context_log_source(self, logger_name: str, source: LogSource) -> Generator[None]:
        """The same meanwhile."""
        before = self._handler.sources.copy()
        self.add_logger_source(logger_name, source)
        try:
            yield
        finally:
            self._handler.sources = before

    def update_status(self, status: ExporterStatus | int, message: str = "") -> None:
        """Change the status that clients see."""
        self.status.set(ExporterStatus(status), message)

    # drivers

    def tree(self) -> list[tuple[UUID, Driver | None, str | None, Driver]]:
        """The instances as they are now, depth first; see `Driver.enumerate`."""
        tree = self.root_device.enumerate()
        instances = {str(device.uuid): device for _, _, _, device in tree}
        paths: dict[UUID, str] = {}
        for uuid, parent, name, _ in tree:
            above = paths[parent.uuid] if parent is not None else ""
            path = f"{above}.{name}" if above else name or ""
            paths.setdefault(uuid, path)
        for _, _, _, device in tree:
            if isinstance(device, Waiting):
                self._waiting[str(device.uuid)] = device
        for uuid, reference in list(self._waiting.items()):  # clients know it by its own uuid
            if uuid not in instances and (target := reference.target()) is not None:
                instances[uuid] = target
        for device in instances.values():
            vars(device)[RECORDER] = self._note_of
        self._instances, self._paths = instances, paths  # whole, since others read them from other threads
        return tree

    def reports(self) -> list[pb.DriverInstanceReport]:
        """What is told of the instances, parents first."""
        return [
            self.upkeep.describe(device, device.report(parent=parent, name=name))
            for _, parent, name, device in self.tree()
        ]

    def path(self, driver: Driver) -> str:
        """Names from the root to an instance, joined with dots; empty for the root."""
        return self._paths.get(driver.uuid, "")

    def __getitem__(self, uuid: UUID) -> Driver:
        """The instance with that identity; UnknownInstance where there is none."""
        return self.instance(str(uuid))

    def instance(self, uuid: str) -> Driver:
        """The instance with that identity as text; ValueError where the text is none."""
        instance = self._instances.get(uuid)
        if instance is not None:
            return instance
        try:
            key = str(UUID(uuid))
        except ValueError:
            raise ValueError(f"{uuid!r} is not the uuid of a driver instance") from None
        if key not in self._instances:
            raise UnknownInstance(
                f"no driver instance has the uuid {key}", "connect again: the exporter has started anew since you did"
            )
        return self._instances[key]

    def method(self, driver: Driver, name: str, kind: Kind) -> ExportedMethod:
        """An exported method of an instance; UnknownMethod says what is missing."""
        method = exported_methods(type(driver)).get(name)
        if method is not None and method.kind == kind:
            return method
        if method is not None:
            what = f"method {name!r} of {type(driver).__name__} is a {method.kind}: it has no {MARKERS[kind]}"
            raise UnknownMethod(what, f"use {method.kind}()")
        known = sorted(n for n, m in exported_methods(type(driver)).items() if m.kind == kind)
        hint = did_you_mean(name, known).removeprefix("; ") or f"it has {', '.join(known) or 'none of that kind'}"
        raise UnknownMethod(f"{type(driver).__name__} has no exported method {name!r}", hint)

    def check_ready(self) -> None:
        """Raise NotReady unless drivers may be used now."""
        current = self.status.current
        if not current.status.is_ready:
            raise NotReady(f"exporter is {current.status.name}{': ' if current.message else ''}{current.message}")

    @property
    def has_troubles(self) -> bool:
        """Whether there is a driver that cannot be used, or may have been replaced."""
        return bool(self.upkeep.states.troubles or self._waiting)

    async def check_usable(self, uuid: str) -> None:
        """Raise what a call of a driver is told whose device is absent or faulty, unless it comes back in a moment."""
        if self.has_troubles:
            self.check_ready()
            await self.upkeep.check_usable(self.instance(uuid))

    def _note_of(self, driver: Driver, kind: str, fields: dict[str, Any]) -> None:
        """Put what a driver notes on record."""
        self.record.event(kind, driver=self.path(driver), **fields)

    def _note_state(self, path: str, state: DriverState) -> None:
        self.record.event("state", driver=path, state=state.condition.name.lower(), reason=state.reason)

    def succeeded(self, driver: Driver) -> None:
        """Note that a call of a driver found its device."""
        if (states := self.upkeep.states).marked:
            states.present(str(driver.uuid), self.path(driver))

    @contextmanager
    def stream_of(self, peer: str) -> Generator[None]:
        """Count a byte stream of a peer while it is open; LimitError where that has too many."""
        limit, name = (
            (LOCAL_STREAMS, "LOCAL_STREAMS") if peer.startswith("unix:") else (CALLER_STREAMS, "CALLER_STREAMS")
        )
        if self._streams[peer] >= limit:
            raise LimitError(f"{limit} byte streams of one client are open (limit {name})")
        self._streams[peer] += 1
        try:
            yield
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]

    async def reset(self) -> None:
        """Reset all drivers, while none of them does anything else."""
        drivers = {device.uuid: device for _, _, _, device in self.tree()}
        await self.calls.exclusively(list(drivers.values()), "reset", self.upkeep.reset)

    async def release(self, *, absent: bool = False) -> list[Failure]:
        """Bring each device to the state in which it is handed back; returns what went wrong, and logs it.

        Devices that are `absent` count as failures only where asked for. Without one, the session has ended cleanly.
        """
        failures = await release_all(self, absent=absent)
        if not failures:
            self.marker.end()
        return failures

    async def make_good(self) -> list[Failure]:
        """Hand back what an exporter that was killed left behind, if one was; before the first session."""
        if not await run_sync(self.marker.is_left):
            return []
        logger.warning("the last exporter of this configuration did not end in order; handing the devices back")
        failures = await self.release(absent=True)
        if not failures:
            await run_sync(self.marker.clear)
        return failures

    async def _idle(self) -> None:
        """Wait until no worker is busy: a driver is not closed while one of its methods runs."""
        with move_on_after(DRAIN, shield=True) as waiting:
            await self.calls.settle()
        if waiting.cancelled_caught:
            logger.error("a driver's method did not end within %.0f s; closing its driver all the same", DRAIN)
        self.calls.close()

    # serving

    @asynccontextmanager
    async def serve_unix_async(
        self, path: str | os.PathLike[str] | None = None, *, gate: Gate | None = None
    ) -> AsyncGenerator[Path]:
        """Serve on a unix socket that only this user can use, by default a temporary one; yields its path."""
        with ExitStack() as stack:
            socket_path = Path(path) if path is not None else stack.enter_context(TemporarySocket())
            async with self._server(UNIX_SERVER_OPTIONS, gate=gate) as server:
                server.add_insecure_port(f"unix:{socket_path}")
                socket_path.chmod(0o600)
                await server.start()
                yield socket_path

    @asynccontextmanager
    async def serve_tcp_async(
        self,
        host: str,
        port: int,
        *,
        tls_credentials: grpc.ServerCredentials | None = None,
        interceptors: Sequence[Any] | None = None,
        gate: Gate | None = None,
    ) -> AsyncGenerator[int]:
        """Serve on a TCP port, 0 for any; yields the port. OSError where it cannot be bound."""
        async with self._server(TCP_SERVER_OPTIONS, interceptors, gate) as server:
            address = host_port(host, port)
            try:
                if tls_credentials is None:
                    bound = server.add_insecure_port(address)
                else:
                    bound = server.add_secure_port(address, tls_credentials)
            except RuntimeError as e:
                raise OSError(f"cannot listen on {address}: {e}") from e
            await server.start()
            yield bound

    @asynccontextmanager
    async def serve_multi_port_async(self, *ports: str) -> AsyncGenerator[None]:
        """Serve at addresses of gRPC, such as "127.0.0.1:50051" and "unix:/run/lab.sock": in clear text, for everybody
        who gets there. OSError where one cannot be bound."""
        async with self._server(TCP_SERVER_OPTIONS) as server:
            for port in ports:
                try:
                    server.add_insecure_port(port)
                except RuntimeError as e:
                    raise OSError(f"cannot listen on {port}: {e}") from e
            await server.start()
            yield

    @asynccontextmanager
    async def serve_port_async(self, port: str) -> AsyncGenerator[None]:
        """The same at one address."""
        async with self.serve_multi_port_async(port):
            yield

    @asynccontextmanager
    async def serve_tcp_and_unix_async(
        self,
        host: str,
        port: int,
        unix_path: str | os.PathLike[str],
        *,
        tls_credentials: grpc.ServerCredentials | None = None,
        interceptors: Sequence[Any] | None = None,
    ) -> AsyncGenerator[int]:
        """Serve on a TCP port and on a unix socket, which the interceptors are not for; yields the port."""
        tcp = self.serve_tcp_async(host, port, tls_credentials=tls_credentials, interceptors=interceptors)
        async with tcp as bound, self.serve_unix_async(unix_path):
            yield bound

    @asynccontextmanager
    async def serve_unix_with_hook_socket_async(self) -> AsyncGenerator[tuple[Path, Path]]:
        """Serve on two temporary unix sockets, one for clients and one for what runs beside them; yields the paths."""
        async with self.serve_unix_async() as clients, self.serve_unix_async() as hooks:
            yield clients, hooks

    @asynccontextmanager
    async def _server(
        self,
        options: list[tuple[str, int | str]],
        interceptors: Sequence[Any] | None = None,
        gate: Gate | None = None,
    ) -> AsyncGenerator[Any]:
        import grpc

        from .service import SessionService

        server = grpc.aio.server(options=options, interceptors=list(interceptors or ()))
        self.calls.begin()
        server.add_generic_rpc_handlers((SessionService(self, gate).handlers(),))
        self._servers += 1
        try:
            yield server
        finally:
            with CancelScope(shield=True):
                await server.stop(None)
                self._servers -= 1
                if not self._servers:
                    await self._idle()

    @contextmanager
    def serve_unix(self) -> Generator[Path]:
        """Serve on a temporary unix socket, on the process's event loop; yields its path. For blocking code."""
        from ..streams.portal import shared_portal

        with shared_portal().wrap_async_context_manager(self.serve_unix_async()) as path:
            yield path
