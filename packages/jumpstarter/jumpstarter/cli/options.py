"""Options that several commands share, and what stands behind them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..common.env import JMP_GRPC_PASSPHRASE
from ..common.exceptions import ConfigurationError
from . import errors

if TYPE_CHECKING:
    import ssl

    from ..config.exporter import ExporterConfigV1Alpha1

F = TypeVar("F", bound=Callable[..., object])
R = TypeVar("R")

_ADDRESS = re.compile(r"(?:(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]/\s]+)):)?(?P<port>\d{1,5})", re.ASCII)


def config_options(command: F) -> F:
    """`--exporter-config FILE` and `--exporter ALIAS`."""
    alias = click.option("--exporter", metavar="ALIAS", help="Name of a configuration in the exporters directory.")
    return click.option("--exporter-config", metavar="FILE", help="Configuration file.")(alias(command))


def passphrase_options(command: F) -> F:
    """`--passphrase TEXT` and `--passphrase-file FILE`."""
    file = click.option("--passphrase-file", metavar="FILE", help="File with the passphrase of the TCP port.")
    text = click.option(
        "--passphrase", metavar="TEXT", help="The passphrase itself; others can read it in the list of processes."
    )
    return text(file(command))


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which exporter that runs already is meant: at most one of `name`, `socket` and `address`."""

    name: str | None
    socket: str | None
    address: str | None
    insecure: bool
    tls_ca: str | None
    passphrase: str | None = field(repr=False)
    passphrase_file: str | None

    @property
    def given(self) -> dict[str, str | None]:
        """The options that name one, with what was given."""
        return {"--name": self.name, "--socket": self.socket, "--tls-grpc": self.address}

    def check(self, others: Mapping[str, object] | None = None) -> None:
        """Raise UsageError where the options, or `others` beside them, name more than one, or do not go together."""
        check_one({**(others or {}), **self.given})
        if self.address is None and any((self.insecure, self.tls_ca, self.passphrase, self.passphrase_file)):
            raise click.UsageError("--tls-…, --passphrase and --passphrase-file need --tls-grpc HOST:PORT")

    def secret(self) -> str | None:
        """The passphrase; see `find_passphrase`."""
        return find_passphrase(self.passphrase, self.passphrase_file)


def exporter_options(command: Callable[..., R]) -> Callable[..., R]:
    """Those by which a command says which exporter that runs already it means, given to it as `where`."""

    @wraps(command)
    def located(**given: Any) -> R:
        return command(where=Where(**{name: given.pop(name) for name in _WHERE}), **given)

    result: Any = located
    for option in reversed(_EXPORTER):
        result = option(result)
    return result


_WHERE = tuple(entry.name for entry in fields(Where))

_EXPORTER = (
    click.option("-n", "--name", help="Name of an exporter that runs on this host."),
    click.option("--socket", metavar="PATH", help="Unix socket of an exporter."),
    click.option("--tls-grpc", "address", metavar="HOST:PORT", help="Address of an exporter that serves a TCP port."),
    click.option("--tls-grpc-insecure", "insecure", is_flag=True, help="The TCP port speaks clear text."),
    click.option("--tls-ca", metavar="FILE", help="Certificates to trust, in PEM, instead of the system's."),
    passphrase_options,
)


def check_one(given: Mapping[str, object]) -> None:
    """Raise UsageError where more than one of some options is given."""
    if sum(value is not None for value in given.values()) > 1:
        *names, last = given
        raise click.UsageError(f"choose one of {', '.join(names)} and {last}")


def load_config(file: str | None, alias: str | None) -> ExporterConfigV1Alpha1 | None:
    """The configuration that the options name, if they name one."""
    if file is not None and alias is not None:
        raise click.UsageError("--exporter-config and --exporter exclude each other")
    if file is None and alias is None:
        return None
    from ..config.exporter import ExporterConfigV1Alpha1

    if file is not None:
        return ExporterConfigV1Alpha1.load_path(Path(file))
    assert alias is not None
    return ExporterConfigV1Alpha1.load(alias)


def split_address(text: str) -> tuple[str | None, int]:
    """Host and port of `[HOST:]PORT`; an IPv6 host stands in brackets. Raises UsageError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or (port := int(match["port"])) > 65535:
        raise click.UsageError(f"{text!r} is not [HOST:]PORT, such as 8083, 0.0.0.0:8083 or [::1]:8083")
    return match["v6"] or match["host"], port


def check_address(address: str) -> str:
    """The address itself; UsageError unless it is HOST:PORT."""
    try:
        host, port = split_address(address)
    except click.UsageError:
        host, port = None, 0
    if host is None or port == 0:
        raise click.UsageError(f"{address!r} is not HOST:PORT, such as lab1:8083 or [::1]:8083")
    return address


def find_passphrase(text: str | None, file: str | None) -> str | None:
    """The passphrase from the options or, without them, from the environment."""
    if text is not None and file is not None:
        raise click.UsageError("--passphrase and --passphrase-file exclude each other")
    if file is not None:
        return _checked(read_secret(Path(file), "passphrase"), file)
    if text is not None:
        safer = f"--passphrase-file or {JMP_GRPC_PASSPHRASE}"
        errors.warn("jmp", f"everybody on this host can read --passphrase in the list of processes; use {safer}")
        return _checked(text, "--passphrase")
    if (text := os.environ.get(JMP_GRPC_PASSPHRASE)) is not None:
        return _checked(text, JMP_GRPC_PASSPHRASE)
    return None


def read_secret(path: Path, what: str) -> str:
    """The secret in a file. ConfigurationError where it cannot be read, or others can change it."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(16384)
    except OSError as e:
        raise ConfigurationError(f"{what} file {path}: {(e.strerror or str(e)).lower()}; check the path") from e
    if stat.S_ISREG(mode) and mode & 0o022:
        raise ConfigurationError(f"{what} file {path} can be changed by others; chmod 600 {path}")
    if stat.S_ISREG(mode) and mode & 0o044:
        errors.warn("jmp", f"{what} file {path} can be read by others; chmod 600 {path}")
    return secret.removesuffix("\n")


def _checked(passphrase: str, source: str) -> str:
    if not passphrase:
        raise ConfigurationError(f"the passphrase from {source} is empty")
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", passphrase):
        allowed = "ASCII letters, digits, signs and inner spaces, on one line"
        raise ConfigurationError(f"the passphrase from {source} cannot be sent; use {allowed}")
    return passphrase


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
