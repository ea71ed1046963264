"""From where images may be read that are somewhere else: web servers, registries of OCI artifacts, object stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jumpstarter.streams.http import UrlRules

StoreOptions = Mapping[str, str | int | bool]
"""How a store is reached: its `scheme`, and what the service of that name takes in opendal."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Who a registry is asked by."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Origins:
    """From where images may be read."""

    urls: UrlRules
    """Which URLs, those of registries among them, and within what limits."""

    stores: Mapping[str, StoreOptions] = field(default_factory=dict[str, StoreOptions], repr=False)
    """Object stores, by the names that URLs of the scheme `store` have for them."""

    credentials: Mapping[str, Credentials] = field(default_factory=dict[str, Credentials], repr=False)
    """By the host, with its port, of the registry."""


class Incoming(Protocol):
    """The bytes of an image that is somewhere else."""

    size: int | None
    """How many there are, where it is known."""

    async def receive(self) -> bytes:
        """The next ones. Raises EndOfStream at the end of what came whole, and OSError for what does not."""
        ...
