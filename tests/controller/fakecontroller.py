"""A controller with a router, small and strict, for tests and for trying things by hand.

It checks what the public one checks and answers as that does. Faults are injected by its methods; `calls` has what it
was asked. As a program, it prints a JSON object with its endpoint and writes configurations for exporters and clients:

    python tests/controller/fakecontroller.py DIRECTORY --exporter board1 board=x --client alice
"""

from __future__ import annotations

import argparse
import base64
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import grpc
from google.protobuf.empty_pb2 import Empty
from jumpstarter_protocol.jumpstarter.client.v1 import client_pb2, client_pb2_grpc
from jumpstarter_protocol.jumpstarter.v1 import common_pb2, jumpstarter_pb2, jumpstarter_pb2_grpc

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from fakerouter import OPTIONS, THREADS, FakeRouter, encode_token
from fakestate import NAMESPACE, PENDING_DIALS, Exporter, LabState, Lease, Listener, matches

Code = grpc.StatusCode

DIALABLE = (
    common_pb2.EXPORTER_STATUS_UNSPECIFIED,
    common_pb2.EXPORTER_STATUS_LEASE_READY,
    common_pb2.EXPORTER_STATUS_BEFORE_LEASE_HOOK,
    common_pb2.EXPORTER_STATUS_AFTER_LEASE_HOOK,
)
"""What an exporter does that a client may be connected with."""

TICK = 0.05
"""Seconds between two looks at the clock."""


@dataclass(frozen=True)
class Call:
    """One call that the controller got."""

    method: str
    name: str
    """Of the exporter or client that made it."""
    request: Any
    time: float = field(default_factory=time.monotonic)


class FakeController:
    """A controller on a TLS port of the loopback address, and its router on another."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self._certificate, self._key = certificate, key
        self._secret = b"controller secret"
        self.state = LabState()
        self.router = FakeRouter(certificate, key)
        self.calls: list[Call] = []
        self.refused: list[float] = []
        """When a token was refused, on the monotonic clock."""
        self.faults: dict[str, Callable[[Any], None]] = {}
        """By method: what is done with the context of a call before it is served."""
        self.dial_patience = 30.0
        """Seconds for which a dial waits until the exporter is ready."""
        self.port = 0
        self._server: grpc.Server | None = None
        self._clock: threading.Thread | None = None
        self._has_ended = threading.Event()

    # life

    def __enter__(self) -> FakeController:
        self.router.start()
        self.start()
        self._clock = threading.Thread(target=self._tick, daemon=True)
        self._clock.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._has_ended.set()
        self.stop()
        self.router.stop()
        if self._clock is not None:
            self._clock.join()

    def start(self) -> None:
        """Serve; after `stop` on the same port again, with all that was known."""
        server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
        jumpstarter_pb2_grpc.add_ControllerServiceServicer_to_server(_Controller(self), server)
        client_pb2_grpc.add_ClientServiceServicer_to_server(_Client(self), server)
        credentials = grpc.ssl_server_credentials([(self._key, self._certificate)])
        self.port = server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        server.start()
        self._server = server

    def stop(self) -> None:
        """An outage: the port is closed, all calls end."""
        server, self._server = self._server, None
        if server is not None:
            stopped = server.stop(None)
            with self.state.changed:
                self.state.changed.notify_all()
            stopped.wait(60)

    @property
    def is_serving(self) -> bool:
        return self._server is not None

    def _tick(self) -> None:
        while not self._has_ended.wait(TICK):
            if self.is_serving:
                self.state.schedule()

    # what an administrator does

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ca(self) -> str:
        """The certificate to trust, as configurations have it."""
        return base64.b64encode(self._certificate).decode()

    def token(self, kind: str, name: str, *, valid: float = 365 * 86400) -> str:
        """A token of an exporter or client."""
        claims = {"sub": f"{kind}:{NAMESPACE}:{name}:{uuid4()}", "exp": int(time.time() + valid)}
        return encode_token(claims, self._secret)

    def add_exporter(self, name: str, **labels: str) -> Exporter:
        """Create an exporter, which may register from now on."""
        exporter = Exporter(name, labels, self.token("exporter", name))
        with self.state.changed:
            self.state.exporters[name] = exporter
        return exporter

    def add_client(self, name: str) -> str:
        """Create a client; returns its token."""
        token = self.token("client", name)
        with self.state.changed:
            self.state.clients[name] = token
        return token

    def exporter_config(self, name: str, export: str) -> str:
        """The configuration of an exporter; `export` is the YAML of its drivers, indented."""
        return self._config("ExporterConfig", name, self.state.exporters[name].token) + f"export:\n{export}"

    def client_config(self, name: str) -> str:
        """The configuration of a client."""
        return self._config("ClientConfig", name, self.state.clients[name]) + "drivers:\n  allow: []\n  unsafe: true\n"

    def _config(self, kind: str, name: str, token: str) -> str:
        return (
            f"apiVersion: jumpstarter.dev/v1alpha1\nkind: {kind}\n"
            f"metadata:\n  namespace: {NAMESPACE}\n  name: {name}\n"
            f"endpoint: {self.endpoint}\ntoken: {token}\ntls:\n  ca: {self.ca}\n"
        )

    def lease(self, exporter: str, client: str, *, duration: float = 3600.0, name: str = "") -> Lease:
        """Give an exporter to a client, as if the client had asked for it."""
        lease = Lease(name or str(uuid4()), client, "", exporter, duration)
        with self.state.changed:
            self.state.leases[lease.name] = lease
            self.state.schedule()
        return lease

    def end_lease(self, name: str, why: str = "Released") -> None:
        """Take a lease back."""
        with self.state.changed:
            self.state.leases[name].end(why)
            self.state.schedule()

    # what a test wants to know

    def count(self, method: str, name: str | None = None) -> int:
        """How often a method was called, by anybody or by one."""
        return sum(call.method == method and name in (None, call.name) for call in self.calls[:])

    def statuses(self, name: str) -> list[str]:
        """What an exporter reported, in order."""
        return [
            common_pb2.ExporterStatus.Name(call.request.status).removeprefix("EXPORTER_STATUS_")
            for call in self.calls[:]
            if call.method == "ReportStatus" and call.name == name
        ]

    def wait_until(self, condition: Callable[[], Any], timeout: float = 20.0, what: str = "") -> Any:
        """The first true result of a condition on the state; fails after so many seconds."""
        deadline = time.monotonic() + timeout
        with self.state.changed:
            while not (result := condition()):
                left = deadline - time.monotonic()
                assert left > 0, f"not within {timeout:g} s: {what}; {[(c.name, c.method) for c in self.calls[-20:]]}"
                self.state.changed.wait(min(left, 0.1))
        return result

    def wait_status(self, name: str, status: str, timeout: float = 20.0) -> None:
        """Wait until an exporter is known to be in a status, and online."""
        wanted = common_pb2.ExporterStatus.Value(f"EXPORTER_STATUS_{status}")
        exporter = self.state.exporters[name]
        self.wait_until(
            lambda: exporter.is_online and exporter.status == wanted, timeout, f"{name} {status}: {self.statuses(name)}"
        )

    # faults

    def fail(self, method: str, code: grpc.StatusCode, details: str = "injected") -> None:
        """Let a method fail until `heal`."""
        self.faults[method] = lambda context: context.abort(code, details)

    def hang(self, method: str) -> None:
        """Let a method answer nothing until `heal`, or its caller gives up."""

        def wait(context: Any) -> None:
            while context.is_active() and method in self.faults:
                time.sleep(0.02)

        self.faults[method] = wait

    def heal(self, *methods: str) -> None:
        for method in methods or list(self.faults):
            self.faults.pop(method, None)

    # the gate

    def admit(self, kind: str, method: str, request: Any, context: Any) -> str:
        """The name of who calls, which must be of a kind; else the call ends here."""
        with self.state.changed:
            name = self._authenticate(kind, context)
            self.calls.append(Call(method, name, request))
            self.state.changed.notify_all()
        if fault := self.faults.get(method):
            fault(context)
        return name

    def _authenticate(self, kind: str, context: Any) -> str:
        given: dict[str, list[str]] = {}
        for key, value in context.invocation_metadata():
            given.setdefault(key, []).append(value)
        for key in ("authorization", "jumpstarter-kind", "jumpstarter-namespace", "jumpstarter-name"):
            if len(given.get(key, [])) != 1:
                abort(context, Code.INVALID_ARGUMENT, f"missing or multiple metadata: {key}")
        authorization, name = given["authorization"][0], given["jumpstarter-name"][0]
        if not authorization.lower().startswith("bearer "):
            abort(context, Code.UNAUTHENTICATED, "missing bearer token")
        if given["jumpstarter-kind"][0] not in kind.split("|"):
            abort(context, Code.INVALID_ARGUMENT, "object kind mismatch")
        is_exporter = given["jumpstarter-kind"][0] == "Exporter"
        known = self.state.exporters.get(name) if is_exporter else None
        token = known.token if known is not None else self.state.clients.get(name) if not is_exporter else None
        if given["jumpstarter-namespace"][0] != NAMESPACE or token is None:
            abort(context, Code.UNAUTHENTICATED, f"{name} is not known")
        if authorization[7:] != token:
            self.refused.append(time.monotonic())
            abort(context, Code.UNAUTHENTICATED, "token is invalid or has expired")
        return name


def abort(context: Any, code: grpc.StatusCode, details: str) -> NoReturn:
    """End a call with a status."""
    context.abort(code, details)
    raise AssertionError


class _Controller(jumpstarter_pb2_grpc.ControllerServiceServicer):
    """The side for exporters, and for dialling."""

    def __init__(self, controller: FakeController) -> None:
        self._controller, self._state = controller, controller.state

    def _exporter(self, method: str, request: Any, context: Any) -> Exporter:
        return self._state.exporters[self._controller.admit("Exporter", method, request, context)]

    def Register(self, request: Any, context: Any) -> jumpstarter_pb2.RegisterResponse:
        exporter = self._exporter("Register", request, context)
        with self._state.changed:
            prefix = "jumpstarter.dev/"
            kept = {key: value for key, value in exporter.labels.items() if not key.startswith(prefix)}
            exporter.labels = kept | {key: text for key, text in request.labels.items() if key.startswith(prefix)}
            exporter.devices, exporter.is_registered = list(request.reports), True
            self._state.schedule()
        return jumpstarter_pb2.RegisterResponse(uuid=exporter.uid)

    def Unregister(self, request: Any, context: Any) -> jumpstarter_pb2.UnregisterResponse:
        exporter = self._exporter("Unregister", request, context)
        with self._state.changed:
            exporter.devices, exporter.is_registered, exporter.is_online = [], False, False
            exporter.status = common_pb2.EXPORTER_STATUS_OFFLINE
            self._state.schedule()
        return jumpstarter_pb2.UnregisterResponse()

    def ReportStatus(self, request: Any, context: Any) -> jumpstarter_pb2.ReportStatusResponse:
        exporter = self._exporter("ReportStatus", request, context)
        with self._state.changed:
            exporter.report(request.status, request.message)
            if request.release_lease and (lease := self._state.lease_of(exporter)):
                lease.end("Released")
            self._state.schedule()
        return jumpstarter_pb2.ReportStatusResponse()

    def Status(self, request: Any, context: Any) -> Iterator[jumpstarter_pb2.StatusResponse]:
        exporter = self._exporter("Status", request, context)
        context.add_callback(self._wake)
        sent: jumpstarter_pb2.StatusResponse | None = None
        with self._state.changed:
            exporter.seen()
            self._state.schedule()
        while context.is_active() and self._controller.is_serving:
            if "Status.end" in self._controller.faults:
                return
            with self._state.changed:
                exporter.last_seen = time.monotonic()
                now = self._status_of(exporter)
                if now == sent:
                    self._state.changed.wait(1)
                    continue
            sent = now
            yield now

    def _wake(self) -> None:
        with self._state.changed:
            self._state.changed.notify_all()

    def _status_of(self, exporter: Exporter) -> jumpstarter_pb2.StatusResponse:
        lease = self._state.lease_of(exporter)
        if lease is None:
            return jumpstarter_pb2.StatusResponse(leased=False)
        return jumpstarter_pb2.StatusResponse(
            leased=True, lease_name=lease.name, client_name=lease.client, context=lease.context
        )

    def Listen(self, request: Any, context: Any) -> Iterator[jumpstarter_pb2.ListenResponse]:
        exporter = self._exporter("Listen", request, context)
        if not request.lease_name:
            abort(context, Code.UNKNOWN, "empty lease name")
        listener = Listener()
        with self._state.changed:
            lease = self._state.leases.get(request.lease_name)
            if lease is None:
                abort(context, Code.UNKNOWN, f'leases "{request.lease_name}" not found')
            if not lease.is_active or lease.exporter is not exporter:
                abort(context, Code.UNKNOWN, "permission denied")
            if older := exporter.listeners.get(lease.name):
                older.close()
            exporter.listeners[lease.name] = listener
            self._state.changed.notify_all()

        def ended() -> None:
            with self._state.changed:
                if exporter.listeners.get(request.lease_name) is listener:
                    del exporter.listeners[request.lease_name]
            listener.close()

        if not context.add_callback(ended):
            ended()
        while (dial := listener.dials.get()) is not None:
            yield dial

    def Dial(self, request: Any, context: Any) -> jumpstarter_pb2.DialResponse:
        client = self._controller.admit("Client", "Dial", request, context)
        deadline = time.monotonic() + self._controller.dial_patience
        with self._state.changed:
            lease = self._state.leases.get(request.lease_name)
            if not request.lease_name:
                abort(context, Code.UNKNOWN, "empty lease name")
            if lease is None:
                abort(context, Code.UNKNOWN, f'leases "{request.lease_name}" not found')
            while True:
                if lease.client != client:
                    abort(context, Code.UNKNOWN, "permission denied")
                if not lease.is_active or lease.exporter is None:
                    abort(context, Code.UNKNOWN, "lease not active")
                exporter = lease.exporter
                if exporter.status in DIALABLE:
                    break
                status = common_pb2.ExporterStatus.Name(exporter.status)  # pyright: ignore[reportArgumentType]
                if exporter.status != common_pb2.EXPORTER_STATUS_AVAILABLE:
                    abort(context, Code.FAILED_PRECONDITION, f"exporter is {status}")
                if time.monotonic() >= deadline or not context.is_active():
                    abort(context, Code.FAILED_PRECONDITION, f"exporter is not ready (status: {status})")
                self._state.changed.wait(0.1)
            listener = exporter.listeners.get(lease.name)
            if listener is None:
                abort(context, Code.UNAVAILABLE, "no listener for this lease")
            if listener.dials.qsize() >= PENDING_DIALS:
                abort(context, Code.RESOURCE_EXHAUSTED, "the listener's buffer is full")
            where = {
                "router_endpoint": self._controller.router.endpoint,
                "router_token": self._controller.router.token(),
            }
            listener.dials.put(jumpstarter_pb2.ListenResponse(**where))
        return jumpstarter_pb2.DialResponse(**where)

    def ReleaseLease(self, request: Any, context: Any) -> jumpstarter_pb2.ReleaseLeaseResponse:
        kinds = [value for key, value in context.invocation_metadata() if key == "jumpstarter-kind"]
        name = self._controller.admit("Client|Exporter", "ReleaseLease", request, context)
        with self._state.changed:
            lease = self._state.leases.get(request.name)
            if lease is None:
                abort(context, Code.NOT_FOUND, f'leases "{request.name}" not found')
            by_exporter = kinds == ["Exporter"]
            if by_exporter and (lease.exporter is None or lease.exporter.name != name):
                abort(context, Code.FAILED_PRECONDITION, "the lease is not held by this exporter")
            if not by_exporter and lease.client != name:
                abort(context, Code.UNKNOWN, "permission denied")
            lease.end("Released")
            self._state.schedule()
        return jumpstarter_pb2.ReleaseLeaseResponse()

    def GetServiceEndpoints(self, request: Any, context: Any) -> jumpstarter_pb2.GetServiceEndpointsResponse:
        self._exporter("GetServiceEndpoints", request, context)
        return jumpstarter_pb2.GetServiceEndpointsResponse()


class _Client(client_pb2_grpc.ClientServiceServicer):
    """The side for clients."""

    def __init__(self, controller: FakeController) -> None:
        self._controller, self._state = controller, controller.state

    def _client(self, method: str, request: Any, context: Any) -> str:
        return self._controller.admit("Client", method, request, context)

    def _lease(self, name: str, context: Any) -> Lease:
        lease = self._state.leases.get(_last(name, "leases", context))
        if lease is None:
            abort(context, Code.NOT_FOUND, f'leases "{name}" not found')
        return lease

    def GetExporter(self, request: Any, context: Any) -> client_pb2.Exporter:
        self._client("GetExporter", request, context)
        with self._state.changed:
            exporter = self._state.exporters.get(_last(request.name, "exporters", context))
            if exporter is None:
                abort(context, Code.NOT_FOUND, f'exporters "{request.name}" not found')
            return exporter.to_proto()

    def ListExporters(self, request: Any, context: Any) -> client_pb2.ListExportersResponse:
        self._client("ListExporters", request, context)
        with self._state.changed:
            found = [e.to_proto() for e in self._state.exporters.values() if _fits(request.filter, e.labels, context)]
        page, token = _page(found, request)
        return client_pb2.ListExportersResponse(exporters=page, next_page_token=token)

    def GetLease(self, request: Any, context: Any) -> client_pb2.Lease:
        self._client("GetLease", request, context)
        with self._state.changed:
            return self._lease(request.name, context).to_proto()

    def ListLeases(self, request: Any, context: Any) -> client_pb2.ListLeasesResponse:
        self._client("ListLeases", request, context)
        active_only = request.only_active or not request.HasField("only_active")
        with self._state.changed:
            found = [
                lease.to_proto()
                for lease in self._state.leases.values()
                if (lease.ended is None or not active_only) and _fits(request.tag_filter, lease.tags, context)
            ]
        page, token = _page(found, request)
        return client_pb2.ListLeasesResponse(leases=page, next_page_token=token)

    def CreateLease(self, request: Any, context: Any) -> client_pb2.Lease:
        client = self._client("CreateLease", request, context)
        if request.parent != f"namespaces/{NAMESPACE}":
            abort(context, Code.UNKNOWN, f"invalid parent {request.parent}")
        wish = request.lease
        if not wish.selector and not wish.exporter_name:
            abort(context, Code.INVALID_ARGUMENT, "one of selector or exporter_name is required")
        if len(wish.tags) > 10:
            abort(context, Code.INVALID_ARGUMENT, "at most 10 tags")
        lease = Lease(
            request.lease_id or str(uuid4()),
            client,
            wish.selector,
            wish.exporter_name,
            wish.duration.ToMilliseconds() / 1000,
            wish.begin_time.ToMilliseconds() / 1000 if wish.HasField("begin_time") else None,
            dict(wish.tags),
            dict(wish.context),
        )
        with self._state.changed:
            if lease.name in self._state.leases:
                abort(context, Code.ALREADY_EXISTS, f'leases "{lease.name}" already exists')
            self._state.leases[lease.name] = lease
            self._state.schedule()
            return lease.to_proto()

    def UpdateLease(self, request: Any, context: Any) -> client_pb2.Lease:
        client = self._client("UpdateLease", request, context)
        with self._state.changed:
            lease = self._lease(request.lease.name, context)
            if lease.client != client:
                abort(context, Code.PERMISSION_DENIED, "the lease belongs to another client")
            if lease.ended is not None:
                abort(context, Code.FAILED_PRECONDITION, "the lease has ended")
            if request.lease.HasField("duration"):
                lease.duration = request.lease.duration.ToMilliseconds() / 1000
            if request.lease.HasField("begin_time"):
                if lease.began is not None:
                    abort(context, Code.FAILED_PRECONDITION, "the lease has begun")
                lease.begin_time = request.lease.begin_time.ToMilliseconds() / 1000
            if request.lease.HasField("client"):
                new = _last(request.lease.client, "clients", context)
                if new not in self._state.clients:
                    abort(context, Code.NOT_FOUND, f'clients "{new}" not found')
                lease.client = new
            self._state.schedule()
            return lease.to_proto()

    def DeleteLease(self, request: Any, context: Any) -> Empty:
        client = self._client("DeleteLease", request, context)
        with self._state.changed:
            lease = self._lease(request.name, context)
            if lease.client != client:
                abort(context, Code.PERMISSION_DENIED, "the lease belongs to another client")
            if lease.ended is not None:
                abort(context, Code.FAILED_PRECONDITION, "the lease has been released already")
            lease.end("Released")
            self._state.schedule()
        return Empty()

    def RotateToken(self, request: Any, context: Any) -> client_pb2.RotateTokenResponse:
        client = self._client("RotateToken", request, context)
        with self._state.changed:
            self._state.clients[client] = self._controller.token("client", client)
            return client_pb2.RotateTokenResponse(token=self._state.clients[client])


def _last(name: str, kind: str, context: Any) -> str:
    """The name within the namespace, of a resource name."""
    prefix = f"namespaces/{NAMESPACE}/{kind}/"
    if not name.startswith(prefix):
        abort(context, Code.UNKNOWN, f"invalid resource name {name!r}")
    return name.removeprefix(prefix)


def _fits(selector: str, labels: dict[str, str], context: Any) -> bool:
    try:
        return matches(selector, labels)
    except ValueError as e:
        abort(context, Code.INVALID_ARGUMENT, str(e))


def _page(found: list[Any], request: Any) -> tuple[list[Any], str]:
    start, size = int(request.page_token or 0), request.page_size or 100
    return found[start : start + size], str(start + size) if len(found) > start + size else ""


EXPORT = """\
  power:
    type: jumpstarter_driver_power.driver.MockPower
  echo:
    type: jumpstarter_driver_network.driver.EchoNetwork
"""


def main() -> None:
    """Serve until stopped, with configurations in a directory."""
    parser = argparse.ArgumentParser(description="A controller with a router, on the loopback address.")
    parser.add_argument("directory", type=Path, help="with cert.pem and key.pem, for 127.0.0.1")
    parser.add_argument("--exporter", nargs="+", action="append", metavar="NAME [LABEL=VALUE]", default=[])
    parser.add_argument("--client", action="append", default=[], metavar="NAME")
    arguments = parser.parse_args()
    directory: Path = arguments.directory
    files = [directory / name for name in ("cert.pem", "key.pem")]
    with FakeController(*(file.read_bytes() for file in files)) as controller:
        written: dict[str, str] = {}
        for name, *labels in arguments.exporter:
            controller.add_exporter(name, **dict(label.split("=", 1) for label in labels))
            written[name] = controller.exporter_config(name, EXPORT)
        for name in arguments.client:
            controller.add_client(name)
            written[name] = controller.client_config(name)
        for name, text in written.items():
            (directory / f"{name}.yaml").write_text(text)
        found = {"endpoint": controller.endpoint, "router": controller.router.endpoint, "configs": sorted(written)}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
