"""A tree of parts of different authors, custom composites included, with real devices under all of it."""

import socket
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jumpstarter.common.utils import serve
from jumpstarter.config.exporter import ExporterConfigV1Alpha1
from jumpstarter_driver_network.adapters import TcpPortforwardAdapter
from jumpstarter_testing.gpiosim import GpioSim
from jumpstarter_testing.usb.dutlink import DutlinkBoard
from jumpstarter_testing.usb.sdwire import SdWireBoard
from jumpstarter_testing.usb.vhci import KernelBench
from jumpstarter_testing.waiting import until

MIB = 1 << 20

HARNESS = '''\
from dataclasses import dataclass, field

from jumpstarter.driver import Driver, export
from jumpstarter_driver_composite.driver import CompositeInterface
from jumpstarter_driver_power.driver import PowerInterface


@dataclass(kw_only=True)
class MyHarness(CompositeInterface, Driver):
    """A whole test harness."""


@dataclass(kw_only=True)
class MyPower(PowerInterface, Driver):
    """A supply of our own."""

    operations: list[str] = field(default_factory=list, init=False)

    @export
    def on(self) -> None:
        self.operations.append("on")

    @export
    def off(self) -> None:
        self.operations.append("off")

    @export
    def done(self) -> list[str]:
        return self.operations

    @export
    def read(self):
        raise NotImplementedError("it has no meter")
        yield


@dataclass(kw_only=True)
class MyDebugger(CompositeInterface, Driver):
    """A debug probe with a console."""

    @export
    def halt(self) -> str:
        return "halted"
'''

CONFIG = """\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {{namespace: default, name: harness}}
export:
  harness:
    type: my_harness.MyHarness
    children:
      tunnel:
        type: jumpstarter_driver_network.driver.TcpNetwork
        config: {{host: 127.0.0.1, port: {port}}}
      power:
        type: my_harness.MyPower
      sd:
        type: jumpstarter_driver_sdwire.driver.SDWire
        config: {{serial: sd-wire_01, storage_leeway: 0, storage_timeout: 30}}
        children:
          power: {{ref: harness.power}}
      debugger:
        type: my_harness.MyDebugger
        children:
          console:
            type: jumpstarter_driver_serial.driver.PySerial
            config: {{url: /dev/serial/by-id/usb-Red_Hat_Inc._Dutlink_00000042-if00}}
      button:
        type: jumpstarter_driver_gpio.driver.DigitalOutput
        config: {{device: {chip}, line: 3}}
"""


@contextmanager
def echo_server() -> Generator[int]:
    """A service that answers in capitals, once."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(100).upper())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def test_harness(usb_bench: KernelBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "my_harness.py").write_text(HARNESS)
    card, image, config = tmp_path / "card.img", tmp_path / "image", tmp_path / "harness.yaml"
    card.write_bytes(bytes(4 * MIB))
    image.write_bytes(b"image" * 100_000)
    board, uart = SdWireBoard(card=card), DutlinkBoard("00000042")
    usb_bench.plug(board.reader, hub=1)
    usb_bench.plug(board, hub=1)
    usb_bench.plug(uart, hub=2)
    until(Path("/dev/serial/by-id/usb-Red_Hat_Inc._Dutlink_00000042-if00").exists)
    with echo_server() as port, GpioSim() as chip:
        config.write_text(CONFIG.format(port=port, chip=chip.label))
        with serve(ExporterConfigV1Alpha1.load_path(config).instantiate()) as made:
            harness: Any = made.children["harness"]
            use(harness, uart, image)
            assert board.side == "dut"
            assert board.reader.path.read_bytes()[: image.stat().st_size] == image.read_bytes()
            harness.button.on()
            assert chip.value(3) == 1
            harness.button.off()
            assert chip.value(3) == 0


def use(harness: Any, uart: DutlinkBoard, image: Path) -> None:
    """Use each part once."""
    harness.power.on()
    harness.sd.flash(image)
    assert harness.power.call("done")[:2] == ["on", "off"]  # before the card moved
    harness.power.on()
    with TcpPortforwardAdapter(client=harness.tunnel) as address, socket.create_connection(address, 10) as service:
        service.sendall(b"hello")
        assert service.recv(100) == b"HELLO"
    assert harness.debugger.halt() == "halted"
    with harness.debugger.console.pexpect() as session:
        uart.power("force-on")
        session.expect_exact(b"login: ", timeout=20)
        session.send(b"root\n")
        session.expect_exact(b"root", timeout=20)
