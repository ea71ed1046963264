"""The client in Python, used in a wrong way."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from misuse_cases import case

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient
    from misuse_bench import Bench, Said


def call(name: str, *arguments: object) -> None:
    """Add a case of `client.gadget.call(...)`."""
    shown = ", ".join(repr(a) if len(repr(a)) < 40 else '"…"' for a in arguments)
    case(name)(lambda bench: bench.python(f"client.gadget.call({shown})", lambda c: gadget(c).call(*arguments)))


def gadget(client: DriverClient, name: str = "gadget") -> Any:
    return client.children[name]


call("an argument of the wrong type", "set", "two")
call("a number with a fraction where a whole one is meant", "set", 1.5)
call("no argument where one is needed", "set")
call("more arguments than there are", "set", 1, True, 3)
call("a method that does not exist", "sett", 1)
call("a method that is not exported", "close")
call("a generator that is called", "count")
call("a byte stream that is called", "connect")
call("more data than a message carries", "echo", "x" * (5 << 20))
call("an argument that cannot be sent", "echo", object())


@case("a call that takes longer than its caller waits")
def _(bench: Bench) -> Said:
    return bench.python("client.gadget.call('slow', timeout=0.1)", lambda c: gadget(c).call("slow", timeout=0.1))


@case("a parameter that does not exist")
def _(bench: Bench) -> Said:
    return bench.python("client.gadget.call('set', chanel=2)", lambda c: gadget(c).call("set", chanel=2))


@case("a parameter that the generic client does not know")
def _(bench: Bench) -> Said:
    return bench.python("client.teapot.set(chanel=2)", lambda c: gadget(c, "teapot").set(chanel=2))


@case("a type that the generic client does not accept")
def _(bench: Bench) -> Said:
    return bench.python("client.teapot.set('two')", lambda c: gadget(c, "teapot").set("two"))


@case("a misspelt child")
def _(bench: Bench) -> Said:
    return bench.python("client.gadet", lambda c: getattr(c, "gadet"))  # noqa: B009 it is the name that is wrong


@case("a call of a driver whose last call does not end")
def _(bench: Bench) -> Said:
    with bench.another("stuck") as exporter:

        def use(client: DriverClient) -> object:
            with suppress(TimeoutError):
                gadget(client).call("hang")
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                gadget(client).call("echo", "are you there?", timeout=6)
            return None

        return bench.python("client.gadget.call('echo', …)", use, exporter.address)


@case("a call of a method as if it were a generator")
def _(bench: Bench) -> Said:
    return bench.python(
        'list(client.gadget.streamingcall("set", 1))', lambda c: list(gadget(c).streamingcall("set", 1))
    )


@case("a method of a client that is not installed")
def _(bench: Bench) -> Said:
    return bench.python("client.teapot.brew()", lambda c: gadget(c, "teapot").brew())


@case("an exporter that is not there, from Python")
def _(bench: Bench) -> Said:
    return bench.python("with env() as client", lambda _: None, str(bench.lab.directory / "nothing.sock"))


@case("no exporter in the environment")
def _(bench: Bench) -> Said:
    from jumpstarter.utils.env import env

    def use() -> None:
        with env():
            pass

    before = os.environ.pop("JUMPSTARTER_HOST", None)
    try:
        return bench.raised("with env() as client", use)
    finally:
        if before is not None:
            os.environ["JUMPSTARTER_HOST"] = before
