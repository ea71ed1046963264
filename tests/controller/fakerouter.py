"""A router: joins the two callers whose tokens name the same stream, and hands their frames on as they are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc

ISSUER = "https://jumpstarter.dev/stream"
AUDIENCE = "https://jumpstarter.dev/router"
VALID = 1800.0
"""Seconds for which a token opens a stream."""

THREADS = 2000
"""Calls that are served at a time; threads start as they are needed."""

OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
]
"""Of the servers: peers may ping every second, as those of the public ones."""

AHEAD = 4
"""Frames that one side may be ahead of the other."""


def encode_token(claims: dict[str, Any], secret: bytes) -> str:
    """A JSON web token, signed with HS256."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = f"{part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{body}.{part(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def decode_token(token: str, secret: bytes) -> dict[str, Any]:
    """The claims of a token; ValueError unless we signed it and it is still valid."""

    def data(part: str) -> bytes:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    body, _, signature = token.rpartition(".")
    if not hmac.compare_digest(data(signature), hmac.digest(secret, body.encode(), hashlib.sha256)):
        raise ValueError("token signature is invalid")
    claims: dict[str, Any] = json.loads(data(body.partition(".")[2]))
    if claims["exp"] < time.time():
        raise ValueError("token has expired")
    return claims


class Pair:
    """Two callers of one stream; what one sends waits in the queue of the other."""

    def __init__(self) -> None:
        self.queues: tuple[queue.Queue[bytes | None], ...] = (queue.Queue(AHEAD), queue.Queue(AHEAD))
        self.contexts: list[Any] = []
        self.is_complete = threading.Event()
        self.is_over = threading.Event()
        self.has_failed = False
        self._open = 2
        self._lock = threading.Lock()

    def half_closed(self) -> None:
        """One caller will send no more, of which the other is not told; with the second, both calls end."""
        with self._lock:
            self._open -= 1
            if self._open:
                return
        self.end()

    def end(self, *, failed: bool = False) -> None:
        """Let both calls end."""
        if not self.is_over.is_set():
            self.has_failed = failed
        self.is_over.set()

    def put(self, side: int, item: bytes) -> bool:
        while not self.is_over.is_set():
            try:
                self.queues[side].put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def items(self, side: int) -> Iterator[bytes]:
        """What the other caller sent, to its end."""
        while True:
            try:
                item = self.queues[side].get(timeout=0.02 if self.is_over.is_set() else 0.2)
            except queue.Empty:
                if self.is_over.is_set():
                    return
                continue
            if item is not None:
                yield item


class FakeRouter:
    """A router on a TLS port of the loopback address."""

    def __init__(self, certificate: bytes, key: bytes, secret: bytes = b"router secret", *, port: int = 0) -> None:
        self._credentials = grpc.ssl_server_credentials([(key, certificate)])
        self._secret = secret
        self._lock = threading.Lock()
        self._waiting: dict[str, Pair] = {}
        self._server: grpc.Server | None = None
        self.port = port
        self.streams = 0
        """Calls that were let in so far."""
        self.seen: list[str] = []
        """Their tokens."""
        self.refused: list[str] = []
        """Why others were not."""

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def token(self, stream: str | None = None, *, valid: float = VALID) -> str:
        """A token for one end of a stream, by default of a new one; both ends may have the same."""
        now = time.time()
        claims = {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": stream or str(uuid4()),
            "iat": int(now),
            "nbf": int(now),
            "exp": now + valid,
            "jti": str(uuid4()),
        }
        return encode_token(claims, self._secret)

    def start(self) -> None:
        """Serve, after `stop` on the same port again."""
        server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
        make: Any = grpc.stream_stream_rpc_method_handler
        handler = make(self._stream)  # of bytes, which stay as they are
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("jumpstarter.v1.RouterService", {"Stream": handler})]
        )
        self.port = server.add_secure_port(self.endpoint, self._credentials)
        server.start()
        self._server = server

    def stop(self) -> None:
        """Be gone, with all streams."""
        server, self._server = self._server, None
        if server is not None:
            server.stop(None).wait(60)
        with self._lock:
            self._waiting.clear()

    def _subject(self, context: Any) -> str:
        tokens = [value for key, value in context.invocation_metadata() if key == "authorization"]
        if len(tokens) != 1 or not tokens[0].lower().startswith("bearer "):
            raise ValueError("missing authorization")
        claims = decode_token(tokens[0][7:], self._secret)
        if claims.get("iss") != ISSUER or AUDIENCE not in claims.get("aud", []):
            raise ValueError("token is not for this router")
        self.seen.append(tokens[0][7:])
        return claims["sub"]

    def _stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        try:
            subject = self._subject(context)
        except (ValueError, KeyError, UnicodeError) as e:
            self.refused.append(str(e))
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"invalid token: {e}")
            raise AssertionError from e
        with self._lock:
            self.streams += 1
            pair = self._waiting.pop(subject, None)
            side = 0 if pair is None else 1
            if pair is None:
                pair = self._waiting[subject] = Pair()
            else:
                pair.is_complete.set()

        def ended() -> None:
            pair.end(failed=True)
            with self._lock:
                if self._waiting.get(subject) is pair:
                    del self._waiting[subject]

        if not context.add_callback(ended):
            ended()
        threading.Thread(target=self._relay, args=(requests, pair, 1 - side), daemon=True).start()
        yield from pair.items(side)
        if pair.has_failed:
            context.abort(grpc.StatusCode.CANCELLED, "context canceled")

    @staticmethod
    def _relay(requests: Iterator[bytes], pair: Pair, to: int) -> None:
        try:
            while not pair.is_complete.wait(0.5):
                if pair.is_over.is_set():
                    return
            for message in requests:
                if not pair.put(to, message):
                    return
            pair.half_closed()
        except grpc.RpcError:  # of the caller that has gone
            pair.end(failed=True)
        except Exception as e:
            if type(e) is not Exception:
                raise
            pair.end(failed=True)
