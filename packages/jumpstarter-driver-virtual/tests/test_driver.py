"""The driver over the real wire: exporter and client in one process, the board behind its pseudo-terminal."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from jumpstarter.client.core import DriverError, DriverInvalidArgument
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.common.utils import serve
from jumpstarter_driver_network.adapters import TcpPortforwardAdapter
from jumpstarter_driver_virtual.client import VirtualBoardClient
from jumpstarter_driver_virtual.driver import VirtualBoard
from jumpstarter_driver_virtual.pins import PinState


def quick(*, autoboot_seconds: float = 0.05, medium: Path | None = None, faults: tuple[str, ...] = ()) -> VirtualBoard:
    """Return a board that boots in a fraction of a second."""
    return VirtualBoard(
        boot_seconds=0.1,
        autoboot_seconds=autoboot_seconds,
        read_interval=0.01,
        medium=str(medium) if medium else None,
        faults=list(faults),
    )


@contextmanager
def serving(driver: VirtualBoard) -> Generator[VirtualBoardClient]:
    with serve(driver) as client:
        assert isinstance(client, VirtualBoardClient)
        yield client


@pytest.fixture
def client() -> Generator[VirtualBoardClient]:
    with serving(quick()) as client:
        yield client


def booted(client: VirtualBoardClient) -> None:
    client.power.on()
    client.led.wait_for_active(timeout=5)


def test_the_tree_says_that_it_is_simulated(client: VirtualBoardClient):
    assert list(client.children) == ["power", "console", "storage", "button", "led", "http"]
    assert "Simulated" in (client.description or "")
    assert client.state()["simulated"] is True


def test_a_session_on_the_console_from_power_on_to_the_shell(client: VirtualBoardClient):
    with client.console.pexpect() as console:
        client.power.on()
        console.expect_exact("simulated board", timeout=60)
        console.expect_exact("login: ", timeout=60)
        console.sendline("root")
        console.expect_exact("# ", timeout=60)
        console.sendline("cat /etc/image")
        console.expect(r"size=4096\r\nsha256=[0-9a-f]{64}", timeout=60)
        client.button.press()
        console.expect_exact("gpio-keys: button pressed", timeout=60)


def test_a_key_press_stops_at_the_boot_prompt():
    with serving(quick(autoboot_seconds=30)) as client, client.console.pexpect() as console:
        client.power.on()
        console.expect_exact("Press any key to stop autoboot", timeout=60)
        console.send(" ")
        console.expect_exact("=> ", timeout=60)
        console.sendline("boot")
        console.expect_exact("login: ", timeout=60)


def test_all_read_the_console_and_one_writes(client: VirtualBoardClient):
    refused = pytest.raises(DriverError, match="written to by")
    with client.console.stream() as first, refused, client.console.stream() as second:
        first.send(b"\r")
        client.power.on()
        assert first.receive()
        assert second.receive()
        second.send(b"\r")
        while True:
            second.receive()
    for _ in range(3):
        with client.console.stream() as stream:
            stream.send(b"\r")


def test_what_the_console_said_before_is_there(client: VirtualBoardClient):
    booted(client)
    assert b"login: " in client.console.log()
    assert client.console.expect("simulated board", since="start", timeout=60).ok


def test_power_readings_go_on_until_nobody_asks(client: VirtualBoardClient):
    assert next(client.power.read()).current == 0.0
    booted(client)
    readings = list(islice(client.power.read(), 5))
    assert all(reading.voltage > 4.5 and reading.current > 0.1 for reading in readings)
    client.power.off()
    assert next(client.power.read()).voltage == 0.0


def test_cycle_boots_again(client: VirtualBoardClient):
    booted(client)
    with client.console.pexpect() as console:
        client.power.cycle(0)
        console.expect_exact("firmware", timeout=60)
        console.expect_exact("login: ", timeout=60)


def test_the_page_comes_through_a_port_forward(client: VirtualBoardClient):
    booted(client)
    with TcpPortforwardAdapter(client=client.http) as (host, port):
        with urlopen(f"http://{host}:{port}/status.json", timeout=5) as answer:
            status = json.load(answer)
        with pytest.raises(HTTPError, match="404") as missing:
            urlopen(f"http://{host}:{port}/nope", timeout=5)
        missing.value.close()
    assert status["image"]["sha256"] == client.state()["image"]["sha256"]
    assert json.loads(client.http.get("/status.json"))["board"] == "virtual-board"
    assert "Simulated board" in client.http.get()
    with pytest.raises(OSError, match="404"):
        client.http.get("/nope")


def test_the_page_of_a_board_that_is_off_says_why(client: VirtualBoardClient):
    with pytest.raises(DriverError, match="is in stage off"):
        client.http.get()


def test_flashing_has_a_visible_effect(client: VirtualBoardClient, tmp_path: Path):
    image = tmp_path / "image"
    image.write_bytes(os.urandom(3_000_001))
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    result = client.storage.flash(image)
    assert result is not None
    assert (result.bytes, result.sha256) == (3_000_001, digest)
    assert client.storage.state() == "dut"
    with client.console.pexpect() as console:
        client.power.on()
        console.expect_exact(f"sha256 {digest[:12]}", timeout=60)
        console.expect_exact(f"sha256 {digest}", timeout=60)
        console.expect_exact("login: ", timeout=60)
    result = client.storage.dump(tmp_path / "copy")
    assert result is not None
    assert result.sha256 == digest
    assert (tmp_path / "copy").read_bytes() == image.read_bytes()


def test_the_medium_named_in_the_configuration_is_written(tmp_path: Path):
    medium, image = tmp_path / "medium", tmp_path / "image"
    image.write_bytes(b"image")
    with serving(quick(medium=medium)) as client:
        client.storage.flash(image)
    assert medium.read_bytes() == b"image"


def test_a_missing_image_is_noticed_before_the_medium_moves(client: VirtualBoardClient, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        client.storage.flash(tmp_path / "missing")
    assert client.storage.state() == "dut"


def test_a_transfer_moves_the_medium_to_the_host(client: VirtualBoardClient, tmp_path: Path):
    image = tmp_path / "image"
    image.write_bytes(b"image")
    client.storage.off()
    client.storage.write_local_file(image)
    assert client.storage.state() == "host"


def test_a_failed_flash_leaves_the_medium_at_the_host(client: VirtualBoardClient, tmp_path: Path):
    image = tmp_path / "image"
    image.write_bytes(b"image" * 100_000)
    client.inject("medium-absent")
    with pytest.raises(DriverError, match="no medium in the slot"):
        client.storage.flash(image)
    assert client.storage.state() == "host"
    with pytest.raises(DriverError, match="no medium in the slot"):
        client.storage.dump(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == [image]


def test_a_failed_dump_leaves_the_file_that_was_there(client: VirtualBoardClient, tmp_path: Path):
    copy = tmp_path / "copy"
    copy.write_bytes(b"the last good one")
    client.inject("medium-absent")
    with pytest.raises(DriverError, match="no medium in the slot"):
        client.storage.dump(copy)
    assert copy.read_bytes() == b"the last good one"
    assert list(tmp_path.iterdir()) == [copy]


def test_a_dump_replaces_the_file_behind_a_link_and_keeps_its_mode(client: VirtualBoardClient, tmp_path: Path):
    copy, link = tmp_path / "copy", tmp_path / "link"
    copy.write_bytes(b"x" * 10_000)
    copy.chmod(0o640)
    link.symlink_to(copy)
    client.storage.dump(link)
    assert copy.stat().st_size == 4096
    assert copy.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()


def test_a_dump_to_what_is_no_regular_file_is_written_in_place(client: VirtualBoardClient, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    read = client.storage.dump(pipe)
    reader.join(60)
    assert read is not None
    assert hashlib.sha256(received[0]).hexdigest() == read.sha256
    client.inject("medium-absent")
    reader = threading.Thread(target=pipe.read_bytes)
    reader.start()
    with pytest.raises(DriverError, match="no medium in the slot"):
        client.storage.dump(pipe)
    reader.join(60)
    assert pipe.is_fifo()


def test_button_and_led_have_levels(client: VirtualBoardClient):
    assert (client.button.read(), client.led.read()) == (PinState.INACTIVE, PinState.INACTIVE)
    client.button.on()
    assert client.button.read() == PinState.ACTIVE
    client.button.release()
    assert client.button.read() == PinState.INACTIVE
    booted(client)
    assert client.led.read() == PinState.ACTIVE
    client.power.off()
    client.led.wait_for_inactive(timeout=5)


def test_waiting_for_the_led_ends_with_its_time(client: VirtualBoardClient):
    with pytest.raises(TimeoutError, match=r"led: not on within 0\.1 s; the board is in stage off"):
        client.led.wait_for_active(timeout=0.1)


def test_the_led_can_be_read_while_somebody_waits_for_it(client: VirtualBoardClient):
    waiting = threading.Thread(target=client.led.wait_for_active, args=(60,))
    waiting.start()
    before = time.monotonic()
    assert client.led.read() == PinState.INACTIVE
    assert time.monotonic() - before < 30
    client.power.on()
    waiting.join()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"medium": "/nonexistent/medium"}, "medium: the directory /nonexistent does not exist"),
        ({"faults": ["fire"]}, "no fault is called 'fire'; known are boot-hang"),
        ({"boot_seconds": -1.0}, "must not be negative"),
        ({"read_interval": 0.0}, "read_interval must be more than 0"),
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, object], problem: str):
    with pytest.raises(ConfigurationError, match=problem):
        VirtualBoard(**config)  # pyright: ignore[reportArgumentType]


class TestFaults:
    def test_an_unknown_one_is_answered_with_the_known(self, client: VirtualBoardClient):
        with pytest.raises(DriverInvalidArgument, match="known are boot-hang, console-garbage, power-drop"):
            client.inject("fire")
        with pytest.raises(ValueError, match="no fault is called 'fire'"):
            client.clear("fire")

    def test_they_come_and_go(self, client: VirtualBoardClient):
        client.inject("boot-hang")
        client.inject("console-garbage")
        assert client.faults() == ["boot-hang", "console-garbage"]
        client.clear("boot-hang")
        assert client.faults() == ["console-garbage"]
        client.clear()
        assert client.faults() == []

    def test_a_boot_hangs_until_the_fault_is_gone_and_the_power_cycled(self, client: VirtualBoardClient):
        client.inject("boot-hang")
        with client.console.pexpect() as console:
            client.power.on()
            console.expect_exact("Waiting for root device", timeout=60)
            with pytest.raises(TimeoutError, match="in stage hung"):
                client.led.wait_for_active(timeout=0.3)
            client.clear()
            client.power.cycle(0)
            console.expect_exact("login: ", timeout=60)

    def test_garbage_on_the_console_hides_the_login(self, client: VirtualBoardClient):
        client.inject("console-garbage")
        with client.console.stream() as stream:
            booted(client)
            assert min(stream.receive()) >= 0x80

    def test_the_power_drops_at_once_and_then_in_every_boot(self, client: VirtualBoardClient):
        booted(client)
        client.inject("power-drop")
        assert client.state()["stage"] == "off"
        with client.console.pexpect() as console:
            client.power.on()
            console.expect_exact("VFS: mounted root", timeout=60)
            with pytest.raises(TimeoutError, match="in stage off"):
                client.led.wait_for_active(timeout=0.3)
        assert next(client.power.read()).voltage == 0.0

    def test_they_can_be_there_from_the_start_and_survive_a_reset(self):
        driver = quick(faults=("medium-absent",))
        with serving(driver) as client, client.console.pexpect() as console:
            client.power.on()
            console.expect_exact("no bootable medium", timeout=60)
            client.clear()
            driver.reset()
            assert client.faults() == ["medium-absent"]


def test_nothing_is_left_behind():
    serve_once()  # whatever gRPC opens once
    before = open_files(), threading.active_count()
    for _ in range(3):
        serve_once()
    deadline = time.monotonic() + 60
    while (open_files(), threading.active_count()) > before and time.monotonic() < deadline:
        time.sleep(0.05)  # gRPC ends its own threads a little later
    assert (open_files(), threading.active_count()) <= before


def serve_once() -> None:
    with serving(quick()) as client, client.console.pexpect() as console:
        client.power.on()
        console.expect_exact("login: ", timeout=60)
        client.http.get()


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list((folder if folder.is_dir() else Path("/dev/fd")).iterdir()))
