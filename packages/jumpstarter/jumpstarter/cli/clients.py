"""Which client of which controller a command means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from . import errors

if TYPE_CHECKING:
    from ..config.client import ClientConfigV1Alpha1

F = TypeVar("F", bound=Callable[..., object])


def client_options(command: F) -> F:
    """`--client ALIAS` and `--client-config FILE`."""
    alias = click.option("--client", metavar="ALIAS", help="Name of a client configuration; else the current one.")
    return click.option("--client-config", metavar="FILE", help="Configuration file of a client.")(alias(command))


def find_client(file: str | None, alias: str | None) -> ClientConfigV1Alpha1 | None:
    """The configuration that the options name, or else that of the environment, or the current one of the user."""
    if file is not None and alias is not None:
        raise click.UsageError("--client-config and --client exclude each other")
    from ..config.client import ClientConfigV1Alpha1

    if file is not None:
        return ClientConfigV1Alpha1.from_file(file)
    if alias is not None:
        return ClientConfigV1Alpha1.load(alias)
    if (config := ClientConfigV1Alpha1.try_from_env()) is not None:
        return config
    from ..config.user import UserConfigV1Alpha1

    return UserConfigV1Alpha1.current()


def need_client(file: str | None, alias: str | None) -> ClientConfigV1Alpha1:
    """The same; an error that says what to do where there is none."""
    config = find_client(file, alias)
    if config is None:
        message = (
            "no client is chosen: name one by --client ALIAS, choose one by jmp config client use ALIAS, "
            "or make one by jmp login"
        )
        raise errors.CommandError(message, errors.CONFIG)
    return config
