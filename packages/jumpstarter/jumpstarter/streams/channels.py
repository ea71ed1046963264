"""Channels to controllers and routers: always TLS, checked as a configuration says, so that no token goes in clear."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from anyio import CancelScope, to_thread
from jumpstarter_protocol.jumpstarter.v1.jumpstarter_pb2_grpc import ControllerServiceStub, ExporterServiceStub
from jumpstarter_protocol.jumpstarter.v1.router_pb2_grpc import RouterServiceStub

from ..common.address import split_host_port
from ..common.exceptions import ConfigurationError
from ..common.limits import CONNECT_TIMEOUT, SERVICE_OPTIONS
from ..common.services import identity, with_metadata

if TYPE_CHECKING:
    from ..config.common import ObjectMeta
    from ..config.tls import TLSConfigV1Alpha1

T = TypeVar("T")

logger = logging.getLogger(__name__)

_END = "-----END CERTIFICATE-----"

# by the names of the public release
AsyncChannel = grpc.aio.Channel
ControllerStub = ControllerServiceStub
ExporterStub = ExporterServiceStub
RouterStub = RouterServiceStub


class _Identified:
    """A channel whose calls carry metadata.

    Not by `call_credentials`: those are Python's, and where one of gRPC's threads lets go of them while a channel is
    closed, it waits for the interpreter, and the interpreter for that thread, for ever (grpcio 1.85).
    """

    def __init__(self, channel: Any, metadata: Sequence[tuple[str, str]]) -> None:
        self._channel, self._metadata = channel, tuple(metadata)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._channel, name)
        if name not in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            return found

        def make(*args: Any, **kwargs: Any) -> Any:
            return with_metadata(found(*args, **kwargs), self._metadata)

        return make


class _Identity(grpc.AuthMetadataPlugin):
    """Puts metadata on every call of a channel; gRPC sends it over TLS only."""

    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = tuple(metadata)

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        callback(self._metadata, None)


@asynccontextmanager
async def open_channel(
    endpoint: str,
    tls: TLSConfigV1Alpha1,
    options: Mapping[str, str | int],
    metadata: Sequence[tuple[str, str]] = (),
) -> AsyncGenerator[Any]:
    """A channel meanwhile; see `make_channel`."""
    async with opened(lambda: make_channel(endpoint, tls, options, metadata)) as channel:
        yield channel


@asynccontextmanager
async def opened(make: Callable[[], Awaitable[Any]]) -> AsyncGenerator[Any]:
    """What makes a channel, meanwhile; closed at the end."""
    channel = await make()
    try:
        yield channel
    finally:
        with CancelScope(shield=True):
            await channel.close(None)


async def make_channel(
    endpoint: str,
    tls: TLSConfigV1Alpha1,
    options: Mapping[str, str | int],
    metadata: Sequence[tuple[str, str]] = (),
) -> Any:
    """A channel to host:port, on which every call carries the metadata.

    Raises ConfigurationError for an authority that is none, OSError where an unchecked peer cannot be reached.
    """
    channel: Any = aio_secure_channel(endpoint, await ssl_channel_credentials(endpoint, tls), options)
    return _Identified(channel, metadata) if metadata else channel


async def ssl_channel_credentials(
    target: str,
    tls_config: TLSConfigV1Alpha1,
    timeout: float = CONNECT_TIMEOUT,  # noqa: ASYNC109 that of the connection
) -> grpc.ChannelCredentials:
    """What a configuration trusts at host:port, which is asked for its certificates within `timeout` seconds if that
    is whatever it shows. Raises as `make_channel` does."""
    if tls_config.insecure:
        return grpc.ssl_channel_credentials((await to_thread.run_sync(shown_certificates, target, timeout)).encode())
    return grpc.ssl_channel_credentials(_authorities(tls_config))


def aio_secure_channel(
    target: str, credentials: grpc.ChannelCredentials, grpc_options: Mapping[str, str | int] | None = None
) -> grpc.aio.Channel:
    """A channel to host:port with our options, and these over them."""
    return grpc.aio.secure_channel(
        target, credentials, options=list({**dict(SERVICE_OPTIONS), **(grpc_options or {})}.items())
    )


def call_credentials(kind: str, metadata: ObjectMeta, token: str) -> grpc.CallCredentials:
    """Who calls a controller, for `grpc.composite_channel_credentials`; `kind` is Client or Exporter."""
    return grpc.metadata_call_credentials(_Identity(identity(kind, metadata.namespace, metadata.name, token)))


async def asked(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call on a channel, or a read of one, and await it.

    Raises ConnectionAbortedError where the channel is closed, before or meanwhile: gRPC then cancels whoever waits.
    """
    try:
        return await call()
    except grpc.aio.UsageError as e:
        raise ConnectionAbortedError("the channel is closed") from e
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # it was not gRPC
            raise
        raise ConnectionAbortedError("the channel was closed") from None


def _authorities(tls: TLSConfigV1Alpha1) -> bytes | None:
    """The certificates to trust, in PEM; None for those of the system."""
    if not tls.ca:
        return None
    try:
        pem = b64decode(tls.ca, validate=True)
        ssl.create_default_context(cadata=pem.decode("ascii"))
    except (ValueError, ssl.SSLError) as e:
        raise ConfigurationError(
            "tls.ca holds no certificates: it has to be PEM in base64", "write it with: base64 -w0 ca.pem"
        ) from e
    return pem


_told: set[tuple[str, str]] = set()
"""Endpoints and certificates that the log has named as taken unchecked."""


def shown_certificates(endpoint: str, timeout: float = CONNECT_TIMEOUT, *, tell: bool = True) -> str:
    """The certificates that a peer shows, in PEM, the peer's own first; unless `tell` is off, the log says so once.

    Nobody says that it is the right peer: `tls.insecure` trusts whoever answers. Raises OSError.
    """
    pem = _shown(endpoint, timeout)
    if tell and (told := (endpoint, fingerprint(pem))) not in _told:
        _told.add(told)
        logger.warning(
            "INSECURE: the certificate of %s is taken as it is (tls.insecure), with the SHA-256 fingerprint %s; "
            "tls.ca, which jmp login -k writes, takes no other one",
            *told,
        )
    return pem


def fingerprint(pem: str) -> str:
    """The SHA-256 fingerprint of the first certificate, as openssl prints it."""
    leaf = pem[: pem.index(_END) + len(_END)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).digest().hex(":").upper()


def _shown(endpoint: str, timeout: float) -> str:
    host, port = split_host_port(endpoint)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, port), timeout) as connection,
        context.wrap_socket(connection, server_hostname=host) as peer,
    ):
        leaf = peer.getpeercert(binary_form=True)
        inner: Any = getattr(peer, "_sslobj", None)  # public as get_unverified_chain from Python 3.13 on
        chain: Callable[[], Sequence[Any]] | None = getattr(inner, "get_unverified_chain", None)
        certificates = [certificate.public_bytes() for certificate in chain() or ()] if chain is not None else []
    return "".join(certificates) or ssl.DER_cert_to_PEM_cert(leaf or b"")
