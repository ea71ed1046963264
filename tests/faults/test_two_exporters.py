"""Two exporters that want one thing: the second is refused, and both are told of each other."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import HERE, wait_for

if TYPE_CHECKING:
    from tests.conftest import Exporter, Lab

TOLD = 5.0

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: {name}
export:
  port:
    type: drivers_of_states.Port
    config:
      physical: {device}
      record: {record}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(lab: Lab) -> Write:
    """Write the configuration of an exporter: `write(name, device, file)`."""
    lab.environment |= {"PYTHONPATH": str(HERE), "JMP_LOCK_DIR": str(lab.directory), "JMP_DRIVERS_ALLOW": "UNSAFE"}

    def written(name: str, device: str, file: str = "") -> Path:
        path = lab.directory / f"{file or name}.yaml"
        path.write_text(CONFIG.format(name=name, device=device, record=lab.directory / "record"))
        return path

    return written


def warnings(exporter: Exporter) -> list[str]:
    return [line for line in exporter.lines if "was refused" in line]


def test_who_wanted_a_device_is_told_to_its_exporter(lab: Lab, write: Write):
    first, second = write("first", "usb:1:2:X"), write("second", "usb:1:2:X")
    with lab.exporter(config=first) as exporter:
        with lab.exporter(config=write("third", "usb:1:2:Y")):  # no reason to say anything
            pass
        refused = lab.start("jmp", "run", "--exporter-config", second)
        _, errors = refused.communicate(timeout=15)
        assert refused.returncode == 75, errors
        assert f"in use by another exporter (process {exporter.process.pid}, config {first}, driver port)" in errors
        wait_for(lambda: warnings(exporter), TOLD, lambda: exporter.lines)
        told = f"another exporter (process {refused.pid}, config {second}, driver port) was refused device usb:1:2:x"
        assert [told in line for line in warnings(exporter)] == [True], exporter.lines
        assert lab.run("jmp", "shell", "--", "true").returncode == 0
        assert exporter.stop() == 0
    assert len(warnings(exporter)) == 1
    shown = lab.run("jmp", "record", "show")
    assert told in shown.stdout, shown


@pytest.mark.parametrize("what", ["name", "port"])
def test_who_wanted_a_name_or_port_is_told_to_its_exporter(lab: Lab, write: Write, what: str):
    options = ("--tls-grpc-listener", "0", "--tls-grpc-insecure") if what == "port" else ()
    first, second = write("first", "A"), write("first", "B", file="second")
    with lab.exporter(*options, config=first) as exporter:
        if what == "port":
            options = ("--tls-grpc-listener", exporter.address.rpartition(":")[2], "--tls-grpc-insecure")
        refused = lab.start("jmp", "run", "--exporter-config", second, *options)
        _, errors = refused.communicate(timeout=15)
        assert refused.returncode == 75, errors
        assert f"(process {exporter.process.pid}, config {first})" in errors
        assert exporter.stop() == 0  # looks once more
    (told,) = warnings(exporter)
    assert f"another exporter (process {refused.pid}, config {second}) was refused the {what}" in told.replace(
        "refused port", "refused the port"
    )


def test_nobody_is_told_of_by_a_killed_exporter_s_successor(lab: Lab, write: Write):
    first, second = write("first", "A"), write("second", "A")
    with lab.exporter(config=first) as exporter:
        assert lab.run("jmp", "run", "--exporter-config", second).returncode == 75
        exporter.stop(signal.SIGKILL)
    with lab.exporter(config=second) as exporter:
        assert exporter.stop() == 0
    assert warnings(exporter) == []


def test_what_others_write_into_the_file_does_no_harm(lab: Lab, write: Write):
    with lab.exporter(config=write("first", "A")) as exporter:
        (lock,) = lab.directory.glob("jumpstarter-*.lock")
        with lock.open("ab", buffering=0) as file:
            file.write(b"\xff\0nonsense\nrefused\nrefused\tx\ty\nrefused\t1\t\x1b]0;owned\x07\xff\xe2\x80\xae\t\n")
            file.write(b"refused\t2\t" + b"x" * (1 << 20))
        assert lab.run("jmp", "run", "--exporter-config", write("second", "A")).returncode == 75  # and cannot tell
        lock.chmod(0o444)
        assert exporter.stop() == 0
    (told,) = warnings(exporter)
    assert r"config \x1b]0;owned\x07\udcff\u202e) was refused" in told
    assert [path.name for path in lab.runtime.iterdir()] == [".guard"]
