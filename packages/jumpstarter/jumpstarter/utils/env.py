"""The session that the environment names, as `jmp shell` sets it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..client.client import client_from_path, connect
from ..client.connection import Endpoint
from ..client.tree import Policy
from ..common import env as names
from ..common.exceptions import EnvironmentVariableNotSetError

if TYPE_CHECKING:
    from ..client.base import DriverClient
    from ..streams.portal import Portal


def _truthy(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on")


def endpoint_from_env(environ: Mapping[str, str] = os.environ) -> Endpoint:
    """The address of the session; EnvironmentVariableNotSetError without one."""
    host = environ.get(names.JUMPSTARTER_HOST)
    if not host:
        raise EnvironmentVariableNotSetError(
            f"{names.JUMPSTARTER_HOST} is not set: run this inside `jmp shell`, or set it to an exporter's address"
        )
    insecure = environ.get(names.JMP_GRPC_INSECURE) or environ.get(names.JUMPSTARTER_GRPC_INSECURE)
    return Endpoint(
        host,
        insecure=_truthy(insecure),
        passphrase=environ.get(names.JMP_GRPC_PASSPHRASE),
        session=environ.get(names.JMP_SESSION) or None,
    )


def policy_from_env(environ: Mapping[str, str] = os.environ) -> Policy:
    """Which client classes may be loaded."""
    allow = [pattern.strip() for pattern in environ.get(names.JMP_DRIVERS_ALLOW, "").split(",")]
    return Policy.of(allow, _truthy(environ.get(names.JMP_DRIVERS_UNSAFE)))


@contextmanager
def env(*, hold: str | None = None, wait: float | None = 0) -> Generator[DriverClient]:
    """Connect to the exporter that JUMPSTARTER_HOST names; yields the client of its root.

    With `hold`, which says what for, the session is ours alone meanwhile, and BusyError says who has it if it is not to
    be had within `wait` seconds (None: for ever). In `jmp shell`, which has one, that one is used anyway.
    Raises EnvironmentVariableNotSetError and ExporterUnreachableError.
    """
    with connect(endpoint_from_env(), policy_from_env(), hold=hold, wait=wait) as client:
        yield client


@asynccontextmanager
async def env_async(portal: Portal, stack: ExitStack) -> AsyncGenerator[DriverClient]:
    """The same from the event loop of `portal`."""
    endpoint, policy = endpoint_from_env(), policy_from_env()
    async with client_from_path(
        endpoint.address,
        portal,
        stack,
        policy.allow,
        policy.unsafe,
        insecure=endpoint.insecure,
        passphrase=endpoint.passphrase,
    ) as client:
        yield client


@dataclass(frozen=True)
class ExporterMetadata:
    """What the environment says of the exporter that a shell is attached to."""

    name: str = ""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    lease: str | None = None

    @classmethod
    def from_env(cls) -> ExporterMetadata:
        labels = os.environ.get(names.JMP_EXPORTER_LABELS, "")
        return cls(
            name=os.environ.get(names.JMP_EXPORTER, ""),
            labels=dict(pair.split("=", 1) for pair in labels.split(",") if "=" in pair),
            lease=os.environ.get(names.JMP_LEASE),
        )


@asynccontextmanager
async def env_with_metadata_async(
    portal: Portal, stack: ExitStack
) -> AsyncGenerator[tuple[DriverClient, ExporterMetadata]]:
    """The client of the session's root, from the event loop of `portal`, and what is known of its exporter."""
    async with env_async(portal, stack) as client:
        yield client, ExporterMetadata.from_env()


@contextmanager
def env_with_metadata() -> Generator[tuple[DriverClient, ExporterMetadata]]:
    """The client of the session's root, and what the environment says of its exporter."""
    with env() as client:
        yield client, ExporterMetadata.from_env()
