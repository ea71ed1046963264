"""The values of calls, as far as the exporter understands them, and objects of the classes that may be used here."""

from __future__ import annotations

from functools import cache
from typing import Any

from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

from ..common.exceptions import ArgumentError
from ..common.importlib import value_class
from ..common.typed import dump_arguments, dumps_plain, loads, write_plain
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
        self._resolve = cache(lambda name: value_class(name, allow, unsafe))

    def write(self, request: Request, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> None:
        """Put arguments into a request.

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
        if kwargs or not all(map(dumps_plain, args)):
            request.typed_arguments = dump_arguments(args, kwargs)
            return
        for arg in args:
            write_plain(request.args.add(), arg)

    def read(self, response: Response) -> Any:
        """The result, or item of one, in a response."""
        if response.HasField("typed_result"):
            return loads(response.typed_result, self._resolve)
        return decode_value(response.result)


PUBLIC = Values()
"""What every exporter understands."""
