"""Who a client or exporter is to its controller: from options, the environment, or asked for."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..common.env import JMP_TOKEN
from ..common.exceptions import ConnectionError
from ..common.text import one_line
from . import errors, options


class Identity(NamedTuple):
    """What a controller knows somebody by."""

    endpoint: str
    namespace: str
    name: str
    token: str


@dataclass(frozen=True)
class Given:
    """The options of `identity_options`, as they were given."""

    endpoint: str | None
    namespace: str | None
    name: str | None
    token: str | None
    token_file: str | None
    tls_ca: str | None
    insecure_tls: bool
    nointeractive: bool

    def ask(self) -> Identity:
        """What is given, and the answers to what is not; UsageError where nobody can be asked."""
        return Identity(
            options.check_address(self._need(self.endpoint, "controller's endpoint", "--endpoint HOST:PORT")),
            self._need(self.namespace, "namespace", "--namespace"),
            self._need(self.name, "name", "--name"),
            self._need(self._token(), "token", f"--token-file FILE or {JMP_TOKEN}", hidden=True),
        )

    def _need(self, value: str | None, what: str, option: str, *, hidden: bool = False) -> str:
        if value:
            return value
        if self.nointeractive or not sys.stdin.isatty():
            raise click.UsageError(f"give the {what} by {option}")
        return click.prompt(f"{what[0].upper()}{what[1:]}", hide_input=hidden, err=True)

    def _token(self) -> str | None:
        """The token from the options or, without them, from the environment."""
        if self.token is not None and self.token_file is not None:
            raise click.UsageError("--token and --token-file exclude each other")
        if self.token_file is not None:
            return options.read_secret(Path(self.token_file), "token")
        if self.token is not None:
            safer = f"--token-file or {JMP_TOKEN}"
            errors.warn("jmp", f"everybody on this host can read --token in the list of processes; use {safer}")
            return self.token
        return os.environ.get(JMP_TOKEN)

    def authorities(self) -> str:
        """The certificates to trust, as configurations have them; empty for the system's."""
        return b64encode(options.read_ca(Path(self.tls_ca)).encode()).decode() if self.tls_ca else ""

    def pin(self, endpoint: str) -> str:
        """The certificates that a controller shows, as configurations have the only ones to trust, if the user does.

        Where nobody can be asked, that is what the option says. Raises ConnectionError where the controller shows none.
        """
        from ..streams.channels import fingerprint, shown_certificates

        try:
            pem = shown_certificates(endpoint, tell=False)
        except OSError as e:
            raise ConnectionError(
                f"the controller {endpoint} shows no certificate: {one_line(str(e))}", "check the endpoint"
            ) from e
        click.echo(f"the certificate of {endpoint} has the SHA-256 fingerprint {fingerprint(pem)}", err=True)
        if not self.nointeractive and sys.stdin.isatty():
            click.confirm("Is that the controller's, which alone is to be trusted?", abort=True, err=True)
        return b64encode(pem.encode()).decode()


_OPTIONS = (
    click.option("-e", "--endpoint", metavar="HOST:PORT", help="The controller."),
    click.option("--namespace", help="Namespace at the controller."),
    click.option("--name", help="Name within the namespace."),
    click.option(
        "-t", "--token", metavar="TEXT", help="The token itself; others can read it in the list of processes."
    ),
    click.option("--token-file", metavar="FILE", help="File with the token."),
    click.option("--tls-ca", metavar="FILE", help="Certificates to trust, in PEM, instead of the system's."),
    click.option("-k", "--insecure-tls", is_flag=True, help="Take the certificate that the controller shows as it is."),
    click.option("--nointeractive", is_flag=True, help="Ask nothing."),
)


def identity_options(command: Callable[..., None]) -> Callable[..., None]:
    """Who somebody is to a controller, and how its certificate is checked: one argument `given` of the command."""
    names = [field.name for field in fields(Given)]

    @wraps(command)
    def with_identity(**values: Any) -> None:
        command(given=Given(**{name: values.pop(name) for name in names}), **values)

    for option in reversed(_OPTIONS):
        with_identity = option(with_identity)
    return with_identity
