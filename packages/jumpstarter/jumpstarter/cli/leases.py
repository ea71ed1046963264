"""`jmp get`, `jmp create`, `jmp update` and `jmp delete`: exporters and leases of a controller."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ..common.exceptions import ArgumentError
from . import errors
from .clients import client_options, need_client
from .durations import DURATION, MOMENT, show
from .group import LazyGroup, examples
from .tables import labels, output_options, table, write

if TYPE_CHECKING:
    from ..client.grpc import Exporter, Lease
    from ..config.client import ClientConfigV1Alpha1


@click.group(
    cls=LazyGroup,
    table={
        "exporters": ("jumpstarter.cli.leases:get_exporters", "Show the exporters of a controller"),
        "leases": ("jumpstarter.cli.leases:get_leases", "Show the leases of this client, or of all"),
    },
)
def get() -> None:
    """Show what a controller has."""


@click.group(cls=LazyGroup, table={"lease": ("jumpstarter.cli.leases:create_lease", "Ask for a lease")})
def create() -> None:
    """Ask a controller for something."""


@click.group(cls=LazyGroup, table={"lease": ("jumpstarter.cli.leases:update_lease", "Change a lease")})
def update() -> None:
    """Change what a controller has."""


@click.group(cls=LazyGroup, table={"leases": ("jumpstarter.cli.leases:delete_leases", "End leases")})
def delete() -> None:
    """End what a controller has given."""


selector_option = click.option(
    "-l", "--selector", "selectors", multiple=True, metavar="SELECTOR", help="Labels, as board=rpi4,!broken."
)


def joined(selectors: tuple[str, ...]) -> str:
    """Several selectors as the one that wants all of them."""
    return ",".join(selectors)


# exporters


@click.command(
    name="exporters",
    epilog=examples("jmp get exporters", "jmp get exporters -l board=rpi4 --with leases,status -o json"),
)
@client_options
@selector_option
@click.option("--with", "wanted", metavar="THINGS", default="", help="More of: leases, online, status; with commas.")
@click.option("--show-hidden-labels", is_flag=True, help="Those labels, too, that the controller hides.")
@click.option("--allow-disabled", is_flag=True, help="Those, too, that are disabled.")
@output_options("json", "yaml", "name")
def get_exporters(
    client: str | None,
    client_config: str | None,
    selectors: tuple[str, ...],
    wanted: str,
    show_hidden_labels: bool,
    allow_disabled: bool,
    output: str | None,
) -> None:
    """Show the exporters of a controller that can be leased."""
    things = {thing.strip() for thing in wanted.split(",") if thing.strip()}
    if unknown := things - {"leases", "online", "status"}:
        raise click.UsageError(f"--with {sorted(unknown)[0]}: known are leases, online and status")
    config = need_client(client_config, client)
    found = config.list_exporters(filter=joined(selectors), show_hidden_labels=show_hidden_labels).exporters
    shown = [exporter for exporter in found if exporter.enabled or allow_disabled]
    exporters = sorted(shown, key=lambda exporter: exporter.name)
    held = {lease.exporter: lease for lease in config.list_leases().leases} if "leases" in things else {}
    if output == "name":
        for exporter in exporters:
            click.echo(exporter.name)
    elif output is not None:
        write({"exporters": [_exporter(exporter, held.get(exporter.name), things) for exporter in exporters]}, output)
    else:
        head = ["name", "labels", *sorted(things)]
        click.echo(table(head, [_row(exporter, held.get(exporter.name), things) for exporter in exporters]))


def _exporter(exporter: Exporter, lease: Lease | None, things: set[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"namespace": exporter.namespace, "name": exporter.name, "labels": exporter.labels}
    if "online" in things:
        facts["online"] = exporter.online
    if "status" in things:
        facts |= {"status": exporter.status.name, "statusMessage": exporter.status_message}
    if "leases" in things:
        facts["lease"] = _lease(lease) if lease is not None else None
    return facts


def _row(exporter: Exporter, lease: Lease | None, things: set[str]) -> list[str]:
    held = f"{lease.name} of {lease.client}" if lease is not None else ""
    cells = {"leases": held, "online": "yes" if exporter.online else "no", "status": exporter.status.name}
    return [exporter.name, labels(exporter.labels), *(cells[thing] for thing in sorted(things))]


# leases


def _lease(lease: Lease) -> dict[str, Any]:
    times = {"beginTime": lease.effective_begin_time or lease.begin_time, "endTime": lease.end_time}
    return {
        "namespace": lease.namespace,
        "name": lease.name,
        "client": lease.client,
        "exporter": lease.exporter or None,
        "selector": lease.selector,
        "exporterName": lease.exporter_name,
        "duration": show(lease.duration),
        **{key: time.isoformat() if time is not None else None for key, time in times.items()},
        "status": lease.status,
        "tags": lease.tags,
    }


def _lease_row(lease: Lease) -> list[str]:
    end = lease.end_time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if lease.end_time is not None else ""
    wish = lease.selector or lease.exporter_name
    return [lease.name, lease.client, wish, lease.exporter, lease.status, show(lease.duration), end]


def _show(leases: list[Lease], output: str | None, *, one: bool = False) -> None:
    if output == "name":
        for lease in leases:
            click.echo(lease.name)
    elif output is not None:
        write(_lease(leases[0]) if one else {"leases": [_lease(lease) for lease in leases]}, output)
    else:
        head = ["name", "client", "wish", "exporter", "status", "duration", "until"]
        click.echo(table(head, [_lease_row(lease) for lease in leases]))


@click.command(name="leases", epilog=examples("jmp get leases", "jmp get leases --all --all-clients -o json"))
@client_options
@selector_option
@click.option("-a", "--all", "expired", is_flag=True, help="Those, too, that are over.")
@click.option("-A", "--all-clients", "everybody", is_flag=True, help="Those, too, of others.")
@click.option("--tag-filter", metavar="SELECTOR", help="Only those whose tags fit.")
@output_options("json", "yaml", "name")
def get_leases(
    client: str | None,
    client_config: str | None,
    selectors: tuple[str, ...],
    expired: bool,
    everybody: bool,
    tag_filter: str | None,
    output: str | None,
) -> None:
    """Show the leases of this client."""
    config = need_client(client_config, client)
    found = _list_leases(config, joined(selectors), everybody, only_active=not expired, tag_filter=tag_filter)
    _show(found, output)


def _list_leases(
    config: ClientConfigV1Alpha1, selector: str, everybody: bool, *, only_active: bool, tag_filter: str | None = None
) -> list[Lease]:
    """The leases of a client, or of all, whose selectors want at least what another one does."""
    from ..client.selectors import extract_match_labels_filter, selector_contains

    found = config.list_leases(
        filter=extract_match_labels_filter(selector), only_active=only_active, tag_filter=tag_filter
    ).leases
    mine = [lease for lease in found if everybody or lease.client == config.metadata.name]

    def fits(lease: Lease) -> bool:
        try:
            return selector_contains(lease.selector, selector)
        except ArgumentError:  # of a controller that knows more selectors
            return not selector

    return [lease for lease in mine if fits(lease)]


@click.command(
    name="lease",
    epilog=examples("jmp create lease -l board=rpi4 --duration 2h", "jmp create lease -n board1 --duration 1d -o name"),
)
@client_options
@selector_option
@click.option("-n", "--name", "exporter", metavar="EXPORTER", help="The exporter to lease.")
@click.option("--duration", type=DURATION, required=True, metavar="TIME", help="How long: 90 (s), 1d3h40m, PT30M.")
@click.option("--begin-time", type=MOMENT, metavar="MOMENT", help="When; at once unless given.")
@click.option("--lease-id", metavar="NAME", help="Name of the lease; the controller's choice unless given.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A note on the lease.")
@click.option("--allow-disabled", is_flag=True, help="Take an exporter, too, that is disabled.")
@output_options("json", "yaml", "name")
def create_lease(
    client: str | None,
    client_config: str | None,
    selectors: tuple[str, ...],
    exporter: str | None,
    duration: timedelta,
    begin_time: datetime | None,
    lease_id: str | None,
    tags: tuple[str, ...],
    allow_disabled: bool,
    output: str | None,
) -> None:
    """Ask for a lease, which lasts until its time is over or it is deleted.

    Use it by: jmp shell --lease NAME.
    """
    if not selectors and exporter is None:
        raise click.UsageError("say which exporter: by its labels, -l board=rpi4, or by its name, -n board1")
    if wrong := next((tag for tag in tags if "=" not in tag), None):
        raise click.UsageError(f"--tag {wrong}: expected KEY=VALUE")
    lease = need_client(client_config, client).create_lease(
        duration=duration,
        selector=joined(selectors),
        exporter_name=exporter,
        begin_time=begin_time,
        lease_id=lease_id,
        tags=dict(tag.split("=", 1) for tag in tags),
        allow_disabled=allow_disabled,
    )
    _show([lease], output, one=True)


@click.command(
    name="lease", epilog=examples("jmp update lease NAME --duration 4h", "jmp update lease NAME --to-client bob")
)
@client_options
@click.argument("name")
@click.option("--duration", type=DURATION, metavar="TIME", help="How long it lasts, from its beginning on.")
@click.option("--begin-time", type=MOMENT, metavar="MOMENT", help="When it begins, unless it has.")
@click.option("--to-client", metavar="CLIENT", help="Hand it to somebody else.")
@output_options("json", "yaml", "name")
def update_lease(
    client: str | None,
    client_config: str | None,
    name: str,
    duration: timedelta | None,
    begin_time: datetime | None,
    to_client: str | None,
    output: str | None,
) -> None:
    """Change the lease NAME."""
    if duration is None and begin_time is None and to_client is None:
        raise click.UsageError("say what to change: --duration, --begin-time or --to-client")
    lease = need_client(client_config, client).update_lease(
        name, duration=duration, begin_time=begin_time, client=to_client
    )
    _show([lease], output, one=True)


@click.command(
    name="leases",
    epilog=examples("jmp delete leases NAME", "jmp delete leases -l board=rpi4", "jmp delete leases --all"),
)
@client_options
@click.argument("names", nargs=-1)
@selector_option
@click.option("-a", "--all", "every", is_flag=True, help="All of this client.")
@click.option("-A", "--all-clients", "everybody", is_flag=True, help="Those, too, of others.")
@output_options("name")
def delete_leases(
    client: str | None,
    client_config: str | None,
    names: tuple[str, ...],
    selectors: tuple[str, ...],
    every: bool,
    everybody: bool,
    output: str | None,
) -> None:
    """End leases: those NAMED, those with a selector, or all."""
    if bool(names) + bool(selectors) + (every or everybody) != 1:
        raise click.UsageError("say which: NAMES, -l SELECTOR or --all")
    config = need_client(client_config, client)
    wanted = list(names)
    if not names:
        found = _list_leases(config, joined(selectors), everybody, only_active=True)
        wanted = [lease.name for lease in found]
    failed: list[Exception] = []
    for name in wanted:
        try:
            config.delete_lease(name)
        except Exception as e:  # noqa: BLE001 the others are to be ended, too; raised below
            failed.append(e)
            continue
        click.echo(name if output == "name" else f"lease {name} is deleted")
    for error in failed[1:]:
        errors.report("jmp", error)
    if failed:
        raise failed[0]
