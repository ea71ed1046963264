"""`jmp run`."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common.env import JMP_GRPC_PASSPHRASE
from ..common.exceptions import HookFailedError
from . import errors, options
from .group import examples

if TYPE_CHECKING:
    from ..config.exporter import ExporterConfigV1Alpha1
    from ..exporter.direct import Listener, TcpListener


@click.command(
    epilog=examples(
        "jmp run --exporter-config lab.yaml      on a unix socket; then: jmp shell",
        "jmp run --exporter-config lab.yaml --tls-grpc-listener 0.0.0.0:8083 \\",
        "    --tls-cert cert.pem --tls-key key.pem --passphrase-file secret",
    )
)
@options.config_options
@click.option(
    "--tls-grpc-listener",
    "address",
    metavar="[HOST:]PORT",
    help="Serve on a TCP port (0: any free one) instead of a unix socket; HOST is 127.0.0.1 unless given.",
)
@click.option(
    "--tls-grpc-insecure", "insecure", is_flag=True, help="Serve in clear text, for everybody who gets there."
)
@click.option("--tls-cert", "cert", metavar="FILE", help="Certificate chain of the TCP port, in PEM.")
@click.option("--tls-key", "key", metavar="FILE", help="Private key of the certificate, in PEM.")
@options.passphrase_options
@click.option("--supervise", is_flag=True, help="Start the exporter again when it dies.")
@click.option("--observers", is_flag=True, help="Let others than the session's holder call what changes nothing.")
@click.pass_obj
def run(
    log_level: str | None,
    exporter_config: str | None,
    exporter: str | None,
    address: str | None,
    insecure: bool,
    cert: str | None,
    key: str | None,
    passphrase: str | None,
    passphrase_file: str | None,
    supervise: bool,
    observers: bool,
) -> int:
    """Serve the devices of a configuration until stopped (Ctrl-C or SIGTERM).

    With `endpoint` and `token` in the configuration, the exporter registers with that controller and serves its leases;
    SIGHUP stops it after the lease of now. Otherwise, without a listener, it serves on a unix socket that only this
    user can use.
    The passphrase can also stand in JMP_GRPC_PASSPHRASE.
    """
    if exporter_config is None and exporter is None:
        raise click.UsageError("say what to serve: --exporter-config FILE or --exporter ALIAS")
    if address is None and (insecure or cert or key or passphrase or passphrase_file):
        raise click.UsageError("--tls-…, --passphrase and --passphrase-file need --tls-grpc-listener [HOST:]PORT")
    from .lifeline import attach

    if not attach() and supervise:
        from .supervise import supervise as run_child

        return run_child()
    listener = None
    if address is not None:
        secret = options.find_passphrase(passphrase, passphrase_file)
        listener = _tcp_listener(address, insecure, cert, key, secret)
    os.environ.pop(JMP_GRPC_PASSPHRASE, None)  # not for the processes that drivers start
    with _no_garbage():
        config = options.load_config(exporter_config, exporter)
        assert config is not None
        from ..exporter import service  # noqa: F401  # pyright: ignore[reportUnusedImport] gRPC, which is needed in any case
        from ..exporter.direct import UnixListener
        from ..streams.memory import keep_freed_memory

    keep_freed_memory()  # before there are threads
    if config.endpoint and listener is None:
        _serve_leases(config, log_level or "INFO")
    else:
        _serve(config, listener or UnixListener(name=config.metadata.name), log_level or "INFO", observers)
    return errors.OK


@contextmanager
def _no_garbage() -> Generator[None]:
    """While modules are imported: they stay, and looking for garbage among them would take a tenth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _tcp_listener(
    address: str, insecure: bool, cert: str | None, key: str | None, passphrase: str | None
) -> TcpListener:
    host, port = options.split_address(address)
    if insecure and (cert or key):
        raise click.UsageError("--tls-grpc-insecure and --tls-cert or --tls-key exclude each other")
    if not insecure and not (cert and key):
        raise click.UsageError("a TCP port needs --tls-cert FILE and --tls-key FILE (or --tls-grpc-insecure)")
    from ..exporter.direct import TcpListener, read_tls

    tls = read_tls(Path(cert), Path(key)) if cert and key else None
    if insecure:
        errors.warn(
            "jmp", f"INSECURE: clear text on {host or 'loopback'} port {port}; whoever is on the way can read it"
        )
    if passphrase is None:
        errors.warn("jmp", "no passphrase: everybody who reaches the port can use the devices (--passphrase-file)")
    return TcpListener(host=host or "127.0.0.1", port=port, tls=tls, passphrase=passphrase)


def _serve(config: ExporterConfigV1Alpha1, listener: Listener, log_level: str, observers: bool) -> None:
    from anyio import run

    from ..exporter.direct import serve_config
    from . import logs

    logs.to_stderr(log_level)

    ready = partial(_announce, config.metadata.name, listener)
    run(_to_its_end, partial(serve_config, config, listener, ready=ready, observers=observers))


def _serve_leases(config: ExporterConfigV1Alpha1, log_level: str) -> None:
    from anyio import run

    from ..exporter.registered import serve_registered
    from . import logs

    logs.to_stderr(log_level)

    def ready() -> None:
        errors.say(f"exporter {config.metadata.name} is registered with {config.endpoint}")

    run(_to_its_end, partial(serve_registered, config, ready=ready))


async def _to_its_end(serve: Callable[[], Awaitable[None]]) -> None:
    from anyio.to_thread import run_sync

    from ..common.guardian import SHORT_GRACE, Family

    try:
        await serve()
    except HookFailedError as e:
        raise errors.CommandError(str(e), 1) from e  # as the hook's onFailure: exit says
    finally:
        await run_sync(lambda: Family().end(SHORT_GRACE))  # what drivers have started and left behind
    errors.exit_soon(errors.OK)  # a call that a driver does not give up must not keep the process


def _announce(name: str, listener: Listener, address: str) -> None:
    from ..exporter.direct import UnixListener

    how = f"jmp shell --tls-grpc {address}"
    if isinstance(listener, UnixListener):
        how = f"jmp shell --name {name}"
    elif listener.tls is None:
        how += " --tls-grpc-insecure"
    errors.say(f"exporter {name} is ready on {address}; connect with: {how}")
