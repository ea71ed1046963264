"""`jmp run`: one exporter, on a unix socket or a TCP port, from start to stop."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Lab

TCP = ("--tls-grpc-listener", "0", "--tls-grpc-insecure")


def test_an_exporter_serves_on_a_private_socket(lab: Lab):
    with lab.exporter() as exporter:
        path = lab.runtime / "demo.sock"
        assert exporter.address == str(path)
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert exporter.lines == [f"exporter demo is ready on {path}; connect with: jmp shell --name demo"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_it_in_order(lab: Lab, signum: signal.Signals):
    with lab.exporter() as exporter:
        assert exporter.stop(signum) == 0
    assert [entry.name for entry in lab.runtime.iterdir()] == [".guard"]


def test_the_drivers_are_closed(lab: Lab):
    lab.environment["PYTHONPATH"] = str(lab.directory)
    lab.directory.joinpath("witness.py").write_text(WITNESS)
    config = lab.write("witness", WITNESS_CONFIG)
    with lab.exporter(config=config) as exporter:
        assert exporter.stop() == 0
    assert lab.directory.joinpath("closed").read_text() == "closed"


def test_a_second_signal_ends_it_at_once(lab: Lab):
    lab.environment |= {"PYTHONPATH": str(lab.directory), "CLOSE_SECONDS": "60"}
    lab.directory.joinpath("witness.py").write_text(WITNESS)
    with lab.exporter(config=lab.write("witness", WITNESS_CONFIG)) as exporter:
        exporter.process.terminate()
        deadline = time.monotonic() + 60
        while not lab.directory.joinpath("closing").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        started = time.monotonic()
        assert exporter.stop() == 128 + signal.SIGTERM
        assert time.monotonic() - started < 5


def test_a_call_that_does_not_end_does_not_keep_it(lab: Lab):
    lab.environment["PYTHONPATH"] = str(lab.directory)
    lab.directory.joinpath("witness.py").write_text(WITNESS)
    with lab.exporter(config=lab.write("witness", WITNESS_CONFIG)) as exporter:
        caller = lab.start("j", "witness", "on")
        deadline = time.monotonic() + 60
        while not lab.directory.joinpath("calling").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        started = time.monotonic()
        assert exporter.stop() == 0
        assert time.monotonic() - started < 10
        _, said = caller.communicate(timeout=60)
        assert caller.returncode == 69
        assert said.count("\n") == 1


def test_a_second_exporter_of_the_name_is_refused(lab: Lab):
    with lab.exporter() as first:
        second = lab.run("jmp", "run", "--exporter-config", lab.config)
        assert second.returncode == 75
        assert f"process {first.process.pid}, config {lab.config}" in second.stderr
        assert second.stderr.count("\n") == 1
        assert lab.run("j", "power", "on").returncode == 0
        with lab.exporter(config=lab.write("other")):
            assert first.process.poll() is None


def test_a_killed_exporter_leaves_its_place(lab: Lab):
    with lab.exporter() as first:
        first.stop(signal.SIGKILL)
        assert (lab.runtime / "demo.sock").exists()
        gone = lab.run("j", "power", "on")
        assert gone.returncode == 69
        with lab.exporter():
            assert lab.run("j", "power", "on").returncode == 0


def test_a_port_of_zero_is_chosen_and_told(lab: Lab):
    with lab.exporter(*TCP) as exporter:
        host, _, port = exporter.address.rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        assert any("INSECURE" in line for line in exporter.lines)
        assert exporter.lines[-1].endswith(f"jmp shell --tls-grpc {exporter.address} --tls-grpc-insecure")


def test_an_ipv6_address_can_be_served(lab: Lab):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with lab.exporter("--tls-grpc-listener", "[::1]:0", "--tls-grpc-insecure") as exporter:
        assert exporter.address.startswith("[::1]:")
        done = lab.run("jmp", "shell", "--tls-grpc", exporter.address, "--tls-grpc-insecure", "--", "j", "power", "on")
        assert done.returncode == 0, done.stderr


def test_a_port_in_use_is_named(lab: Lab):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener = ("--tls-grpc-listener", str(port), "--tls-grpc-insecure")
        done = lab.run("jmp", "run", "--exporter-config", lab.config, *listener)
    assert done.returncode == 75
    assert f"jmp: error: port {port} on 127.0.0.1 is in use" in done.stderr.splitlines()[-1]


def test_a_second_exporter_never_shares_the_port(lab: Lab):
    with lab.exporter(*TCP) as first:
        port = first.address.rpartition(":")[2]
        listener = ("--tls-grpc-listener", port, "--tls-grpc-insecure")
        done = lab.run("jmp", "run", "--exporter-config", lab.config, *listener)
        assert done.returncode == 75
        assert port in done.stderr


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ((), 2, "--exporter-config FILE or --exporter ALIAS"),
        (("--exporter-config", "{config}", "--exporter", "demo"), 2, "exclude each other"),
        (("--exporter-config", "{config}", "--tls-grpc-listener", "0"), 2, "--tls-cert FILE and --tls-key FILE"),
        (("--exporter-config", "{config}", "--tls-grpc-listener", "::1:99"), 2, "[HOST:]PORT"),
        (("--exporter-config", "{config}", "--tls-grpc-listener", "70000"), 2, "[HOST:]PORT"),
        (("--exporter-config", "{config}", "--tls-grpc-insecure"), 2, "need --tls-grpc-listener"),
        (("--exporter-config", "{config}", "--foo"), 2, "--foo"),
        (("--exporter-config", "/nonexistent.yaml"), 65, "/nonexistent.yaml"),
        (("--exporter", "nonexistent"), 65, "nonexistent"),
        (
            ("--exporter-config", "{config}", "--tls-grpc-listener", "192.0.2.1:0", "--tls-grpc-insecure"),
            65,
            "192.0.2.1",
        ),
    ],
)
def test_what_cannot_work_is_told_in_one_line(lab: Lab, options: tuple[str, ...], status: int, said: str):
    done = lab.run("jmp", "run", *(option.format(config=lab.config) for option in options))
    errors = [line for line in done.stderr.splitlines() if "warning" not in line]
    assert done.returncode == status, done.stderr
    assert len(errors) == 1
    assert errors[0].startswith("jmp: error: ")
    assert said in errors[0]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("missing", "runtime directory {runtime} does not exist; create it or unset XDG_RUNTIME_DIR"),
        ("not for us", "runtime directory {runtime}/jumpstarter cannot be used: "),
        ("long", "socket path {runtime}/jumpstarter/demo.sock has "),
    ],
)
def test_a_runtime_directory_that_cannot_be_used_is_named(lab: Lab, place: str, said: str):
    runtime = lab.directory / ("x" * 90 if place == "long" else place)
    if place == "not for us" and os.getuid() == 0:  # whom no mode keeps out
        runtime = Path("/proc/self")
    elif place != "missing":
        runtime.mkdir(0o500 if place == "not for us" else 0o700)
    with lab.exporter():  # in another place it works
        pass
    done = lab.run("jmp", "run", "--exporter-config", lab.config, XDG_RUNTIME_DIR=str(runtime))
    assert done.returncode == 65
    assert done.stderr.startswith(f"jmp: error: {said.format(runtime=runtime)}")
    assert "XDG_RUNTIME_DIR" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_socket_path_that_is_too_long_is_named(lab: Lab):
    done = lab.run("jmp", "run", "--exporter-config", lab.write("x" * 110))
    assert done.returncode == 65
    assert "use a shorter name" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_is_served_without_the_controller_that_a_configuration_names(lab: Lab):
    text = lab.config.read_text() + "endpoint: grpc.example.com:443\ntoken: xxxxx\n"
    with lab.exporter(*TCP, config=lab.write("lease", text)):
        pass


def test_the_log_of_a_driver_is_on_stderr(lab: Lab):
    with lab.exporter() as exporter:
        assert lab.run("j", "power", "on").returncode == 0
        exporter.stop()
        assert any("driver.MockPower" in line and "power on" in line for line in exporter.lines), exporter.lines


@pytest.mark.alone
def test_readiness_is_quick(lab: Lab):
    lab.run("jmp", "version")  # warm the caches of the file system
    started = time.monotonic()
    with lab.exporter():
        assert time.monotonic() - started < 1.5  # about 0.2 s on an idle machine


WITNESS_CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata:
  namespace: default
  name: {name}
export:
  witness:
    type: witness.Witness
"""

WITNESS = """\
import os, time
from dataclasses import dataclass
from pathlib import Path
from jumpstarter.driver import Driver, export
from jumpstarter_driver_power.driver import PowerInterface

HERE = Path(__file__).parent

@dataclass(kw_only=True)
class Witness(PowerInterface, Driver):
    @export
    def on(self) -> None:
        HERE.joinpath("calling").touch()
        time.sleep(60)

    @export
    def off(self) -> None:
        pass

    @export
    def read(self):
        yield from ()

    def close(self):
        HERE.joinpath("closing").touch()
        time.sleep(float(os.environ.get("CLOSE_SECONDS", 0)))
        HERE.joinpath("closed").write_text("closed")
"""
