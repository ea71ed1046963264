"""`jmp config exporter`."""

from __future__ import annotations

import click

from . import errors, secrets
from .group import LazyGroup, examples
from .tables import output_options, table, write


@click.group(
    cls=LazyGroup,
    table={
        "create": ("jumpstarter.cli.configexporter:create", "Write the configuration of an exporter"),
        "list": ("jumpstarter.cli.configexporter:list_exporters", "Show the exporters of this user and machine"),
        "edit": ("jumpstarter.cli.configexporter:edit", "Open the configuration of an exporter in an editor"),
        "delete": ("jumpstarter.cli.configexporter:delete", "Remove the configuration of an exporter"),
    },
)
def exporter() -> None:
    """Look after the configurations of exporters."""


@click.command(
    epilog=examples("jmp config exporter create board1 --endpoint grpc.lab:443 --namespace default --name board1")
)
@click.argument("alias", default="default")
@secrets.identity_options
@output_options("path")
def create(
    alias: str,
    given: secrets.Given,
    output: str | None,
) -> None:
    """Write the configuration ALIAS of an exporter without drivers; they are added by jmp config exporter edit."""
    from ..config.exporter import ExporterConfigV1Alpha1, ObjectMeta, TLSConfigV1Alpha1

    if ExporterConfigV1Alpha1.exists(alias):
        raise errors.CommandError(f"there is an exporter {alias} already; delete it first", errors.CONFIG)
    identity = given.ask()
    config = ExporterConfigV1Alpha1(
        alias=alias,
        metadata=ObjectMeta(namespace=identity.namespace, name=identity.name),
        endpoint=identity.endpoint,
        token=identity.token,
        tls=TLSConfigV1Alpha1(ca=given.authorities(), insecure=given.insecure_tls),
    )
    path = ExporterConfigV1Alpha1.save(config)
    click.echo(path if output == "path" else f"exporter {alias} is written to {path}")


@click.command(name="list")
@output_options("json", "yaml", "name")
def list_exporters(output: str | None) -> None:
    """Show the exporters of this user and machine."""
    from ..config.exporter import ExporterConfigV1Alpha1

    found = ExporterConfigV1Alpha1.list()
    for problem in found.problems:
        errors.warn("jmp", problem)
    if output == "name":
        for config in found.items:
            click.echo(config.alias)
    elif output is not None:
        items = [{"alias": c.alias, "path": str(c.path), "endpoint": c.endpoint} for c in found.items]
        write({"exporters": items}, output)
    else:
        rows = [[config.alias, config.endpoint or "", str(config.path)] for config in found.items]
        click.echo(table(["alias", "endpoint", "path"], rows))


@click.command()
@click.argument("alias", default="default")
def edit(alias: str) -> None:
    """Open the configuration ALIAS in an editor, and say what is wrong with it then."""
    from ..config.exporter import ExporterConfigV1Alpha1, check_file

    path = ExporterConfigV1Alpha1.find(alias)
    click.edit(filename=str(path))
    check_file(path)


@click.command()
@click.argument("alias", default="default")
@output_options("path")
def delete(alias: str, output: str | None) -> None:
    """Remove the configuration ALIAS."""
    from ..config.exporter import ExporterConfigV1Alpha1

    path = ExporterConfigV1Alpha1.delete(alias)
    click.echo(path if output == "path" else f"exporter {alias} is deleted: {path}")
