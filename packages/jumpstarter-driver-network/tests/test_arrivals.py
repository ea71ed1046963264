"""What a socket says once is not lost, whoever is cancelled or asks twice."""

import asyncio
import random
import socket
import struct
from contextlib import suppress

import pytest
from anyio import BusyResourceError, ClosedResourceError, EndOfStream, fail_after
from jumpstarter_driver_network.listen import tcp_pair
from jumpstarter_driver_network.streams import SocketBroken, SocketStream


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def _settle(steps: int = 5) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)


def test_a_reset_is_no_end_whoever_learns_it_first() -> None:
    async def by_sending() -> None:
        ours, theirs = tcp_pair()
        async with SocketStream(ours, "device") as stream:
            reset(theirs)
            with pytest.raises(SocketBroken):
                for _ in range(100):
                    await stream.send(b"x")
            for _ in range(2):
                with pytest.raises(SocketBroken, match="device"):
                    await stream.receive()

    async def by_receiving() -> None:
        ours, theirs = tcp_pair()
        async with SocketStream(ours, "device") as stream:
            reset(theirs)
            for _ in range(2):
                with pytest.raises(SocketBroken, match="device"):
                    await stream.receive()

    asyncio.run(by_sending())
    asyncio.run(by_receiving())


def test_a_reset_that_comes_with_a_cancellation_is_no_end() -> None:
    async def run() -> None:
        ours, theirs = tcp_pair()
        async with SocketStream(ours, "device") as stream:
            waiting = asyncio.create_task(stream.receive())
            await _settle()
            reset(theirs)
            asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(waiting.cancel))
            with pytest.raises((asyncio.CancelledError, SocketBroken)):
                await waiting
            with pytest.raises(SocketBroken), fail_after(10):
                await stream.receive()

    for _ in range(20):
        asyncio.run(run())


def test_what_comes_with_a_cancellation_is_received_next() -> None:
    chance = random.Random(7)
    data = chance.randbytes(200_000)

    async def run() -> bytes:
        ours, theirs = tcp_pair()
        theirs.setblocking(False)
        got = b""

        async def feed() -> None:
            position = 0
            while position < len(data):
                size = chance.randrange(1, 2000)
                await asyncio.get_running_loop().sock_sendall(theirs, data[position : position + size])
                position += size
                await asyncio.sleep(0)
            theirs.close()

        async with SocketStream(ours, "device") as stream:
            feeding = asyncio.create_task(feed())
            with suppress(EndOfStream):
                while True:
                    waiting = asyncio.create_task(stream.receive(chance.randrange(1, 3000)))
                    await _settle(chance.randrange(1, 6))
                    if chance.random() < 0.7:
                        waiting.cancel()
                    with suppress(asyncio.CancelledError):
                        got += await waiting
            await feeding
        return got

    assert asyncio.run(run()) == data


def test_two_cannot_wait_and_closing_wakes_who_does() -> None:
    async def run() -> None:
        ours, theirs = tcp_pair()
        with theirs:
            async with SocketStream(ours, "device") as stream:
                waiting = asyncio.create_task(stream.receive())
                await _settle()
                theirs.send(b"for the first")
                with pytest.raises(BusyResourceError):
                    await stream.receive()
                assert await waiting == b"for the first"
                waiting = asyncio.create_task(stream.receive())
                await _settle()
            with pytest.raises(ClosedResourceError):
                await waiting

    asyncio.run(run())
