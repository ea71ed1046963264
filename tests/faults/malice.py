"""An exporter that answers with whatever bytes it is told to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import grpc
from jumpstarter.common.metadata import CLIENT_LABEL, ERROR_METADATA_KEY, NAME_LABEL
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\r\nj: all is well"
"""What a terminal would obey, and a line that looks like ours."""

Answer = bytes | Callable[[Any], Iterable[bytes]]


def report(client: str, method: str = "echo", text: str = EVIL, **more: Any) -> pb.GetReportResponse:
    """A tree of a root with one driver `device`, of which every text is `text`."""
    root, device = str(uuid4()), str(uuid4())
    number = pb.TypeDescriptor(kind="int", name=text)
    described = pb.DriverType(
        name="evil.Device",
        doc=text,
        methods=[
            pb.MethodDescriptor(
                name=method,
                kind=pb.MethodDescriptor.CALL,
                doc=text,
                parameters=[pb.ParameterDescriptor(name="value", kind="PLAIN", type=number, default="1")],
            )
        ],
    )
    return pb.GetReportResponse(
        uuid=root,
        reports=[
            pb.DriverInstanceReport(
                uuid=root, labels={CLIENT_LABEL: "jumpstarter_driver_composite.client.CompositeClient"}
            ),
            pb.DriverInstanceReport(
                uuid=device,
                parent_uuid=root,
                labels={CLIENT_LABEL: client, NAME_LABEL: "device", text[:50]: text},
                description=text,
                methods_description={method: text},
                driver_type=described.name,
                state=pb.DriverState(condition=pb.DriverState.FAULTY, reason=text, hint=text),
                identity=text,
            ),
        ],
        motd=text,
        driver_types=[described],
        additions=1,
        **more,
    )


def failing(details: bytes, text: str = EVIL) -> Callable[[Any], Iterable[bytes]]:
    """A call that fails with such details."""

    def answer(context: Any) -> Iterable[bytes]:
        context.set_trailing_metadata(((ERROR_METADATA_KEY, details),))
        context.abort(grpc.StatusCode.UNKNOWN, text.replace("\r\n", " "))
        return []

    return answer


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, answers: dict[str, Answer]) -> None:
        self._answers = answers

    def service(self, handler_call_details: Any) -> Any:
        answer = self._answers.get(handler_call_details.method.rpartition("/")[2])
        if answer is None:
            return None

        def serve(_: Any, context: Any) -> Iterable[bytes]:
            yield from [answer] if isinstance(answer, bytes) else answer(context)

        make: Any = grpc.stream_stream_rpc_method_handler
        return make(serve)


@contextmanager
def answering(**answers: Answer) -> Generator[str]:
    """Such an exporter meanwhile; yields its address."""
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((_Handler(answers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait(60)
