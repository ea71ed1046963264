"""`jmp config client`."""

from __future__ import annotations

from pathlib import Path

import click

from . import errors, secrets
from .group import LazyGroup, examples
from .tables import output_options, table, write


@click.group(
    cls=LazyGroup,
    table={
        "create": ("jumpstarter.cli.configclient:create", "Write the configuration of a client"),
        "list": ("jumpstarter.cli.configclient:list_clients", "Show the clients of this user"),
        "use": ("jumpstarter.cli.configclient:use", "Choose the client that is used unless another one is named"),
        "delete": ("jumpstarter.cli.configclient:delete", "Remove the configuration of a client"),
    },
)
def client() -> None:
    """Look after the configurations of clients."""


@click.command(
    epilog=examples(
        "jmp config client create lab --endpoint grpc.lab:443 --namespace default --name alice",
        "jmp config client create lab --out lab.yaml --allow 'jumpstarter_driver_*' ...",
    )
)
@click.argument("alias")
@click.option("--out", metavar="FILE", help="Write to a file, not to the directory of configurations.")
@secrets.identity_options
@click.option("-a", "--allow", "allow", metavar="PATTERNS", help="Client classes to load, too; with commas.")
@click.option("--unsafe", is_flag=True, help="Load whatever can be imported.")
@output_options("path")
def create(
    alias: str,
    out: str | None,
    given: secrets.Given,
    allow: str | None,
    unsafe: bool,
    output: str | None,
) -> None:
    """Write the configuration ALIAS of a client; the first one becomes the current one.

    What is not given is asked for.
    """
    from ..config.client import ClientConfigV1Alpha1, ClientConfigV1Alpha1Drivers, ObjectMeta, TLSConfigV1Alpha1

    if out is None and ClientConfigV1Alpha1.exists(alias):
        raise errors.CommandError(f"there is a client {alias} already; delete it first", errors.CONFIG)
    identity = given.ask()
    config = ClientConfigV1Alpha1(
        alias=alias,
        metadata=ObjectMeta(namespace=identity.namespace, name=identity.name),
        endpoint=identity.endpoint,
        token=identity.token,
        tls=TLSConfigV1Alpha1(ca=given.authorities(), insecure=given.insecure_tls),
        drivers=ClientConfigV1Alpha1Drivers(allow=split(allow), unsafe=unsafe),
    )
    path = ClientConfigV1Alpha1.save(config, Path(out) if out is not None else None)
    if out is None:
        choose_first(alias)
    click.echo(path if output == "path" else f"client {alias} is written to {path}")


def split(patterns: str | None) -> list[str]:
    """Patterns with commas as a list."""
    return [pattern.strip() for pattern in (patterns or "").split(",") if pattern.strip()]


def choose_first(alias: str) -> None:
    """Make a client the current one, unless there is one."""
    from ..config.user import UserConfigV1Alpha1

    user = UserConfigV1Alpha1.load_or_create()
    if user.config.current_client is None:
        user.use_client(alias)


@click.command(name="list")
@output_options("json", "yaml", "name")
def list_clients(output: str | None) -> None:
    """Show the clients of this user; a star marks the current one."""
    from ..config.client import ClientConfigV1Alpha1

    found = ClientConfigV1Alpha1.list()
    for problem in found.problems:
        errors.warn("jmp", problem)
    if output == "name":
        for config in found.items:
            click.echo(config.alias)
    elif output is not None:
        items = [
            {"alias": c.alias, "path": str(c.path), "endpoint": c.endpoint, "current": c.alias == found.current_config}
            for c in found.items
        ]
        write({"clients": items}, output)
    else:
        rows = [
            ["*" if c.alias == found.current_config else "", c.alias, c.endpoint or "", str(c.path)]
            for c in found.items
        ]
        click.echo(table(["", "alias", "endpoint", "path"], rows))


@click.command()
@click.argument("alias")
@output_options("path")
def use(alias: str, output: str | None) -> None:
    """Choose the client ALIAS, which is used unless another one is named."""
    from ..config.user import UserConfigV1Alpha1

    path = UserConfigV1Alpha1.load_or_create().use_client(alias)
    click.echo(path if output == "path" else f"client {alias} is the current one")


@click.command()
@click.argument("alias")
@output_options("path")
def delete(alias: str, output: str | None) -> None:
    """Remove the configuration of the client ALIAS."""
    from ..config.client import ClientConfigV1Alpha1
    from ..config.user import UserConfigV1Alpha1

    path = ClientConfigV1Alpha1.delete(alias)
    user = UserConfigV1Alpha1.load_or_create()
    if user.config.current_client == alias:
        user.use_client(None)
    click.echo(path if output == "path" else f"client {alias} is deleted: {path}")
