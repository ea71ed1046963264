"""The commands and options of the public release that have a meaning here are there, by their names."""

from __future__ import annotations

import click
import pytest
from jumpstarter.cli.jmp import cli

CONFIG = "--client --client-config"
IDENTITY = "--namespace --name -e --endpoint -t --token -k --insecure-tls --nointeractive"

COMMANDS = {
    "shell": f"{CONFIG} --exporter --exporter-config --lease -l --selector -n --name --duration --exporter-logs "
    "--acquisition-timeout --retry-timeout --dial-timeout --tls-grpc --tls-grpc-insecure --passphrase",
    "run": "--exporter --exporter-config --tls-grpc-listener --tls-grpc-insecure --tls-cert --tls-key --passphrase",
    "create lease": f"{CONFIG} -l --selector -n --name --duration --begin-time --lease-id --tag --allow-disabled -o",
    "delete leases": f"{CONFIG} -l --selector -a --all -A --all-clients -o",
    "get exporters": f"{CONFIG} -l --selector -o --with --show-hidden-labels --allow-disabled",
    "get leases": f"{CONFIG} -l --selector -o -a --all -A --all-clients --tag-filter",
    "update lease": f"{CONFIG} --duration --begin-time --to-client -o",
    "login": f"{CONFIG} {IDENTITY} --allow --unsafe",
    "config client create": f"{IDENTITY} --out -a --allow --unsafe -o",
    "config client list": "-o",
    "config client use": "-o",
    "config client delete": "-o",
    "config exporter create": f"{IDENTITY} -o",
    "config exporter list": "-o",
    "config exporter edit": "",
    "config exporter delete": "-o",
    "driver list": "",
    "driver version": "",
    "version": "-o",
    "completion": "",
}

ALIASES = {
    "sh": "shell",
    "s": "shell",
    "conf client ls": "config client list",
    "conf exporters rm": "config exporter delete",
    "conf clients c": "config client create",
    "g e": "get exporters",
    "get exporter": "get exporters",
    "g l": "get leases",
    "get lease": "get leases",
    "c leases": "create lease",
    "c l": "create lease",
    "d lease": "delete leases",
    "del l": "delete leases",
    "rm leases": "delete leases",
    "update leases": "update lease",
    "ver": "version",
    "v": "version",
}


def command_of(names: str) -> click.Command:
    """The command that is run by these names."""
    command: click.Command = cli
    for name in names.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"{names}: there is no {name}"
        command = found
    return command


@pytest.mark.parametrize("names", COMMANDS)
def test_command_has_the_public_options(names: str) -> None:
    known = {option for parameter in command_of(names).params for option in parameter.opts}
    assert [option for option in COMMANDS[names].split() if option not in known] == []


@pytest.mark.parametrize("names", ALIASES)
def test_command_has_its_public_aliases(names: str) -> None:
    assert command_of(names) is command_of(ALIASES[names])
