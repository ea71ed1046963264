"""Addresses of this host."""

from __future__ import annotations

import logging
import socket
from contextlib import closing

ELSEWHERE = ("192.0.2.1", 9)
"""An address of RFC 5737's documentation network; a UDP socket that is connected to it sends nothing."""


def get_ip_address(logger: logging.Logger | None = None) -> str:
    """An IPv4 address by which others reach this host: of its name, else of the default route, else 0.0.0.0."""
    for find in (_by_name, _by_route):
        try:
            address = find()
        except OSError as e:
            if logger is not None:
                logger.debug("%s: %s", find.__name__, e)
            continue
        if not address.startswith("127."):
            return address
    if logger is not None:
        logger.warning("no address of this host is known; taking 0.0.0.0")
    return "0.0.0.0"


def _by_name() -> str:
    return socket.gethostbyname(socket.gethostname())


def _by_route() -> str:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.connect(ELSEWHERE)
        return probe.getsockname()[0]
