"""Clients that the fault tests start as processes of their own, to be killed in the middle of what they do.

`python faultclients.py ROLE [ARGUMENT...]` does one thing with the exporter that JUMPSTARTER_HOST names. It prints
`busy` when it is in the middle of it, then how it ended: `end`, or the classes of the error.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import anyio
import grpc
import grpc.aio
from anyio.abc import ByteStream
from jumpstarter.client import DriverClient
from jumpstarter.utils.env import endpoint_from_env, env


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def sleep(client: DriverClient, seconds: str = "60") -> None:
    """A unary call of a plain method."""
    say("busy")
    client.children["probe"].call("sleep", float(seconds))


def sleep_async(client: DriverClient) -> None:
    """A unary call of an async method, from the event loop."""
    say("busy")
    client.portal.call(client.children["probe"].call_async, "sleep_async", 60)


def pending(client: DriverClient, number: str = "5") -> None:
    """Asynchronous calls at once, which share a stream; how each of them failed, as often as there are."""

    async def call() -> list[Any]:
        probe = client.children["probe"]
        calls = [asyncio.ensure_future(probe.call_async("sleep_async", 60)) for _ in range(int(number))]
        await asyncio.sleep(0)
        say("busy")
        return await asyncio.gather(*calls, return_exceptions=True)

    failures = client.portal.call(call)
    kinds = Counter(type(failure).__name__ for failure in failures)
    bases = " ".join(cls.__name__ for cls in type(failures[0]).__mro__)
    say(f"{' '.join(f'{times}*{kind}' for kind, times in kinds.items())} {bases}")


def count(client: DriverClient) -> None:
    """A streaming call of a plain generator."""
    for item in client.children["probe"].streamingcall("count"):
        if item == "3":
            say("busy")


def count_async(client: DriverClient) -> None:
    """A streaming call of an async generator, from the event loop."""

    async def read() -> None:
        async for item in client.children["probe"].streamingcall_async("count_async"):
            if item == 3:
                say("busy")

    client.portal.call(read)


def streams(client: DriverClient, number: str = "20") -> None:
    """Byte streams that are in use."""
    with ExitStack() as stack:
        opened = [stack.enter_context(client.children["probe"].stream()) for _ in range(int(number))]
        for stream in opened:
            stream.send(b"x" * 1000)
            assert stream.receive()
        say("busy")
        opened[0].receive()


def drain(client: DriverClient) -> None:
    """A byte stream from a device that never stops talking."""
    with client.children["bad"].stream("flood") as stream:
        received = 0
        while received < 1 << 20:
            received += len(stream.receive())
        say("busy")
        while True:
            stream.receive()


def logs(client: DriverClient) -> None:
    """The exporter's log, while it grows."""
    with client.children["probe"].log_stream():
        client.children["probe"].call("say", "line", 10)
        say("busy")
        time.sleep(60)


class Endless(ByteStream):
    """A file that does not end, and where nothing can be written."""

    def __init__(self) -> None:
        self.sent = 0

    async def receive(self, max_bytes: int = 65536) -> bytes:
        self.sent += 1
        if self.sent == 50:
            say("busy")
        await anyio.sleep(0.001)
        return b"x" * min(max_bytes, 10_000)

    async def send(self, item: bytes) -> None:
        raise anyio.BrokenResourceError

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def upload(client: DriverClient) -> None:
    """A file on its way to a driver."""
    probe = client.children["probe"]

    async def send() -> None:
        async with probe.resource_async(Endless()) as handle:
            await probe.call_async("upload", handle)

    client.portal.call(send)


def many_streams(client: DriverClient, number: str, connections: str) -> None:
    """So many byte streams at once over so many connections, each of them told apart by how it was answered."""
    endpoint, uuid = endpoint_from_env(), str(client.children["probe"].uuid)
    metadata = (("request", json.dumps({"kind": "driver", "uuid": uuid, "method": "connect"})),)

    async def ask(channel: Any) -> tuple[Any, str]:
        call = channel.stream_stream("/jumpstarter.v1.RouterService/Stream")(metadata=metadata)
        await call.initial_metadata()
        return call, f"{(await call.code()).name}: {await call.details()}" if call.done() else "open"

    async def open_all() -> None:
        channels = [
            replace(endpoint, options={"grpc.use_local_subchannel_pool": 1}).open(grpc.aio)
            for _ in range(int(connections))
        ]
        for channel in channels:
            await channel.channel_ready()
        asked = [ask(channels[i % len(channels)]) for i in range(int(number))]
        answers = await asyncio.gather(*asked)
        say(json.dumps(Counter(answer for _, answer in answers)))
        await asyncio.sleep(60)

    asyncio.run(open_all())


ROLES: tuple[Callable[..., None], ...] = (
    sleep,
    sleep_async,
    pending,
    count,
    count_async,
    streams,
    drain,
    many_streams,
    logs,
    upload,
)


def main(role: str, *arguments: str) -> None:
    with env() as client:
        try:
            {function.__name__: function for function in ROLES}[role](client, *arguments)
        except Exception as e:  # noqa: BLE001 this is the answer
            say(" ".join(cls.__name__ for cls in type(e).__mro__))
            sys.stderr.write(f"{e}\n")
        else:
            say("end")


if __name__ == "__main__":
    main(*sys.argv[1:])
