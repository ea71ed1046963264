"""The exporter's log, written to this process's loggers."""

from __future__ import annotations

import logging
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from ..common.enums import LogSource

_NAMES = {
    LogSource.DRIVER: "exporter:driver",
    LogSource.BEFORE_LEASE_HOOK: "exporter:beforeLease",
    LogSource.AFTER_LEASE_HOOK: "exporter:afterLease",
}

logger = logging.getLogger(__name__)


def write_line(line: Any) -> None:
    """Write one line of the exporter's log to the logger of its source."""
    source = LogSource.from_proto(line.source) if line.source in set(LogSource) else LogSource.SYSTEM
    level = logging.getLevelNamesMapping().get(line.severity, logging.INFO)
    logging.getLogger(_NAMES.get(source, "exporter:system")).log(level, "%s", line.message)


async def follow_logs(stub: Any, show_all: bool) -> None:
    """Write the exporter's log until it ends; hooks only, unless `show_all`."""
    hooks = {LogSource.BEFORE_LEASE_HOOK, LogSource.AFTER_LEASE_HOOK}
    call = stub.LogStream(Empty())
    try:
        async for line in call:
            if show_all or line.source in hooks:
                write_line(line)
    except grpc.RpcError as e:
        logger.debug("log of the exporter ended: %s", e)
    finally:
        call.cancel()
