"""The passphrase of an exporter that serves by itself: every call has to carry it."""

from __future__ import annotations

import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from ..common.metadata import PASSPHRASE_METADATA_KEY

__all__ = ["PASSPHRASE_METADATA_KEY", "PassphraseInterceptor", "passphrase_client_interceptors"]

logger = logging.getLogger(__name__)


class PassphraseInterceptor(grpc.aio.ServerInterceptor):
    """Answers UNAUTHENTICATED to every call, known or not, that does not carry the passphrase exactly once."""

    def __init__(self, passphrase: str) -> None:
        if not passphrase:
            raise ValueError("the passphrase is empty")
        self._passphrase = passphrase.encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of the call, or one that refuses it."""
        metadata: Any = handler_call_details.invocation_metadata or ()
        given: list[Any] = [value for key, value in metadata if key == PASSPHRASE_METADATA_KEY]
        if len(given) == 1 and hmac.compare_digest(_bytes(given[0]), self._passphrase):
            return await continuation(handler_call_details)
        refusal = "the passphrase is missing" if not given else "the passphrase is wrong"
        return _refuse(await continuation(handler_call_details), refusal)


class _Carrier:
    """Puts a passphrase on every call of a channel."""

    def __init__(self, passphrase: str) -> None:
        self._metadata = ((PASSPHRASE_METADATA_KEY, passphrase),)

    async def _call(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), *self._metadata)
        return await continuation(details._replace(metadata=metadata), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _call


# gRPC takes an object for one kind of call only
class _UnaryUnary(_Carrier, grpc.aio.UnaryUnaryClientInterceptor): ...


class _UnaryStream(_Carrier, grpc.aio.UnaryStreamClientInterceptor): ...


class _StreamUnary(_Carrier, grpc.aio.StreamUnaryClientInterceptor): ...


class _StreamStream(_Carrier, grpc.aio.StreamStreamClientInterceptor): ...


def passphrase_client_interceptors(passphrase: str) -> list[grpc.aio.ClientInterceptor]:
    """What a grpc.aio channel is made with to an exporter that has a passphrase, so that all its calls carry that."""
    return [kind(passphrase) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _refuse(handler: Any, reason: str) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler of the same shape that only refuses."""

    async def refuse(request: object, context: Any) -> Any:
        logger.warning("refused a call from %s: %s", context.peer(), reason)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, reason)

    async def refuse_stream(request: object, context: Any) -> AsyncIterator[Any]:
        await refuse(request, context)
        yield  # makes it a stream

    match (getattr(handler, "request_streaming", False), getattr(handler, "response_streaming", False)):
        case (False, False):
            return grpc.unary_unary_rpc_method_handler(refuse)
        case (False, True):
            return grpc.unary_stream_rpc_method_handler(refuse_stream)
        case (True, False):
            return grpc.stream_unary_rpc_method_handler(refuse)
        case _:
            return grpc.stream_stream_rpc_method_handler(refuse_stream)
