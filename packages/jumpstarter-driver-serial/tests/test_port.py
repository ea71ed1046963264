"""How a port is set up: what the system has of it then."""

import os
import termios

import pytest
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.common.utils import serve
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_serial.port import LineSettings, open_port
from jumpstarter_testing.serial import FakeSerial


def flags(device: FakeSerial) -> tuple[int, int]:
    """The input and control flags of a port that is open, too (termios(3)); root may open it along."""
    fd = os.open(device.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        found = termios.tcgetattr(fd)
    finally:
        os.close(fd)
    return found[0], found[2]


def drop_lines_on_closing(device: FakeSerial) -> None:
    """As ports do from the start, but for pseudo-terminals."""
    fd = os.open(device.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    attributes = termios.tcgetattr(fd)
    attributes[2] |= termios.HUPCL
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    os.close(fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root opens a port that somebody has to themselves")
def test_the_system_has_the_port_as_it_is_configured(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path)):
        given, control = flags(mute)
        assert not given & termios.IXON
        assert not control & (termios.CSTOPB | termios.CRTSCTS)
    drop_lines_on_closing(mute)
    with serve(PySerial(url=mute.path)):
        assert flags(mute)[1] & termios.HUPCL
    with serve(PySerial(url=mute.path, stopbits=2, rtscts=True, xonxoff=True, disable_hupcl=True)):
        given, control = flags(mute)
        assert given & termios.IXON
        assert control & termios.CSTOPB
        assert control & termios.CRTSCTS
        assert not control & termios.HUPCL


@pytest.mark.parametrize("parity", "NEOMS")
@pytest.mark.parametrize("bytesize", [5, 7, 8])
def test_frames_are_as_configured(parity: str, bytesize: int) -> None:
    """A pseudo-terminal has 8N1 only, so this is what pySerial is told."""
    port = open_port("loop://", LineSettings(parity=parity, bytesize=bytesize, dtr=False, rts=False))
    assert (port.line.parity, port.line.bytesize, port.line.dtr, port.line.rts) == (parity, bytesize, False, False)
    port.close()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"parity": "some"}, "parity must be none, even"),
        ({"bytesize": 9}, "bytesize must be one of 5, 6, 7, 8"),
        ({"stopbits": 3}, "stopbits must be one of"),
        ({"baudrate": 0}, "baudrate must be more than 0"),
        ({"cps": 0}, "cps must be more than 0"),
        ({"on_unplug": "wait=never"}, "fail, wait=SECONDS or mark"),
    ],
)
def test_what_no_port_can_do_is_refused(config: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        PySerial(url="loop://", **config)  # pyright: ignore[reportArgumentType]
