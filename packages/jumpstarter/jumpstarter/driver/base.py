"""`Driver`, the base of every driver: a place in a tree, and methods that clients may call."""

from __future__ import annotations

import logging
from abc import ABCMeta
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from ..common.exceptions import ConfigurationError
from ..common.limits import CALL_TIMEOUT
from ..common.metadata import CLIENT_LABEL, NAME_LABEL, Metadata
from . import handback
from .definition import check_definition
from .log import DriverLogger
from .turns import each_child

if TYPE_CHECKING:
    from anyio.abc import ObjectStream
    from jumpstarter_protocol import jumpstarter_pb2

    from ..streams.http import UrlRules


RECORDER = "_jumpstarter_recorder"
"""Attribute by which a session takes what a driver notes."""


@dataclass(kw_only=True)
class Driver(Metadata, metaclass=ABCMeta):
    """A device, or a group of devices, on the exporter's host.

    Subclasses are dataclasses, of the standard library or of pydantic; their fields are the driver's configuration.
    Creating one checks its configuration; hardware is touched in exported methods, `reset` and `close`.
    """

    # read by pydantic where a subclass is a pydantic dataclass
    __pydantic_config__: ClassVar[dict[str, Any]] = {"arbitrary_types_allowed": True}

    call_timeout: ClassVar[float] = CALL_TIMEOUT
    """Seconds that a call of these drivers may take, where the method or the client says nothing else."""

    concurrent_calls: ClassVar[bool] = False
    """Whether all methods may run at once, as if each were marked `concurrent`; `concurrent` of an entry sets it."""

    children: dict[str, Driver] = field(default_factory=dict["str", "Driver"])
    """Drivers below this one, by name."""

    resources: dict[UUID, Any] = field(default_factory=dict[UUID, Any], init=False)
    """Byte streams that a client offers, until a call takes them."""

    description: str | None = None
    """Shown in place of the client's own help text."""

    methods_description: dict[str, str] = field(default_factory=dict[str, str])
    """Help texts of commands, by command name."""

    log_level: str = "INFO"
    """Least severe level that this driver logs."""

    on_release: Any = None
    """What happens when a session ends: "leave", or the exported method to call, such as "off". None: as the class."""

    release_default: ClassVar[str] = "leave"
    """`on_release` where the configuration has none; of no effect where the class exports no such method."""

    logger: logging.Logger = field(init=False)
    """Log of this driver; its lines reach the clients of the session."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check that the arguments and results of exported methods can travel; TypeError says which cannot, and why."""
        super().__init_subclass__(**kwargs)
        check_definition(cls)

    def __post_init__(self) -> None:
        """Finish construction; cooperative: calls the next `__post_init__` of the class's bases."""
        parent = super()
        if hasattr(parent, "__post_init__"):
            parent.__post_init__()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] another base
        self.logger = DriverLogger(self)
        if self.on_release is not None:
            try:
                self._check_on_release(self.on_release)
            except ConfigurationError as e:
                raise ConfigurationError(f"on_release: {e}") from None

    @classmethod
    def _check_on_release(cls, value: object) -> None:
        """Raise ConfigurationError unless `on_release` can have this value; also asked before a driver is made."""
        handback.check(cls, value)

    @classmethod
    def client(cls) -> str:
        """Dotted path of the client class, as text: an exporter need not import it.

        Without one of its own a driver is used by a client that is made from what it exports.
        """
        return "jumpstarter.client.generic.GenericClient"

    def extra_labels(self) -> dict[str, str]:
        """Labels beyond those of the configuration."""
        return {}

    def reset(self) -> None:
        """Bring the device to its initial state; called when an exporter starts. The base resets the children."""
        each_child(self, "reset")

    def close(self) -> None:
        """Let go of the device; called once when an exporter ends. The base closes the children.

        One driver's failure does not stop the others, and one that does not end is left after 10 s.
        """
        each_child(self, "close")

    def release(self) -> Awaitable[None] | None:
        """Bring the device to the state in which it is handed back; called when a session ends, 10 s at most.

        As `on_release` says: nothing, or the exported method of that name. A class that takes other values overrides
        this, and checks them when it is made.
        """
        return handback.release(self)

    def identity(self) -> str | None:
        """Which physical device this is, for the whole host: two exporters never use one at a time.

        Such as "usb:0403:6001:A5069RR4", "/dev/serial/by-id/…" or "tcp:relay3:4000". Asked once, after the driver was
        made and before it is reset. None: nothing that could be used twice.
        """
        return None

    @asynccontextmanager
    async def resource(self, handle: Any, timeout: float = 7200) -> AsyncGenerator[ObjectStream[bytes]]:  # noqa: ASYNC109
        """Open the byte stream that a client offers by a handle, to read an upload or write a download.

        What is compressed on its way is not in here. A handle may also name a URL, to read from by GET or to write to
        by PUT, which `url_rules` have to allow. `timeout` bounds the transfer, in seconds. Raises ValueError for a
        malformed, unknown or used handle, and whatever breaks the stream: its end is the end of the file.
        """
        from .resource import open_resource

        async with open_resource(self, handle, timeout) as stream:
            yield stream

    def url_rules(self) -> UrlRules:
        """Which URLs this driver reads for its clients; by default those that anybody could read by https."""
        from ..streams.http import UrlRules

        return UrlRules()

    def put_on_record(self, kind: str, **fields: Any) -> None:
        """Put something that happened to the device into the record of the session; from any thread.

        `kind` is a word such as "console"; values are texts, numbers, and lists and mappings of those. Nothing where no
        record is kept.
        """
        recorder = self.__dict__.get(RECORDER)
        if recorder is not None:
            recorder(self, kind, fields)

    def report(self, *, parent: Driver | None = None, name: str | None = None) -> jumpstarter_pb2.DriverInstanceReport:
        """What a client is told of this instance, under a parent and by a name."""
        from jumpstarter_protocol import jumpstarter_pb2

        from .describe import type_name

        try:
            extra = self.extra_labels()
        except (Exception, SystemExit) as e:  # noqa: BLE001 the other drivers' clients need the report, too
            self.logger.warning("extra_labels failed: %s: %s", type(e).__name__, e)
            extra = {}
        labels = self.labels | extra | {CLIENT_LABEL: self.client()}
        if name is not None:
            labels[NAME_LABEL] = name
        return jumpstarter_pb2.DriverInstanceReport(
            uuid=str(self.uuid),
            parent_uuid=str(parent.uuid) if parent is not None else None,
            labels=labels,
            description=self.description or None,
            methods_description=self.methods_description,
            driver_type=type_name(type(self)),
        )

    def enumerate(
        self, *, root: Driver | None = None, parent: Driver | None = None, name: str | None = None
    ) -> list[tuple[UUID, Driver | None, str | None, Driver]]:
        """The tree from here, depth first: (uuid, parent, name, instance) for every path.

        `root` is the root of the whole tree, from which references to other instances are resolved.
        """
        root = self if root is None else root
        found: list[tuple[UUID, Driver | None, str | None, Driver]] = [(self.uuid, parent, name, self)]
        for child_name, child in self.children.items():
            found += child.enumerate(root=root, parent=self, name=child_name)
        return found
