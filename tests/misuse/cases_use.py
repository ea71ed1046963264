"""Commands that are used in a wrong way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from misuse_cases import case, command

if TYPE_CHECKING:
    from misuse_bench import Bench, Said

command("a misspelt command", "jmp", "shel")
command("a misspelt option", "jmp", "run", "--exporter-confg", "lab.yaml")
command("a command that needs a configuration, without one", "jmp", "run")
command("two ways to say which exporter", "jmp", "shell", "--name", "a", "--socket", "b")
command("two configurations", "jmp", "run", "--exporter", "a", "--exporter-config", "b.yaml")
command("an address without a port", "jmp", "shell", "--tls-grpc", "lab1")
command("a port that is too high", "jmp", "shell", "--tls-grpc", "lab1:99999")
command("a listener that is no port", "jmp", "run", "--exporter", "a", "--tls-grpc-listener", "somewhere")
command("a passphrase without a port", "jmp", "shell", "--passphrase-file", "secret")
command("a time to wait that is none", "jmp", "shell", "--wait=soon")
command("a log level that does not exist", "jmp", "--log-level", "LOUD", "version")
command("the completion of a shell that is not known", "jmp", "completion", "tcsh")
command("an output format that does not exist", "jmp", "driver", "list", "-o", "xml")


@case("a listener without certificate")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "run", "--exporter-config", bench.config, "--tls-grpc-listener", "0")


@case("a certificate file that is not there")
def _(bench: Bench) -> Said:
    tls = ("--tls-grpc-listener", "0", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.key")
    return bench.run("jmp", "run", "--exporter-config", bench.config, *tls)


@case("a misspelt device")
def _(bench: Bench) -> Said:
    return bench.j("pover", "on")


@case("a misspelt command of a device")
def _(bench: Bench) -> Said:
    return bench.j("power", "onn")


@case("a misspelt option of a device's command")
def _(bench: Bench) -> Said:
    return bench.j("power", "cycle", "--wiat", "3")


@case("too many arguments for a device's command")
def _(bench: Bench) -> Said:
    return bench.j("power", "on", "now")


@case("too few arguments for a device's command")
def _(bench: Bench) -> Said:
    return bench.j("gadget", "set")


@case("text where a device's command takes a number")
def _(bench: Bench) -> Said:
    return bench.j("gadget", "set", "two")


@case("a command that a device without client does not have")
def _(bench: Bench) -> Said:
    return bench.j("teapot", "sett", "2")


@case("text where a device without client takes a number")
def _(bench: Bench) -> Said:
    return bench.j("teapot", "set", "two")


@case("an error as JSON")
def _(bench: Bench) -> Said:
    return bench.j("-o", "json", "teapot", "fail", "faulty")


@case("a command that is not installed")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "shell", "--exporter-config", bench.config, "--", "pytets")


@case("a command that cannot be executed")
def _(bench: Bench) -> Said:
    script = bench.file("script.sh", "echo hello\n")
    return bench.run("jmp", "shell", "--exporter-config", bench.config, "--", script)


@case("an error of jmp as JSON")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "status", "-o", "json", "--socket", bench.lab.directory / "nothing.sock")
