"""A console as byte streams: plain, and with events."""

from collections.abc import Callable
from itertools import count
from typing import Any

from anyio import Event as Flag
from anyio.abc import ObjectStream
from jumpstarter.common.exceptions import BusyError, ConfigurationError, DeviceAbsentError
from jumpstarter.streams.common import PeerClosed, broken

from .console import Console, Follower
from .frames import DATA, Decoder, data_frame, json_frame, parse_json
from .items import Data, Dropped, Event
from .pen import Writer
from .unplug import UnplugPolicy

_numbers = count(1)


class ConsoleStream(ObjectStream[bytes]):
    """The bytes of a console from now on, and the way to it. Where the policy is `mark`, a line tells of a loss."""

    def __init__(self, console: Console) -> None:
        """Raises DeviceAbsentError where the port is gone and the policy is to fail."""
        self._console = console
        self._follower = console.follow()
        self._writer = Writer(f"stream {next(_numbers)}")
        self._closed = False

    async def receive(self) -> bytes:
        while True:
            match await _next(self._follower):
                case Data(data=data):
                    return data
                case Dropped(count=lost):
                    raise broken(f"console {self._console.where}: the reader was too slow, {lost} bytes are dropped")
                case Event(kind="lost" | "back", text=text) if self._console.policy.kind == "mark":
                    return f"\r\n[console {text}]\r\n".encode()
                case _:
                    pass

    async def send(self, item: bytes) -> None:
        try:
            await self._console.send(self._writer, item, self._console.policy)
        except (BusyError, DeviceAbsentError) as e:
            raise broken(str(e), e) from e

    async def send_eof(self) -> None:
        """Let others write: a serial line cannot say that no more follows."""
        self._console.pen.give_back(self._writer)

    async def aclose(self) -> None:
        self._console.pen.give_back(self._writer)
        if not self._closed:
            self._closed = True
            self._follower.close()


async def _next(follower: Follower, is_enough: Callable[[], object] = lambda: False) -> Any:
    try:
        return await follower.next(is_enough)
    except DeviceAbsentError as e:
        raise broken(str(e), e) from e


class AttachedStream(ObjectStream[bytes]):
    """A console in the frames of `frames.py`, from where on and in which way the client's first frame says.

    | key | means | default |
    |---|---|---|
    | `since` | where to begin, see `since.py` | now |
    | `follow` | whether to go on with what comes | true |
    | `unplug` | what to do when the port is lost | as configured |
    | `writer` | who writes, for the others | stream NUMBER |
    | `take` | whether to take the pen from who has it | false |
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._decoder = Decoder()
        self._asked = Flag()
        self._follower: Follower | None = None
        self._policy = console.policy
        self._writer = Writer(f"stream {next(_numbers)}")
        self._end: int | None = None
        self._answers: list[bytes] = []
        self._failure: Exception | None = None

    async def receive(self) -> bytes:
        await self._asked.wait()
        while True:
            if self._answers:
                return self._answers.pop(0)
            if self._follower is None:
                raise self._failure or broken("the client left")
            if self._end is not None and self._follower.offset >= self._end:
                raise PeerClosed
            match await _next(self._follower, lambda: self._answers):
                case Data(offset=offset, time=moment, data=data):
                    return self._shortened(offset, moment, data)
                case Dropped(offset=offset, count=lost):
                    return json_frame(event="dropped", offset=offset, count=lost)
                case Event(offset=offset, time=moment, kind=kind, text=text):
                    return json_frame(event=kind, offset=offset, time=moment, text=text)
                case _:
                    pass

    def _shortened(self, offset: int, moment: float, data: bytes) -> bytes:
        return data_frame(offset, moment, data if self._end is None else data[: max(0, self._end - offset)])

    async def send(self, item: bytes) -> None:
        try:
            for kind, payload in self._decoder.feed(item):
                if not self._asked.is_set():
                    self._begin(parse_json(payload) if kind != DATA else {})
                elif kind == DATA:
                    await self._write(payload)
                else:
                    self._control(parse_json(payload))
        except ValueError as e:
            raise broken(f"console {self._console.where}: {e}", e) from e

    def _begin(self, wanted: dict[str, Any]) -> None:
        try:
            if wanted.get("unplug"):
                self._policy = UnplugPolicy.parse(str(wanted["unplug"]))
            if wanted.get("follow", True):
                self._follower = self._console.follow(wanted.get("since"), self._policy)
            else:
                self._policy = UnplugPolicy("mark")
                self._follower = self._console.follow(wanted.get("since", "start"), self._policy)
                self._end = self._console.history.end
        except (ConfigurationError, ValueError, DeviceAbsentError) as e:
            self._failure = broken(str(e), e)
            self._asked.set()
            return
        if wanted.get("writer"):
            self._writer.name = str(wanted["writer"])[:200]
        if wanted.get("take"):
            self._console.pen.try_claim(self._writer, take=True)
        self._answers.append(self._greeting())
        self._asked.set()

    def _greeting(self) -> bytes:
        assert self._follower is not None
        console = self._console
        holder = console.pen.holder
        return json_frame(
            event="begin",
            offset=self._follower.offset,
            end=console.history.end,
            where=console.where,
            writer=str(holder) if holder is not None and holder is not self._writer else None,
            lost=str(console.keeper.loss) if console.keeper.loss is not None else None,
        )

    async def _write(self, data: bytes) -> None:
        try:
            await self._console.send(self._writer, data, self._policy)
        except (BusyError, DeviceAbsentError) as e:
            self._answer(json_frame(event="refused", count=len(data), text=str(e)))

    def _control(self, wanted: dict[str, Any]) -> None:
        pen = self._console.pen
        if wanted.get("take"):
            pen.try_claim(self._writer, take=True)
        elif wanted.get("give"):
            pen.give_back(self._writer)
        elif "sync" in wanted:
            self._answer(json_frame(event="sync", sync=wanted["sync"]))

    def _answer(self, frame: bytes) -> None:
        self._answers.append(frame)
        self._console.history.changes.notify()

    async def send_eof(self) -> None:
        """Let others write."""
        self._console.pen.give_back(self._writer)

    async def aclose(self) -> None:
        self._console.pen.give_back(self._writer)
        self._asked.set()
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()
