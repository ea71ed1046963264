"""The values of calls, as far as the exporter understands them, and objects of the classes that may be used here."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.exceptions import ArgumentError, JumpstarterException
from ..common.importlib import value_class
from ..common.typed import Resolve, dump_arguments, loads, write_plain
from ..common.values import decode_value, encode_into

Request = pb.DriverCallRequest | pb.StreamingDriverCallRequest
Response = pb.DriverCallResponse | pb.StreamingDriverCallResponse


class Values:
    """Writes arguments and reads results for one exporter.

    `additions` is what its report says that it understands; `allow` and `unsafe` say which classes may be loaded
    beside those of installed driver packages.
    """

    def __init__(self, additions: int = 0, allow: tuple[str, ...] = (), unsafe: bool = False) -> None:
        self.typed = additions >= 1
        self._resolve: Resolve = cache(partial(value_class, allow=allow, unsafe=unsafe))

    def write(
        self, request: Request, args: tuple[Any, ...], kwargs: dict[str, Any], where: str, *, public_shape: bool
    ) -> None:
        """Put arguments into a request, and whether the result is to have the public form's shape.

        Raises ValueError for those that cannot be sent, and ArgumentError for arguments by name that the exporter does
        not understand; `where` says of which method.
        """
        if not self.typed:
            if kwargs:
                raise ArgumentError(
                    f"{where}: the exporter is of a release without arguments by name; "
                    f"pass {', '.join(kwargs)} by position"
                )
            for arg in args:
                encode_into(request.args.add(), arg)
            return
        request.typed = True
        if public_shape:
            request.public_shape = True
        if kwargs or not all(write_plain(request.args.add(), arg) for arg in args):
            request.ClearField("args")
            request.typed_arguments = dump_arguments(args, kwargs)

    def read_items(self, response: pb.StreamingDriverCallResponse) -> list[Any]:
        """The items in a response, which may be several."""
        return [self.read(response), *map(self.read, response.more)]

    def read(self, response: Response | None) -> Any:
        """The result, or item of one, in a response; an exporter that sends none is told of."""
        if response is None:
            raise JumpstarterException("the exporter ended the call without a result")
        text = response.typed_result
        if not text:
            return decode_value(response.result)
        try:
            return loads(text, self._resolve)
        except ValueError as e:
            raise JumpstarterException(f"the exporter's answer cannot be read: {e}") from e


def deadline(timeout: float | None) -> float | None:
    """The deadline of a call for gRPC; ArgumentError for what is no time."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:  # pyright: ignore[reportUnnecessaryIsInstance] callers without a type checker
        raise ArgumentError(
            f"timeout is how many seconds the call may take, not {timeout!r}; "
            "a parameter of the method with that name is passed by position"
        )
    return timeout if timeout < _FOREVER else None


_FOREVER = 1e9
"""Seconds that gRPC cannot add to the time of day any more."""

PUBLIC = Values()
"""What every exporter understands."""
