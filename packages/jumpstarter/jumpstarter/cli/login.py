"""`jmp login`."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from ..common.exceptions import ConfigurationError, ConnectionError
from . import secrets
from .clients import client_options
from .configclient import choose_first, split
from .group import examples

if TYPE_CHECKING:
    from ..config.client import ClientConfigV1Alpha1

_TIMEOUT = 10.0
"""Seconds that a host has to say where its controller is."""

_LARGEST = 1 << 20


class Offer(NamedTuple):
    """What a host says of its controller."""

    endpoint: str | None = None
    namespace: str | None = None
    ca: str = ""


@click.command(
    epilog=examples(
        "jmp login alice@lab.example.com --token-file token",
        "jmp login --endpoint grpc.lab:443 --namespace default --name alice --token-file token",
    )
)
@click.argument("where", metavar="[[CLIENT@]HOST]", required=False)
@client_options
@secrets.identity_options
@click.option("-a", "--allow", metavar="PATTERNS", help="Client classes to load, too; with commas.")
@click.option("--unsafe", is_flag=True, help="Load whatever can be imported.")
def login(
    where: str | None,
    client: str | None,
    client_config: str | None,
    given: secrets.Given,
    allow: str | None,
    unsafe: bool,
) -> None:
    """Get access to a controller by a token, and keep it in the configuration of a client.

    HOST tells where the controller is; without it, that is given by --endpoint. A client that there is gets the new
    token. Whether the controller accepts it is tried before anything is written. With -k, the certificate that the
    controller shows now is kept, and no other one is taken later.
    """
    from ..config.client import ClientConfigV1Alpha1

    user, _, host = (where or "").rpartition("@")
    alias = client or user or (given.name if client_config is None else None) or "default"
    before = _before(client_config, alias)
    offer = ask_host(host, check=not given.insecure_tls) if host else Offer()
    identity = replace(
        given,
        endpoint=given.endpoint or offer.endpoint or (before.endpoint if before else None),
        namespace=given.namespace or offer.namespace or (before.metadata.namespace if before else None),
        name=given.name or user or (before.metadata.name if before else None),
    ).ask()
    config = before or _new(alias)
    config.endpoint, config.token = identity.endpoint, identity.token
    config.metadata.namespace, config.metadata.name = identity.namespace, identity.name
    config.tls.ca = given.authorities() or offer.ca or config.tls.ca
    if given.insecure_tls and not (given.authorities() or offer.ca):
        config.tls.ca, config.tls.insecure = given.pin(identity.endpoint), False
    if allow is not None or unsafe:
        config.drivers.allow, config.drivers.unsafe = split(allow), unsafe
    config.list_leases()  # raises unless the controller accepts the token
    path = ClientConfigV1Alpha1.save(config, client_config)
    if client_config is None:
        choose_first(alias)
    click.echo(f"logged in as {identity.name}; client {config.alias} is written to {path}")


def _before(file: str | None, alias: str) -> ClientConfigV1Alpha1 | None:
    """The configuration that there is."""
    from pathlib import Path

    from ..config.client import ClientConfigV1Alpha1

    if file is not None:
        return ClientConfigV1Alpha1.from_file(file) if Path(file).exists() else None
    return ClientConfigV1Alpha1.load(alias) if ClientConfigV1Alpha1.exists(alias) else None


def _new(alias: str) -> ClientConfigV1Alpha1:
    from ..config.client import ClientConfigV1Alpha1, ObjectMeta

    return ClientConfigV1Alpha1(alias=alias, metadata=ObjectMeta(namespace=None, name=alias))


def ask_host(host: str, *, check: bool) -> Offer:
    """Where a host says that its controller is. Raises ConnectionError or ConfigurationError."""
    import json
    import ssl
    from urllib.error import URLError
    from urllib.request import urlopen

    from ..common.text import one_line

    url = f"https://{host}/v1/auth/config"
    context = ssl.create_default_context()
    if not check:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urlopen(url, timeout=_TIMEOUT, context=context) as answer:
            told: Any = json.loads(answer.read(_LARGEST))
    except (URLError, OSError) as e:
        reason = one_line(str(getattr(e, "reason", e)))
        raise ConnectionError(
            f"{host} does not say where its controller is: {reason}", "check the name, or give --endpoint HOST:PORT"
        ) from e
    except ValueError as e:
        raise ConfigurationError(f"{url} is not what a controller says of itself", "check the host") from e
    return read_offer(told, url)


def read_offer(told: Any, url: str) -> Offer:
    """What a host has said. Raises ConfigurationError."""
    facts = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    endpoint, namespace, ca = (facts.get(key) or "" for key in ("grpcEndpoint", "namespace", "caBundle"))
    if not endpoint or not all(isinstance(text, str) for text in (endpoint, namespace, ca)):
        raise ConfigurationError(f"{url} names no grpcEndpoint", "check the host, or give --endpoint HOST:PORT")
    if "-----BEGIN" in ca:
        ca = b64encode(ca.encode()).decode()
    return Offer(endpoint, namespace or None, ca)
