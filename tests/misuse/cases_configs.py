"""Configurations that are wrong, and drivers that cannot be made."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from misuse_cases import case

if TYPE_CHECKING:
    from misuse_bench import Bench, Said


NUMBERS = count()


def wrong(name: str, entries: str) -> None:
    """Add a case of a configuration with these entries."""
    file = f"config{next(NUMBERS)}"
    case(name)(lambda bench: bench.run("jmp", "run", "--exporter-config", bench.write(file, entries)))


def entry(type: str, config: str = "") -> str:
    """One driver, with its parameters in braces."""
    text = f"  relay:\n    type: {type}\n"
    return text + f"    config: {{{{{config}}}}}\n" if config else text


@case("a configuration that is not there")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "run", "--exporter-config", bench.lab.directory / "nowhere.yaml")


@case("a directory in place of a configuration")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "run", "--exporter-config", bench.directory("folder"))


@case("an alias that nobody defined")
def _(bench: Bench) -> Said:
    return bench.run("jmp", "run", "--exporter", "lab9")


@case("a configuration of another kind")
def _(bench: Bench) -> Said:
    text = "apiVersion: jumpstarter.dev/v1alpha1\nkind: ClientConfig\nmetadata: {namespace: default, name: x}\n"
    return bench.run("jmp", "config", "check", bench.file("kind.yaml", text))


@case("a configuration of a controller, without a token")
def _(bench: Bench) -> Said:
    text = "apiVersion: jumpstarter.dev/v1alpha1\nkind: ExporterConfig\nmetadata: {namespace: default, name: x}\n"
    file = bench.file("endpoint.yaml", text + "endpoint: grpc.lab:443\nexport: {}\n")
    return bench.run("jmp", "run", "--exporter-config", file)


wrong("YAML that is none", "  relay: [1, 2\n")
wrong("a tab in YAML", "\trelay: 1\n")
wrong("a key that is there twice", entry("misuse_devices.Gadget") + "  relay:\n    type: misuse_devices.Gadget\n")
wrong("a key that is not known", "  relay:\n    typ: misuse_devices.Gadget\n")
wrong("a driver that is not installed", entry("jumpstarter_driver_teapot.driver.Teapot"))
wrong("a misspelt class", entry("misuse_devices.Gadgt"))
wrong("a class that is no driver", entry("misuse_devices.NotADriver"))
wrong("a module that cannot be imported", entry("misuse_broken.Broken"))
wrong("a type that is no path", entry("Gadget"))
wrong("a parameter that is not known", entry("misuse_devices.Gadget", "chanel: 2"))
wrong("a parameter of the wrong type", entry("misuse_devices.Gadget", "channel: two"))
wrong("a parameter that is missing", entry("jumpstarter_driver_network.driver.TcpNetwork", "port: 80"))
wrong("a reference to nothing", entry("misuse_devices.Gadget") + "  second:\n    ref: rely\n")
wrong("a driver that does not accept its parameters", entry("misuse_devices.BadValue", "channel: 9"))
wrong("a device that is required and absent", entry("misuse_devices.Absent") + "    required: true\n")
wrong(
    "a value for the end of a session that the driver does not know", entry("misuse_devices.Gadget", "on_release: of")
)


def starting(name: str, type: str) -> None:
    """Add a case of a driver that does not come up, and is called all the same."""
    file = f"start{next(NUMBERS)}"

    def called(bench: Bench) -> Said:
        with bench.another(file, entry(f"misuse_devices.{type}")) as exporter:
            return bench.run("j", "relay", "set", "1", before=(), **bench.attached(exporter.address))

    case(name)(called)


starting("a device that is absent", "Absent")
starting("a driver that cannot be reset", "BadReset")
starting("a driver whose constructor has a fault", "BadCode")
starting("a driver that exits when it is made", "Exits")


@case("a device that another exporter has")
def _(bench: Bench) -> Said:
    with bench.another("holder", entry("misuse_devices.OneBoard")):
        return bench.run("jmp", "run", "--exporter-config", bench.write("second", entry("misuse_devices.OneBoard")))


@case("a device that cannot be closed")
def _(bench: Bench) -> Said:
    config = bench.write("close", entry("misuse_devices.BadClose"))
    return bench.run("jmp", "shell", "--exporter-config", config, "--", "true")
