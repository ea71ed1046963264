"""A stream that ends without saying so is broken, also where its call itself ended well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from anyio import BrokenResourceError, EndOfStream
from jumpstarter.client.client import connect
from jumpstarter.client.connection import Endpoint
from jumpstarter.client.tree import Policy
from jumpstarter.streams import frames
from malice import answering, report
from processes import wait_for
from raw import raw, request

if TYPE_CHECKING:
    from processes import Bench

DATA = frames.Frame(b"part").serialize()
GOAWAY = frames.Frame(kind=frames.GOAWAY).serialize()


@pytest.mark.parametrize(("said", "error"), [([DATA, GOAWAY], EndOfStream), ([DATA], BrokenResourceError)])
def test_of_an_exporter(said: list[bytes], error: type[Exception]):
    tree = report("jumpstarter.client.generic.GenericClient").SerializeToString()
    with (
        answering(GetReport=tree, Stream=lambda _: said) as address,
        connect(Endpoint(address, insecure=True), Policy()) as client,
        pytest.raises(error),
        client.children["device"].stream("connect") as stream,
    ):
        assert stream.receive() == b"part"
        stream.receive()


@pytest.mark.parametrize(
    ("said", "noted"), [([DATA, GOAWAY], "connect ended"), ([DATA], "connect ended by BrokenResourceError")]
)
def test_of_a_client(bench: Bench, said: list[bytes], noted: str):
    with raw(bench) as wire:
        call = wire.stream(iter(said), ("request", request(kind="driver", uuid=wire.probe, method="connect")))
        assert next(call) == DATA
        wait_for(lambda: len(bench.events()) == 2, 30, bench.events)
        assert bench.events() == ["connect began", noted]
