"""A console as a client sees it that is attached: bytes with offsets and times, and events."""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio import EndOfStream

from .frames import DATA, Decoder, frame, json_frame, parse_data, parse_json
from .items import Data, Dropped, Event, Item, Refused

if TYPE_CHECKING:
    from jumpstarter.streams.blocking import BlockingStream


@dataclass(frozen=True)
class Beginning:
    """What was so when the console was attached."""

    offset: int
    """Where reading begins."""

    end: int
    """Offset of the next byte that the device will send."""

    where: str
    """The port."""

    writer: str | None
    """Who else writes."""

    lost: str | None
    """Why the port is not there, if it is not."""


class Attached:
    """An attached console. One thread may read while another writes."""

    def __init__(self, stream: "BlockingStream", **wanted: Any) -> None:
        """`wanted` is described in `streams.py`. Raises what the exporter refuses it with."""
        self._stream = stream
        self._decoder = Decoder()
        self._frames: deque[tuple[bytes, bytes]] = deque()
        stream.send(json_frame(**wanted))
        first = self._frame()
        assert first is not None, "the exporter begins"
        fields = parse_json(first[1])
        self.beginning = Beginning(
            offset=int(fields["offset"]),
            end=int(fields["end"]),
            where=str(fields["where"]),
            writer=fields.get("writer"),
            lost=fields.get("lost"),
        )
        self.offset = self.beginning.offset
        """Of the next byte to read: where to go on after a connection was lost."""

    def __iter__(self) -> Iterator[Item]:
        """What comes, until all was read, where not following. Raises when the port is lost, as the policy says."""
        while (item := self.receive()) is not None:
            yield item

    def receive(self) -> Item | None:
        """The next item; None at the end."""
        while (received := self._frame()) is not None:
            kind, payload = received
            if kind == DATA:
                offset, moment, data = parse_data(payload)
                self.offset = offset + len(data)
                return Data(offset, moment, data)
            if (item := self._event(parse_json(payload))) is not None:
                return item
        return None

    def _event(self, fields: dict[str, Any]) -> Item | None:
        match fields:
            case {"event": "dropped", "offset": int(offset), "count": int(count)}:
                self.offset = offset + count
                return Dropped(offset, count)
            case {"event": "refused", "count": int(count), "text": str(text)}:
                return Refused(count, text)
            case {"event": "sync", "sync": token}:
                return Event(self.offset, 0.0, "sync", json.dumps(token))
            case {"event": str(kind), "offset": int(offset), "time": float(moment), "text": str(text)}:
                return Event(offset, moment, kind, text)
            case _:
                return None  # of a newer exporter

    def _frame(self) -> tuple[bytes, bytes] | None:
        while not self._frames:
            try:
                self._frames.extend(self._decoder.feed(self._stream.receive()))
            except EndOfStream:
                if self._decoder.is_between:
                    return None
                raise
        return self._frames.popleft()

    def send(self, data: bytes) -> None:
        """Send bytes to the device; what is refused comes back as an item `Refused`."""
        self._stream.send(frame(DATA, data))

    def take(self) -> None:
        """Write from now on, whoever does."""
        self._stream.send(json_frame(take=True))

    def give(self) -> None:
        """Let others write."""
        self._stream.send(json_frame(give=True))

    def sync(self, token: str) -> None:
        """Ask for an event `sync`, which comes when all that was sent before was written, or refused."""
        self._stream.send(json_frame(sync=token))
