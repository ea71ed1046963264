"""Who a client or exporter is to its controller: from options, the environment, or asked for."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import click

from ..common.env import JMP_TOKEN
from . import errors, options

F = TypeVar("F", bound=Callable[..., object])


class Identity(NamedTuple):
    """What a controller knows somebody by."""

    endpoint: str
    namespace: str
    name: str
    token: str


_OPTIONS = (
    click.option("-e", "--endpoint", metavar="HOST:PORT", help="The controller."),
    click.option("--namespace", help="Namespace at the controller."),
    click.option("--name", help="Name within the namespace."),
    click.option(
        "-t", "--token", metavar="TEXT", help="The token itself; others can read it in the list of processes."
    ),
    click.option("--token-file", metavar="FILE", help="File with the token."),
    click.option("--tls-ca", metavar="FILE", help="Certificates to trust, in PEM, instead of the system's."),
    click.option("-k", "--insecure-tls", is_flag=True, help="Do not check the controller's certificate."),
    click.option("--nointeractive", is_flag=True, help="Ask nothing."),
)


def identity_options(command: F) -> F:
    """The options of `ask`, and those by which the controller's certificate is checked."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def ask(
    endpoint: str | None,
    namespace: str | None,
    name: str | None,
    token: str | None,
    token_file: str | None,
    *,
    interactive: bool,
) -> Identity:
    """What is given, and the answers to what is not; UsageError where nobody can be asked."""
    interactive = interactive and sys.stdin.isatty()

    def need(value: str | None, what: str, option: str, *, hidden: bool = False) -> str:
        if value:
            return value
        if not interactive:
            raise click.UsageError(f"give the {what} by {option}")
        return click.prompt(f"{what[0].upper()}{what[1:]}", hide_input=hidden, err=True)

    address = options.check_address(need(endpoint, "controller's endpoint", "--endpoint HOST:PORT"))
    return Identity(
        address,
        need(namespace, "namespace", "--namespace"),
        need(name, "name", "--name"),
        need(find_token(token, token_file), "token", f"--token-file FILE or {JMP_TOKEN}", hidden=True),
    )


def read_authorities(file: str) -> str:
    """The certificates in a file, as configurations have them."""
    return b64encode(options.read_ca(Path(file)).encode()).decode()


def find_token(token: str | None, file: str | None) -> str | None:
    """The token from the options or, without them, from the environment."""
    if token is not None and file is not None:
        raise click.UsageError("--token and --token-file exclude each other")
    if file is not None:
        return options.read_secret(Path(file), "token")
    if token is not None:
        safer = f"--token-file or {JMP_TOKEN}"
        errors.warn("jmp", f"everybody on this host can read --token in the list of processes; use {safer}")
        return token
    return os.environ.get(JMP_TOKEN)
