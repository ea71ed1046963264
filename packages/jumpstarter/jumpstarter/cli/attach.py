"""The ways in which `jmp shell` attaches devices: what the child's environment has to say."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import env as names
from ..common.environment import path_with_commands
from ..common.exceptions import ConfigurationError

if TYPE_CHECKING:
    import ssl

    from ..client.connection import Endpoint
    from ..config.exporter import ExporterConfigV1Alpha1

_OURS = (
    names.JUMPSTARTER_HOST,
    names.JMP_GRPC_INSECURE,
    names.JUMPSTARTER_GRPC_INSECURE,
    names.JMP_GRPC_PASSPHRASE,
    names.JMP_EXPORTER,
    names.JMP_EXPORTER_LABELS,
    names.JMP_LEASE,
)
"""Variables of an outer shell, which say nothing of this one."""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """Devices that are within reach."""

    name: str
    """What a prompt calls the exporter."""

    variables: dict[str, str] = field(repr=False)
    """How a client finds it."""

    def environment(self, base: dict[str, str]) -> dict[str, str]:
        """The environment of a process that uses the devices."""
        kept = {key: value for key, value in base.items() if key not in _OURS}
        return {
            **kept,
            **self.variables,
            "PATH": path_with_commands(base),
            names.JMP_SUPPRESS_DRIVER_WARNINGS: "1",
        }


@contextmanager
def local(config: ExporterConfigV1Alpha1) -> Generator[Attachment]:
    """Serve a configuration in this process, on a private unix socket."""
    from ..exporter.direct import UnixListener, serving
    from ..streams.portal import shared_portal

    name = config.metadata.name
    with shared_portal().wrap_async_context_manager(serving(config, UnixListener())) as address:
        variables = {names.JUMPSTARTER_HOST: address, names.JMP_DRIVERS_ALLOW: "UNSAFE", names.JMP_EXPORTER: name}
        yield Attachment(name=name, variables=variables)


@contextmanager
def unix(path: Path, logs: bool) -> Generator[Attachment]:
    """An exporter that runs on this host."""
    from ..client.connection import Endpoint

    with _checked(Endpoint(str(path.absolute())), logs):
        variables = {names.JUMPSTARTER_HOST: str(path.absolute()), names.JMP_EXPORTER: path.stem}
        yield Attachment(name=path.stem, variables=variables)


@contextmanager
def tcp(address: str, insecure: bool, passphrase: str | None, ca: Path | None, logs: bool) -> Generator[Attachment]:
    """An exporter that serves a TCP port."""
    from ..client.connection import Endpoint

    endpoint = Endpoint(address, insecure=insecure, passphrase=passphrase, ca=read_ca(ca) if ca is not None else None)
    variables = {names.JUMPSTARTER_HOST: address, names.JMP_EXPORTER: "direct", names.JMP_LEASE: "direct"}
    if insecure:
        variables[names.JMP_GRPC_INSECURE] = "1"
    if passphrase is not None:
        variables[names.JMP_GRPC_PASSPHRASE] = passphrase
    if ca is not None:
        variables[names.GRPC_ROOTS] = str(ca.absolute())
    with _checked(endpoint, logs):
        yield Attachment(name=address, variables=variables)


def read_ca(path: Path) -> str:
    """The certificates in a file; ConfigurationError where there are none."""
    import ssl

    try:
        text = path.read_text(encoding="ascii", errors="replace")
        ssl.create_default_context(cadata=text)
    except ssl.SSLError as e:
        raise ConfigurationError(f"{path} holds no certificates in PEM: {_plain(e)}") from e
    except (OSError, ValueError) as e:
        raise ConfigurationError(f"certificates {path}: {getattr(e, 'strerror', None) or e}") from e
    return text


def _plain(error: ssl.SSLError) -> str:
    """What OpenSSL says, without the line of its source."""
    return (error.reason or str(error)).partition(" (_ssl.c")[0].replace("_", " ").lower()


@contextmanager
def _checked(endpoint: Endpoint, logs: bool) -> Generator[None]:
    """Raise unless an exporter answers there; show its log meanwhile if asked to."""
    from ..client.probe import check_answers, following_logs

    check_answers(endpoint)
    with following_logs(endpoint) if logs else nullcontext():
        yield
