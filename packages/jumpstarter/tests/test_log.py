"""Lines of the log: which driver wrote them, in which method, with which fields, and from which level on."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from jumpstarter.common import ExporterStatus
from jumpstarter.driver import Driver, export
from jumpstarter.exporter import Session
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2_grpc as rpc


class Board(Driver):
    """Logs what it does."""

    @export
    def on(self) -> None:
        self.logger.info("on", extra={"channel": 2, "token": "tok-abcdef"})


@pytest.mark.anyio
async def test_a_line_of_log_names_driver_type_method_and_fields() -> None:
    root = Board(children={"sub": Board()})
    logging.getLogger().setLevel(logging.INFO)
    async with Session(root_device=root) as session, session.serve_unix_async() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            stub: Any = rpc.ExporterServiceStub(channel)
            await stub.DriverCall(pb.DriverCallRequest(uuid=str(root.children["sub"].uuid), method="on"))
            root.logger.info("by itself")
            logging.getLogger("jumpstarter.other").info("not of a driver")
            lines: dict[str, Any] = {}
            async for line in stub.LogStream(Empty()):
                lines[line.message] = line
                if line.message == "not of a driver":
                    break
    on, itself, other = lines["on"], lines["by itself"], lines["not of a driver"]
    assert (on.uuid, on.driver_type, on.operation) == (str(root.children["sub"].uuid), "Board", "on")
    assert dict(on.structured_fields) == {"channel": "2", "token": "***"}
    assert (itself.uuid, itself.HasField("operation")) == (str(root.uuid), False)
    assert (other.uuid, other.HasField("driver_type")) == ("", False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_the_level_of_one_driver_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    quiet, chatty = Board(log_level="ERROR"), Board(log_level="DEBUG")
    quiet.logger.warning("not worth it")
    chatty.logger.debug("every detail")
    chatty.logger.getChild("part").debug("of a part")
    assert [record.getMessage() for record in caplog.records] == ["every detail", "of a part"]
    assert {record.name for record in caplog.records} == {"driver.Board", "driver.Board.part"}


def test_a_level_that_is_set_at_the_class_of_drivers_counts_for_all(caplog: pytest.LogCaptureFixture) -> None:
    boards = [Board(), Board(log_level="ERROR")]
    caplog.set_level(logging.DEBUG, "driver.Board")
    for board in boards:
        board.logger.debug("seen")
    assert len(caplog.records) == 2
    logging.disable(logging.CRITICAL)
    try:
        boards[0].logger.critical("not seen")
    finally:
        logging.disable(logging.NOTSET)
    assert len(caplog.records) == 2
