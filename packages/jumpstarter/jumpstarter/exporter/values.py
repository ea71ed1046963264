"""The values of calls: arguments as a method wants them, results as its caller understands them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.checked import checked
from ..common.limits import BATCH_BYTES
from ..common.typed import dumps, load_arguments, write_plain
from ..common.values import decode_value, encode_into, public_shape
from ..driver.base import Driver
from ..driver.classes import resolver
from ..driver.table import ExportedMethod

ADDITIONS = 2
"""Version of the additions that are understood: 1 has the additional fields of requests, 2 the call DriverCalls."""

Request = pb.DriverCallRequest | pb.StreamingDriverCallRequest
Response = pb.DriverCallResponse | pb.StreamingDriverCallResponse


def read_arguments(request: Request, driver: Driver) -> tuple[list[Any], dict[str, Any]]:
    """The arguments in a request by position and by name; ValueError where they are malformed.

    Objects are made of the classes that the driver's annotations name.
    """
    if text := request.typed_arguments:
        return load_arguments(text, resolver(type(driver)), checked)
    return [decode_value(value) for value in request.args], {}


def write_result(response: Response, value: object, method: ExportedMethod, request: Request) -> None:
    """Put a result, or an item of one, into a response.

    A caller that does not say that it understands typed values gets the public form of what the method returned; one
    that does, and wants it, gets its shape.
    """
    if not request.typed:
        encode_into(response.result, value)
        return
    value = public_shape(value) if request.public_shape else method.result(value)
    if not write_plain(response.result, value):
        response.typed_result = dumps(value)


def write_items(items: list[Any], method: ExportedMethod, request: Request) -> Iterator[pb.StreamingDriverCallResponse]:
    """The messages for items that are there together: one for all, as far as the caller understands that.

    Raises what `write_result` does, after the items before.
    """
    message: pb.StreamingDriverCallResponse | None = None
    size = 0
    for item in items:
        part = pb.StreamingDriverCallResponse() if message is None else message.more.add()
        try:
            write_result(part, item, method, request)
        except BaseException:
            if message is not None:
                del message.more[-1]
                yield message
            raise
        size += part.ByteSize()
        message = message or part
        if not request.typed or size > BATCH_BYTES:
            yield message
            message, size = None, 0
    if message is not None:
        yield message
