"""The stand-ins are themselves tested against plain system calls, and against pySerial."""

import os
import threading
import time
from pathlib import Path

import pytest
from jumpstarter_testing.serial import FakeSerial


def test_bytes_travel_both_ways(tmp_path: Path) -> None:
    every = bytes(range(256))
    with FakeSerial(tmp_path / "tty") as device, Path(device.path).open("r+b", buffering=0) as port:
        device.send(every)
        got = b""
        while len(got) < len(every):
            got += port.read(256)
        port.write(every)
        assert (got, device.receive_until(every)) == (every, every)


def test_it_answers(tmp_path: Path) -> None:
    with FakeSerial(tmp_path / "tty", answer=bytes.upper) as device, Path(device.path).open("r+b", buffering=0) as port:
        port.write(b"abc")
        assert port.read(3) == b"ABC"


def test_unplugged_while_it_is_open_the_port_fails_and_the_next_one_works(tmp_path: Path) -> None:
    with FakeSerial(tmp_path / "tty") as device:
        with Path(device.path).open("r+b", buffering=0) as port:
            device.unplug()
            assert not Path(device.path).exists()
            with pytest.raises(OSError, match="Input/output error"):
                os.write(port.fileno(), b"x")
        device.plug()
        with Path(device.path).open("r+b", buffering=0) as port:
            port.write(b"again")
            assert device.receive_until(b"again") == b"again"


def test_a_rate_is_kept(tmp_path: Path) -> None:
    with FakeSerial(tmp_path / "tty", rate=1000) as device, Path(device.path).open("rb", buffering=0):
        begin = time.monotonic()
        device.send(bytes(200))
        assert time.monotonic() - begin >= 0.2


def test_garbage_is_the_same_with_the_same_seed(tmp_path: Path) -> None:
    def sent(seed: int) -> bytes:
        with (
            FakeSerial(tmp_path / "tty", garbage=0.5, seed=seed) as device,
            Path(device.path).open("rb", buffering=0) as port,
        ):
            device.send(bytes(100))
            return port.read(100)

    assert sent(1) == sent(1) != sent(2)
    assert 20 < sum(map(bool, sent(1))) < 80


def test_sending_to_nobody_ends_in_time_or_when_unplugged(tmp_path: Path) -> None:
    with FakeSerial(tmp_path / "tty") as device:
        with pytest.raises(TimeoutError, match="nobody reads"):
            device.send(bytes(1 << 20), timeout=0.1)
        timer = threading.Timer(0.1, device.unplug)
        timer.start()
        with pytest.raises(ConnectionError, match="unplugged"):
            device.send(bytes(1 << 20))
        timer.join()
