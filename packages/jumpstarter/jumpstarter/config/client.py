"""`ClientConfig`: the controller that a client uses, as whom, and which client classes it may load."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

from ..common.exceptions import ArgumentError, ConfigurationError
from .common import CONFIG_API_VERSION, CONFIG_PATH, ObjectMeta
from .dumper import dump_text
from .env import (
    JMP_DIAL_TIMEOUT,
    JMP_DRIVERS_ALLOW,
    JMP_DRIVERS_UNSAFE,
    JMP_ENDPOINT,
    JMP_GRPCOPTIONS,
    JMP_LEASE,
    JMP_NAME,
    JMP_NAMESPACE,
    JMP_REFRESH_TOKEN,
    JMP_RETRY_TIMEOUT,
    JMP_TLS,
    JMP_TOKEN,
)
from .files import config_file, find_config, write_private
from .place import Place
from .problems import InvalidConfigurationError, Problems
from .schema import convert, dump, key, read
from .tls import TLSConfigV1Alpha1
from .yaml import read_file

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from ..client.grpc import ClientService, Exporter, ExporterList, LeaseList
    from ..client.grpc import Lease as LeaseRecord
    from ..client.lease import Lease

__all__ = [
    "ClientConfigListV1Alpha1",
    "ClientConfigV1Alpha1",
    "ClientConfigV1Alpha1Drivers",
    "ClientConfigV1Alpha1Lease",
    "ObjectMeta",
    "ShellConfigV1Alpha1",
    "TLSConfigV1Alpha1",
]

T = TypeVar("T")


def _read_allow(value: Any, place: Place, problems: Problems) -> Any:
    """Patterns as a list, or as one text with commas."""
    if isinstance(value, str):
        return [pattern.strip() for pattern in value.split(",") if pattern.strip()]
    return convert(list[str], value, place, problems)


def _read_switch(value: Any, place: Place, problems: Problems) -> Any:
    """A boolean, which a variable has as a word."""
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on", "0", "false", "no", "off", ""):
        return value.lower() in ("1", "true", "yes", "on")
    return convert(bool, value, place, problems)


@dataclass(kw_only=True)
class ClientConfigV1Alpha1Drivers:
    """Which client classes may be loaded beside those of installed driver packages."""

    allow: list[str] = field(
        default_factory=list[str],
        metadata=key(always=True, env=JMP_DRIVERS_ALLOW, read=_read_allow, help="Patterns of dotted class paths."),
    )
    unsafe: bool = field(
        default=False,
        metadata=key(always=True, env=JMP_DRIVERS_UNSAFE, read=_read_switch, help="Load whatever can be imported."),
    )

    def __post_init__(self) -> None:
        self.unsafe = self.unsafe or "UNSAFE" in self.allow


@dataclass(kw_only=True)
class ClientConfigV1Alpha1Lease:
    """How long things take at most around a lease, in seconds."""

    acquisition_timeout: int = field(default=7200, metadata=key(least=5, help="Until an exporter is free."))
    retry_timeout: float = field(
        default=300, metadata=key(least=0, help="For which a controller that is away is waited for.")
    )
    dial_timeout: float = field(default=30, metadata=key(least=5, help="Until the exporter takes a connection."))


@dataclass(kw_only=True)
class ShellConfigV1Alpha1:
    """What the shells of `jmp shell` are like."""

    use_profiles: bool = field(default=False, metadata=key(help="Read the user's profile in them."))


@dataclass(kw_only=True)
class ClientConfigV1Alpha1:
    """The configuration of a client."""

    CLIENT_CONFIGS_PATH: ClassVar[Path] = CONFIG_PATH / "clients"
    """Where they are."""

    apiVersion: Literal["jumpstarter.dev/v1alpha1"] = field(default=CONFIG_API_VERSION, metadata=key(always=True))
    kind: Literal["ClientConfig"] = field(default="ClientConfig", metadata=key(always=True))
    metadata: ObjectMeta = field(metadata=key(always=True))
    endpoint: str | None = field(default=None, metadata=key(env=JMP_ENDPOINT, help="The controller, host:port."))
    token: str | None = field(
        default=None, repr=False, metadata=key(secret=True, env=JMP_TOKEN, help="What the controller asks for.")
    )
    refresh_token: str | None = field(default=None, repr=False, metadata=key(secret=True, env=JMP_REFRESH_TOKEN))
    tls: TLSConfigV1Alpha1 = field(default_factory=TLSConfigV1Alpha1, metadata=key(env=JMP_TLS))
    grpcOptions: dict[str, str | int] = field(
        default_factory=dict[str, str | int],
        metadata=key(env=JMP_GRPCOPTIONS, help="Options of gRPC channels, over the defaults."),
    )
    drivers: ClientConfigV1Alpha1Drivers = field(default_factory=ClientConfigV1Alpha1Drivers, metadata=key(always=True))
    shell: ShellConfigV1Alpha1 = field(default_factory=ShellConfigV1Alpha1)
    leases: ClientConfigV1Alpha1Lease = field(default_factory=ClientConfigV1Alpha1Lease)
    alias: str = field(default="default", compare=False, metadata=key(internal=True))
    """Name of its file."""

    path: Path | None = field(default=None, compare=False, metadata=key(internal=True))
    """Its file; None if it is of the environment, or was made in Python."""

    # files

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> ClientConfigV1Alpha1:
        """Read a file, and from the environment what it leaves out. Raises ConfigurationError."""
        path = Path(path)
        document = read_file(path)
        config = cls._read({"metadata": {}, "drivers": {}, **document.data}, document.place)
        config.alias, config.path = path.name.partition(".")[0], path
        return config

    @classmethod
    def from_env(cls) -> ClientConfigV1Alpha1:
        """The configuration that the environment is; ConfigurationError where it is none."""
        return cls._read({"metadata": {}, "drivers": {}}, Place())

    @classmethod
    def try_from_env(cls) -> ClientConfigV1Alpha1 | None:
        """The same; None where the environment names no client."""
        if JMP_NAMESPACE not in os.environ or JMP_NAME not in os.environ:
            return None
        return cls.from_env()

    @classmethod
    def _read(cls, data: dict[Any, Any], place: Place) -> ClientConfigV1Alpha1:
        problems = Problems()
        config = read(cls, data, place, problems)
        problems.raise_any()
        assert config is not None
        return config

    @classmethod
    def load(cls, alias: str) -> ClientConfigV1Alpha1:
        """Read the configuration of this name."""
        return cls.from_file(find_config("client", alias, cls.CLIENT_CONFIGS_PATH))

    @classmethod
    def exists(cls, alias: str) -> bool:
        """Whether there is a configuration of this name."""
        return config_file("client", cls.CLIENT_CONFIGS_PATH, alias).exists()

    @classmethod
    def ensure_exists(cls, alias: str) -> None:
        """Raise ConfigurationNotFoundError unless there is a configuration of this name."""
        find_config("client", alias, cls.CLIENT_CONFIGS_PATH)

    @classmethod
    def list(cls) -> ClientConfigListV1Alpha1:
        """All configurations of the user, and what is wrong with those that cannot be read."""
        from .user import UserConfigV1Alpha1

        found = ClientConfigListV1Alpha1(items=[], current_config=UserConfigV1Alpha1.current_alias())
        for file in sorted(cls.CLIENT_CONFIGS_PATH.glob("*.yaml")):
            try:
                found.items.append(cls.from_file(file))
            except InvalidConfigurationError as e:
                found.problems += e.problems
        return found

    @classmethod
    def save(cls, config: ClientConfigV1Alpha1, path: str | os.PathLike[str] | None = None) -> Path:
        """Write a configuration, without a path as that of its alias; the file is for this user only."""
        target = config_file("client", cls.CLIENT_CONFIGS_PATH, config.alias) if path is None else Path(path)
        write_private(target, cls.dump_yaml(config))
        config.path = target
        return target

    @classmethod
    def delete(cls, alias: str) -> Path:
        """Remove the configuration of this name; returns its path."""
        path = find_config("client", alias, cls.CLIENT_CONFIGS_PATH)
        path.unlink()
        return path

    @classmethod
    def dump_yaml(cls, config: ClientConfigV1Alpha1) -> str:
        """The configuration as YAML, secrets included."""
        return dump_text(dump(config))

    # what it is for: each of these waits where no event loop runs, and gives a coroutine where one does

    async def channel(self) -> Any:
        """A grpc.aio channel to the controller. Raises ConfigurationError without endpoint or token."""
        from ..common.services import identity
        from ..streams.channels import make_channel

        if not self.endpoint or not self.token:
            missing = "token" if self.endpoint else "endpoint"
            where = self.path or "the client's configuration"
            raise ConfigurationError(f"{where} has no {missing}", "write it, or get it with jmp login")
        metadata = identity("Client", self.metadata.namespace, self.metadata.name, self.token)
        return await make_channel(self.endpoint, self.tls, self.grpcOptions, metadata)

    @asynccontextmanager
    async def service(self) -> AsyncGenerator[ClientService]:
        """What the controller does for a client."""
        from ..client.grpc import ClientService

        channel = await self.channel()
        try:
            yield ClientService(channel, self.metadata.namespace or "", where=str(self.endpoint))
        finally:
            await channel.close(None)

    def get_exporter(self, name: str) -> Exporter:
        """One exporter."""
        return self._waited(lambda service: service.GetExporter(name=name))

    def list_exporters(
        self, *, page_size: int | None = None, filter: str | None = None, show_hidden_labels: bool = False
    ) -> ExporterList:
        """The exporters whose labels fit a selector; the controller may keep some of their labels to itself."""
        return self._waited(
            lambda service: service.ListExporters(
                page_size=page_size, filter=filter, show_hidden_labels=show_hidden_labels
            )
        )

    def list_leases(
        self, *, filter: str | None = None, only_active: bool = True, tag_filter: str | None = None
    ) -> LeaseList:
        """The leases of the namespace."""
        return self._waited(
            lambda service: service.ListLeases(filter=filter, only_active=only_active, tag_filter=tag_filter)
        )

    def create_lease(
        self,
        *,
        duration: timedelta,
        selector: str | None = None,
        exporter_name: str | None = None,
        begin_time: datetime | None = None,
        lease_id: str | None = None,
        tags: dict[str, str] | None = None,
        allow_disabled: bool = False,
    ) -> LeaseRecord:
        """Ask for a lease, and do not wait until an exporter is free."""
        if not selector and not exporter_name:
            raise ArgumentError("a lease needs a selector or the name of an exporter")
        return self._waited(
            lambda service: service.CreateLease(
                duration=duration,
                selector=selector,
                exporter_name=exporter_name,
                begin_time=begin_time,
                lease_id=lease_id,
                tags=tags,
                allow_disabled=allow_disabled,
            )
        )

    def delete_lease(self, name: str) -> None:
        """End a lease."""
        return self._waited(lambda service: service.DeleteLease(name=name))

    def update_lease(
        self,
        name: str,
        *,
        duration: timedelta | None = None,
        begin_time: datetime | None = None,
        client: str | None = None,
    ) -> LeaseRecord:
        """Change how long a lease lasts, when it begins, or whose it is."""
        return self._waited(
            lambda service: service.UpdateLease(name=name, duration=duration, begin_time=begin_time, client=client)
        )

    def rotate_token(self) -> tuple[str, datetime | None]:
        """Replace the token by a fresh one; returns that, and until when it is valid."""
        return self._waited(lambda service: service.RotateToken())

    def _waited(self, call: Callable[[ClientService], Awaitable[T]]) -> T:
        """The result of a call of the controller; on an event loop its coroutine."""

        async def run() -> T:
            async with self.service() as service:
                return await call(service)

        return _waited(run())

    @contextmanager
    def lease(
        self,
        selector: str | None = None,
        exporter_name: str | None = None,
        lease_name: str | None = None,
        duration: timedelta = timedelta(minutes=30),
    ) -> Generator[Lease]:
        """Lease an exporter meanwhile, or with `lease_name` use a lease that there is."""
        from ..streams.portal import shared_portal

        portal = shared_portal()
        running = self.lease_async(selector, exporter_name, lease_name, duration, portal)
        with portal.wrap_async_context_manager(running) as lease:
            yield lease

    @asynccontextmanager
    async def lease_async(
        self,
        selector: str | None,
        exporter_name: str | None,
        lease_name: str | None,
        duration: timedelta,
        portal: BlockingPortal,
        acquisition_timeout: float | None = None,
        retry_timeout: float | None = None,
        dial_timeout: float | None = None,
    ) -> AsyncGenerator[Lease]:
        """The same on the event loop of `portal`; times in seconds, by default those of the configuration."""
        from ..client.lease import Lease

        lease_name = lease_name or lease_from_env()
        channel = await self.channel()
        try:
            async with Lease(
                channel=channel,
                duration=duration,
                selector=selector,
                requested_exporter_name=exporter_name,
                portal=portal,
                namespace=self.metadata.namespace or "",
                client_name=self.metadata.name,
                name=lease_name,
                release=lease_name is None,
                allow=self.drivers.allow,
                unsafe=self.drivers.unsafe,
                tls_config=self.tls,
                grpc_options=self.grpcOptions,
                acquisition_timeout=_first(acquisition_timeout, self.leases.acquisition_timeout),
                retry_timeout=_first(retry_timeout, _seconds(JMP_RETRY_TIMEOUT), self.leases.retry_timeout),
                dial_timeout=_first(dial_timeout, _seconds(JMP_DIAL_TIMEOUT), self.leases.dial_timeout),
                where=str(self.endpoint),
            ) as lease:
                yield lease
        finally:
            await channel.close(None)


@dataclass(kw_only=True)
class ClientConfigListV1Alpha1:
    """The configurations that there are."""

    items: list[ClientConfigV1Alpha1]
    current_config: str | None = None
    """Alias of the one that is used unless another one is named."""

    problems: list[str] = field(default_factory=list[str])
    """What is wrong with files that hold none."""


def lease_from_env() -> str | None:
    """The lease that the environment names; a shell without a controller calls its own `direct`."""
    name = os.environ.get(JMP_LEASE)
    return name if name and name != "direct" else None


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _seconds(name: str) -> float | None:
    """The value of a variable; ConfigurationError where it is no number."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{name}={text!r} is no number of seconds") from None


def _waited(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine; the coroutine itself where an event loop runs in this thread."""
    import asyncio

    from ..streams.portal import shared_portal

    try:
        asyncio.get_running_loop()
    except RuntimeError:

        async def run() -> T:
            return await coroutine

        return shared_portal().call(run)
    return cast(T, coroutine)
