"""Holding the session of an exporter: nobody else can use its devices until it is let go, or its client is gone.

A stream stands for the session. Its exporter asks now and then, by a frame, whether we are there; when we have said
GOAWAY, it says GOAWAY once it has taken the devices back. A thread follows it on gRPC's blocking stub, so that no event
loop is needed.
"""

from __future__ import annotations

import getpass
import json
import os
import queue
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event, Thread
from typing import Any, cast

import grpc
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common import holders
from ..common.exceptions import BusyError
from ..common.limits import CONNECT_TIMEOUT, SIGN_OF_LIFE
from ..common.metadata import SESSION_METADATA_KEY
from ..streams import frames
from .connection import Endpoint, Stub
from .errors import DriverError, SessionEnded, error_of, unreachable

Say = Callable[[str], object]

LONGEST_PREPARATION = 600.0
"""Seconds that an exporter may take to prepare for a session that nobody else has."""

_QUIET = 0.5
"""Seconds after which it is said what we wait for."""

_NOT_KNOWN = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
}
"""What exporters answer that know no sessions: those of other implementations, and of older versions."""


class HeldSession:
    """A session of ours."""

    def __init__(self, endpoint: Endpoint, stub: Any, request: dict[str, object]) -> None:
        self.endpoint = endpoint
        """Where its calls go. It has the token that they carry; none if the exporter knows no sessions."""

        self.error: DriverError | None = None
        """Why it ended before it was let go."""

        self.failures: list[str] = []
        """What the exporter could not take back in order."""

        self._stub = stub
        self._frames: queue.SimpleQueue[frames.Frame | None] = queue.SimpleQueue()
        metadata = (("request", json.dumps(request, separators=(",", ":"))),)
        self._call: Any = stub.Stream(iter(self._frames.get, None), metadata=metadata)
        self._opened, self._heard, self._ended = Event(), Event(), Event()
        self._is_leaving = False

    def open(self, wait: float | None, say: Say | None, lost: Say | None) -> None:
        """Wait until the session is ours; see `holding`."""
        Thread(target=self._follow, args=(lost,), name="session", daemon=True).start()
        limit = LONGEST_PREPARATION if wait == 0 else wait
        quiet = _QUIET if limit is None else min(_QUIET, limit)
        if not self._opened.wait(quiet):
            if say is not None:
                say(self._status())
            if not self._opened.wait(None if limit is None else limit - quiet):
                raise BusyError(f"the exporter was not free within {limit:g} s: {self._status()}", "wait for longer")
        if self.endpoint.session is None:
            self._check_refusal()

    def _follow(self, lost: Say | None) -> None:
        """Answer the exporter until the stream ends."""
        metadata: dict[str, str] = dict(self._call.initial_metadata() or ())
        token = metadata.get(SESSION_METADATA_KEY)
        self.endpoint = replace(self.endpoint, session=token)
        self._opened.set()
        with suppress(grpc.RpcError):
            for frame in cast("Iterator[frames.Frame]", self._call):
                if frame.kind == frames.DATA:
                    self._take(bytes(frame.payload))
                self._heard.set()
        if token is not None and not self._is_leaving:
            self.error = self._reason()
            if lost is not None:
                lost(str(self.error))
        self._ended.set()
        self._heard.set()

    def _take(self, payload: bytes) -> None:
        if payload == b"?":
            self._frames.put(frames.Frame(b"!"))
            return
        with suppress(ValueError, TypeError):
            self.failures = [str(text) for text in json.loads(payload)]

    def let_go(self) -> None:
        """End the session, and wait until the exporter has taken the devices back, or says nothing any more."""
        self._is_leaving = True
        self._frames.put(frames.Frame(kind=frames.GOAWAY))
        self._frames.put(None)
        while not self._ended.is_set() and self._heard.wait(3 * SIGN_OF_LIFE):
            self._heard.clear()

    def abort(self) -> None:
        """Leave at once."""
        self._is_leaving = True
        self._call.cancel()
        self._frames.put(None)

    def _check_refusal(self) -> None:
        """Raise unless the exporter simply knows no sessions."""
        code: grpc.StatusCode = self._call.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            raise unreachable(self._call, self.endpoint.address)
        if code not in _NOT_KNOWN:
            raise self._reason()

    def _reason(self) -> DriverError:
        """Why the stream has ended."""
        code: grpc.StatusCode = self._call.code()
        if code is grpc.StatusCode.OK:
            return SessionEnded("the session has ended")
        return error_of(code, self._call.details(), "", "", self._call.trailing_metadata())

    def _status(self) -> str:
        """What the exporter is doing."""
        try:
            report = self._stub.GetStatus(pb.GetStatusRequest(), timeout=CONNECT_TIMEOUT)
        except grpc.RpcError:
            return "it does not say why"
        if not report.HasField("holder"):
            return report.message or "it prepares for the next session"
        return f"held by {describe_holder(report.holder)}"


@contextmanager
def holding(
    endpoint: Endpoint,
    *,
    purpose: str = "",
    wait: float | None = 0,
    say: Say | None = None,
    lost: Say | None = None,
) -> Generator[HeldSession]:
    """Hold the session of an exporter meanwhile.

    Raises BusyError naming the holder when somebody else has it; `wait` is how many seconds to wait for it then, None
    for ever. `say` is told what we wait for, `lost` at once when the session ends before it was let go.
    """
    channel = endpoint.open(grpc)
    try:
        session = HeldSession(endpoint, Stub(channel, endpoint.metadata), _request(purpose, wait != 0))
        try:
            session.open(wait, say, lost)
            yield session
            if session.endpoint.session is not None and session.error is None:
                session.let_go()
        finally:
            session.abort()
    finally:
        channel.close()


def _request(purpose: str, wait: bool) -> dict[str, object]:
    """What we ask for, and what we say of ourselves."""
    user = f"uid {os.getuid()}"
    with suppress(KeyError, OSError):  # one without a name
        user = getpass.getuser()
    return {
        "kind": "session",
        "user": user,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "purpose": purpose,
        "wait": wait,
    }


def describe_holder(holder: pb.SessionHolder) -> str:
    """Who holds a session, in one line."""
    return holders.describe(holder.user, holder.host, holder.pid, holder.since.seconds, holder.purpose)
