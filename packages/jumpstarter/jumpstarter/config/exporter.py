"""`ExporterConfig`: what an exporter serves, and by what name a controller knows it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from .common import CONFIG_API_VERSION, CONFIG_PATH, ObjectMeta
from .dumper import dump_text
from .entry import ExporterConfigV1Alpha1DriverInstance, as_entries, read_entries
from .files import config_file, find_config, write_private
from .hooks import FailureDetectionConfigV1Alpha1, HookConfigV1Alpha1, HookInstanceConfigV1Alpha1
from .place import Place
from .problems import InvalidConfigurationError, Problems
from .schema import dump, key, read, read_values
from .tls import TLSConfigV1Alpha1
from .yaml import read_file

if TYPE_CHECKING:
    from ..driver import Driver
    from ..exporter import Exporter
    from .tree import Plan

__all__ = [
    "ExporterConfigListV1Alpha1",
    "ExporterConfigV1Alpha1",
    "ExporterConfigV1Alpha1DriverInstance",
    "FailureDetectionConfigV1Alpha1",
    "HookConfigV1Alpha1",
    "HookInstanceConfigV1Alpha1",
    "ObjectMeta",
    "TLSConfigV1Alpha1",
    "check_file",
]


@dataclass(kw_only=True)
class ExporterConfigV1Alpha1:
    """The configuration of an exporter."""

    BASE_PATH: ClassVar[Path] = CONFIG_PATH / "exporters"
    """Where the user's configurations are."""

    SYSTEM_CONFIG_PATH: ClassVar[Path] = Path("/etc/jumpstarter/exporters")
    """Where the machine's are; those of the user go first."""

    apiVersion: Literal["jumpstarter.dev/v1alpha1"] = field(
        default=CONFIG_API_VERSION, metadata=key(always=True, help="Version of this format.")
    )
    kind: Literal["ExporterConfig"] = field(default="ExporterConfig", metadata=key(always=True))
    metadata: ObjectMeta = field(metadata=key(always=True))
    endpoint: str | None = field(default=None, metadata=key(help="The controller, host:port; none to serve alone."))
    token: str | None = field(default=None, repr=False, metadata=key(secret=True, help="What the controller asks for."))
    tls: TLSConfigV1Alpha1 = field(default_factory=TLSConfigV1Alpha1)
    grpcOptions: dict[str, str | int] = field(
        default_factory=dict[str, str | int], metadata=key(help="Options of gRPC channels, over the defaults.")
    )
    description: str | None = field(default=None, metadata=key(help="Shown for the exporter as a whole."))
    motd: str | None = field(default=None, metadata=key(help="Shown to whoever begins a session."))
    export: dict[str, ExporterConfigV1Alpha1DriverInstance] = field(
        default_factory=dict[str, ExporterConfigV1Alpha1DriverInstance],
        metadata=key(always=True, read=read_entries, help="The drivers, by name."),
    )
    hooks: HookConfigV1Alpha1 = field(default_factory=HookConfigV1Alpha1)
    failure_detection: FailureDetectionConfigV1Alpha1 = field(
        default_factory=FailureDetectionConfigV1Alpha1, metadata=key("failureDetection")
    )
    exit_on_lease_end: bool = field(default=False, metadata=key("exitOnLeaseEnd", help="Serve one lease, then exit."))
    observers: bool = field(
        default=False, metadata=key(help="Others than the holder of the session may call what changes nothing.")
    )
    alias: str = field(default="default", compare=False, metadata=key(internal=True))
    """Name of its file."""

    path: Path | None = field(default=None, compare=False, metadata=key(internal=True))
    """Its file."""

    place: Place | None = field(default=None, repr=False, compare=False, metadata=key(internal=True))
    """Where it was read from; None if it was made in Python."""

    def __post_init__(self) -> None:
        self.export = as_entries(self.export)

    @classmethod
    def load_path(cls, path: Path) -> ExporterConfigV1Alpha1:
        """Read a file. Raises ConfigurationError with all that is wrong with it; drivers are not looked at."""
        path = Path(path)
        document, problems = read_file(path), Problems()
        config = read(cls, document.data, document.place, problems)
        problems.raise_any()
        assert config is not None
        config.alias, config.path, config.place = path.stem, path, document.place
        return config

    @classmethod
    def load(cls, alias: str) -> ExporterConfigV1Alpha1:
        """Read the configuration of this name, of the user or else of the machine."""
        return cls.load_path(cls.find(alias))

    @classmethod
    def find(cls, alias: str) -> Path:
        """The file of the configuration of this name, of the user or else of the machine."""
        return find_config("exporter", alias, cls.BASE_PATH, cls.SYSTEM_CONFIG_PATH)

    @classmethod
    def exists(cls, alias: str) -> bool:
        """Whether there is a configuration of this name."""
        return any(
            config_file("exporter", folder, alias).exists() for folder in (cls.BASE_PATH, cls.SYSTEM_CONFIG_PATH)
        )

    @classmethod
    def list(cls) -> ExporterConfigListV1Alpha1:
        """All configurations of the user and the machine, and what is wrong with those that cannot be read."""
        files: dict[str, Path] = {}
        for folder in (cls.SYSTEM_CONFIG_PATH, cls.BASE_PATH):
            files |= {file.stem: file for file in folder.glob("*.yaml")}
        found = ExporterConfigListV1Alpha1(items=[])
        for alias in sorted(files):
            try:
                found.items.append(cls.load_path(files[alias]))
            except InvalidConfigurationError as e:
                found.problems += e.problems
        return found

    @classmethod
    def save(cls, config: ExporterConfigV1Alpha1, path: str | Path | None = None) -> Path:
        """Write a configuration, without a path as that of its alias; the file is for this user only."""
        target = config_file("exporter", cls.BASE_PATH, config.alias) if path is None else Path(path)
        write_private(target, cls.dump_yaml(config))
        config.path = target
        return target

    @classmethod
    def delete(cls, alias: str) -> Path:
        """Remove the user's configuration of this name; returns its path."""
        path = find_config("exporter", alias, cls.BASE_PATH)
        path.unlink()
        return path

    @classmethod
    def dump_yaml(cls, config: ExporterConfigV1Alpha1) -> str:
        """The configuration as YAML, secrets included."""
        return dump_text(dump(config))

    def check(self) -> None:
        """Raise ConfigurationError with all that would keep the drivers from being made. Makes none."""
        self.plan()

    def plan(self) -> Plan:
        """How to make the drivers. Raises ConfigurationError with all that would keep them from being made."""
        from .tree import plan

        return plan(self._root(), self._export_place())

    def instantiate(self) -> Driver:
        """Make the drivers below a composite. Raises ConfigurationError, and then has closed what it made."""
        from .tree import make

        return make(self._root(), self._export_place())

    @contextmanager
    def serve_unix(self) -> Generator[str]:
        """Serve the drivers on a private unix socket; yields its path."""
        from ..streams.portal import shared_portal

        with shared_portal().wrap_async_context_manager(self.serve_unix_async()) as path:
            yield path

    @asynccontextmanager
    async def serve_unix_async(self) -> AsyncGenerator[str]:
        """The same on the running event loop."""
        from ..exporter.direct import UnixListener, serving

        async with serving(self, UnixListener()) as address:
            yield address

    @asynccontextmanager
    async def create_exporter(self, *, standalone: bool = False) -> AsyncGenerator[Exporter]:
        """The exporter of this configuration as an object, which is stopped at the end.

        It can serve by itself with `standalone`. Otherwise raises ConfigurationError without `endpoint` and `token`.
        """
        from ..exporter.exporter import Exporter

        async with Exporter.of(self, standalone=standalone) as exporter:
            yield exporter

    async def serve(self) -> None:
        """Register with the controller, and serve the leases that it gives until a signal ends that; as `jmp run`."""
        from ..exporter.registered import serve_registered

        await serve_registered(self, ready=lambda: None)

    def _root(self) -> ExporterConfigV1Alpha1DriverInstance:
        return ExporterConfigV1Alpha1DriverInstance(description=self.description, children=self.export)

    def _export_place(self) -> Place:
        return (self.place or Place()) / "export"


@dataclass(kw_only=True)
class ExporterConfigListV1Alpha1:
    """The configurations that there are."""

    items: list[ExporterConfigV1Alpha1]
    problems: list[str] = field(default_factory=list[str])
    """What is wrong with files that hold none."""


def check_file(path: Path) -> None:
    """Raise ConfigurationError with all that is wrong with a file and the drivers in it. Makes no driver."""
    from .tree import plan

    path = Path(path)
    document, problems = read_file(path), Problems()
    values = read_values(ExporterConfigV1Alpha1, document.data, document.place, problems)
    root = ExporterConfigV1Alpha1DriverInstance(
        description=values.get("description"), children=values.get("export", {})
    )
    plan(root, document.place / "export", problems)
