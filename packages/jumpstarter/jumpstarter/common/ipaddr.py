"""Addresses of this host."""

from __future__ import annotations

import logging
import socket
from contextlib import closing

ELSEWHERE = ("192.0.2.1", 9)
"""An address of RFC 5737's documentation network; a UDP socket that is connected to it sends nothing."""

MINIKUBE_ANSWER = 60.0
"""Seconds that `minikube` may take."""


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


async def get_minikube_ip(profile: str | None = None, minikube: str = "minikube") -> str:
    """The address of a local Kubernetes cluster, as the program `minikube` tells it.

    Raises FileNotFoundError where there is no such program, RuntimeError with what it says when it fails, and
    TimeoutError.
    """
    from anyio import fail_after, run_process

    command = [minikube, "ip", *(["-p", profile] if profile else [])]
    with fail_after(MINIKUBE_ANSWER):
        done = await run_process(command, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}: {said}")
    return done.stdout.decode(errors="replace").strip()
