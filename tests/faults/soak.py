"""What a client does all day, over and over: calls of every kind, byte streams, errors, ends that nobody expects.

`python soak.py CALLS STREAMS SESSIONS` does so much with the exporter that JUMPSTARTER_HOST names, and prints how much
it did.
"""

import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress

from anyio import BrokenResourceError, EndOfStream
from jumpstarter.client import DriverClient
from jumpstarter.client.core import DriverError
from jumpstarter.utils.env import env

CALLERS = 8
"""Who do it at once."""

done: Counter[str] = Counter()


async def calls(client: DriverClient, number: int) -> None:
    """Plain methods, coroutines, errors of each."""
    probe, bad = client.children["probe"], client.children["bad"]
    for i in range(number):
        match i % 10:
            case 8:
                with suppress(DriverError):
                    await bad.call_async("plain" if i % 20 == 8 else "coroutine", "MemoryError")
            case 9:
                with suppress(DriverError):
                    await probe.call_async("number", "not a number")
            case 6 | 7:
                await bad.call_async("coroutine", "")
            case _:
                assert await probe.call_async("echo", i) == i
        done["calls"] += 1


async def streams(client: DriverClient, number: int) -> None:
    """Streamed calls and byte streams, half of them ended in their middle."""
    probe = client.children["probe"]
    for i in range(number):
        if i % 2:
            items = probe.streamingcall_async("count_async" if i % 4 == 1 else "numbers", 3)
            with suppress(StopAsyncIteration):
                await anext(items)
                while i % 3:
                    await anext(items)
            await items.aclose()
        else:
            with suppress(BrokenResourceError, DriverError, EndOfStream, ZeroDivisionError):
                async with probe.stream_async("connect") as stream:
                    await stream.send(b"x" * 1000)
                    assert len(await stream.receive()) == 1000
                    if i % 3:
                        raise ZeroDivisionError
        done["streams"] += 1


def sessions(number: int) -> None:
    """Begin a session that is ours alone, use it, end it."""
    for i in range(number):
        with env(hold="soak", wait=30) as client:
            client.children["power"].call("on")
            with suppress(DriverError):
                client.children["bad"].call("plain", "MemoryError" if i % 2 else "")
            if i % 4 == 0:
                assert client.portal.call(client.children["probe"].call_async, "echo", i) == i
        done["sessions"] += 1


def main(number_of_calls: int, number_of_streams: int, number_of_sessions: int) -> None:
    async def work(client: DriverClient) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(calls(client, number_of_calls // CALLERS))
                tasks.create_task(streams(client, number_of_streams // CALLERS))

    if number_of_calls or number_of_streams:
        with env() as client:
            client.portal.call(work, client)
    sessions(number_of_sessions)
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
