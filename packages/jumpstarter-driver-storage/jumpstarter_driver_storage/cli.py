"""The commands of storage clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import click
from jumpstarter.client.decorators import DriverClickGroup, driver_click_group
from jumpstarter.client.generic_output import OUTPUT

from .common import is_url
from .progress import ProgressLine

if TYPE_CHECKING:
    from .client import FlasherClient, StorageMuxClient, StorageMuxFlasherClient
    from .common import TransferResult


class _ImageFile(click.Path):
    """A file that is there, - for the standard input, or a URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if is_url(value) else super().convert(value, param, ctx)


FILE = _ImageFile(exists=True, dir_okay=False, allow_dash=True)
TARGET_HELP = "Place of the image, where the device has several; with :FILE, once for each."

output_option = click.option("-o", "--output", type=click.Choice(["json"]), help="Print the result as JSON.")


def mux_commands(client: StorageMuxClient) -> DriverClickGroup:
    """`host`, `dut`, `off` and `state`."""

    @driver_click_group(client)
    def base() -> None:
        """Move a medium between the host and the device."""

    _add_mux(base, client)
    return base


def flasher_commands(client: FlasherClient) -> DriverClickGroup:
    """`flash` and `dump`."""

    @driver_click_group(client)
    def base() -> None:
        """Write and read images."""

    _add_flasher(base, client)
    return base


def mux_flasher_commands(client: StorageMuxFlasherClient) -> DriverClickGroup:
    """`flash`, `dump`, `host`, `dut`, `off` and `state`."""

    @driver_click_group(client)
    def base() -> None:
        """Write and read a medium, and move it between the host and the device."""

    _add_flasher(base, client, has_mux=True)
    _add_mux(base, client)
    return base


def _add_mux(base: DriverClickGroup, client: StorageMuxClient) -> None:
    @base.command()
    def host() -> None:
        """Connect the medium to the host."""
        client.host()

    @base.command()
    def dut() -> None:
        """Connect the medium to the device."""
        client.dut()

    @base.command()
    def off() -> None:
        """Connect the medium to nothing."""
        client.off()

    @base.command()
    def state() -> None:
        """Tell where the medium is, and whether it holds only part of an image."""
        click.echo(client.state())
        if (what := client.incomplete()) is not None:
            click.echo(f"incomplete: {what} was not written to the end", err=True)


def _add_flasher(base: DriverClickGroup, client: FlasherClient, *, has_mux: bool = False) -> None:
    @base.command()
    @click.argument("file", type=FILE, required=False)
    @click.option("-t", "--target", "targets", multiple=True, metavar="NAME[:FILE]", help=TARGET_HELP)
    @click.option("--verify", type=click.Choice(["full", "sampled", "off"]), help="How much is read back and compared.")
    @click.option("--sha256", metavar="DIGEST", help="What the digest of FILE has to be.")
    @click.option("--bmap", type=click.Path(exists=True, dir_okay=False), help="Bmap file: what of the image matters.")
    @click.option("--fetch", type=click.Choice(["exporter", "client"]), help="Who reads FILE, if it is a URL.")
    @click.option("--send", is_flag=True, help="Send FILE even to an exporter that can read it itself.")
    @click.option("--raw", is_flag=True, help="Write FILE as it is, though it may be compressed.")
    @click.option("--compression", type=click.Choice(["gzip", "xz", "bz2", "zstd"]), help="What FILE is compressed by.")
    @click.option("--no-dut", "stay", is_flag=True, help="Leave the medium at the host.", hidden=not has_mux)
    @output_option
    def flash(
        file: str | None,
        targets: tuple[str, ...],
        send: bool,
        raw: bool,
        stay: bool,
        output: str | None,
        **options: Any,
    ) -> None:
        """Write FILE, and prove it by reading it back.

        FILE is an image, compressed or not, - for the standard input, or a URL: http(s)://, oci://HOST/NAME:TAG,
        store://NAME/PATH of a store that the exporter is configured with, or such as s3://BUCKET/PATH, which the client
        reads. Behind a mux, the medium is connected to the device then; if anything fails, it stays with the host.
        """
        given = {name: value for name, value in options.items() if value is not None}
        given |= ({"decompress": False} if raw else {}) | ({"lend": False} if send else {})
        given |= {"to_dut": False} if stay else {}
        with ProgressLine() as progress:
            result = client.flash(*_what(file, targets), progress=progress, **_place(file, targets), **given)
        _tell("wrote", result, output)

    @base.command()
    @click.argument("file", type=click.Path(dir_okay=False))
    @click.option("-t", "--target", metavar="NAME", help="Place of the image, where the device has several.")
    @click.option("--compression", type=click.Choice(["gzip", "xz", "bz2", "zstd"]), help="What to compress FILE by.")
    @click.option("--no-dut", "stay", is_flag=True, help="Leave the medium at the host.", hidden=not has_mux)
    @output_option
    def dump(file: str, target: str | None, compression: str | None, stay: bool, output: str | None) -> None:
        """Read the medium into FILE, which is replaced once everything was read."""
        given: dict[str, Any] = {"to_dut": False} if stay else {}
        with ProgressLine() as progress:
            result = client.dump(file, target=target, compression=compression, progress=progress, **given)
        _tell("read", result, output)


def _what(file: str | None, targets: tuple[str, ...]) -> tuple[Any]:
    """The file, or the files by the names of their targets."""
    named = [target.partition(":") for target in targets]
    if file is not None and len(named) <= 1 and all(not path for _, _, path in named):
        return (file,)
    if file is not None or not named or not all(path for _, _, path in named):
        raise click.UsageError(
            "give FILE, with --target NAME where there are several places, or --target NAME:FILE for each"
        )
    return ({name: path for name, _, path in named},)


def _place(file: str | None, targets: tuple[str, ...]) -> dict[str, str]:
    return {"target": targets[0]} if file is not None and targets else {}


def _tell(what: str, result: Any, output: str | None) -> None:
    """Print what a driver says of a transfer."""
    as_json = output == "json" or click.get_current_context().meta.get(OUTPUT) == "json"
    named = cast("dict[str, TransferResult | None]", result if isinstance(result, dict) else {"": result})
    if as_json:
        values = {name: value.as_dict() if value is not None else None for name, value in named.items()}
        click.echo(json.dumps(values if isinstance(result, dict) else values[""]))
        return
    for name, value in named.items():
        click.echo(f"{name}: {_text(what, value)}" if name else _text(what, value))


def _text(what: str, result: TransferResult | None) -> str:
    if result is None:
        return f"{what} it; the driver does not say what"
    parts = [f"{what} {result.bytes} bytes"]
    if result.sha256:
        parts.append(f"sha256 {result.sha256}")
    if what == "wrote":
        parts.append(f"read back: {result.verify}")
        if result.recoveries:
            parts.append(f"lost and brought back {result.recoveries} times on the way")
    return ", ".join([*parts, f"{result.seconds:.1f} s"])
