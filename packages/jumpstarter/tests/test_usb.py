"""Which device is meant, how it is found again, and how failures are said: with a directory that looks like sysfs."""

import errno
import os
import subprocess
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.common.exceptions import BusyError, DeviceAbsentError, DeviceFaultyError
from jumpstarter.usb import (
    UsbDevice,
    UsbHost,
    UsbInterface,
    UsbLink,
    UsbMatch,
    about_serial,
    has_own_serial,
    looks_like,
    stable_link,
    use_host,
)
from jumpstarter.usb.failures import RefusedError, usb_failure

BOARD = (0x2B23, 0x1012)
TRIPLE = (0xFF, 1, 1)

is_board = looks_like(ids=BOARD)


def device(
    port: str = "1-1",
    ids: tuple[int, int] = BOARD,
    *,
    serial: str = "",
    name: str = "",
    interfaces: tuple[UsbInterface, ...] = (),
) -> UsbDevice:
    """One that was listed."""
    return UsbDevice(
        path=Path(port),
        port=port,
        vendor=ids[0],
        product=ids[1],
        version=0x0100,
        serial=serial,
        manufacturer="",
        name=name,
        bus=1,
        address=5,
        interfaces=interfaces,
    )


@dataclass
class Sysfs:
    """Devices that come and go; each time with the next address."""

    root: Path

    def __post_init__(self) -> None:
        self._addresses = count(2)

    def plug(
        self, port: str, *, serial: str = "", ids: tuple[int, int] = BOARD, triple: tuple[int, ...] = TRIPLE
    ) -> Path:
        folder = self.root / "sys/bus/usb/devices" / port
        part = folder / f"{port}:1.0"
        part.mkdir(parents=True)
        names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol", "bInterfaceNumber")
        values = {
            "idVendor": f"{ids[0]:04x}",
            "idProduct": f"{ids[1]:04x}",
            "bcdDevice": "0009",
            "bNumInterfaces": " 1",
            "product": "Dutlink",
            "busnum": "1",
            "devnum": str(next(self._addresses)),
        } | ({"serial": serial} if serial else {})
        for name, value in values.items():
            (folder / name).write_text(f"{value}\n")
        for name, value in zip(names, (*triple, 0), strict=True):
            (part / name).write_text(f"{value:02x}\n")
        return folder

    def unplug(self, port: str) -> None:
        rmtree(self.root / "sys/bus/usb/devices" / port)


@pytest.fixture
def sysfs(tmp_path: Path) -> Generator[Sysfs]:
    with use_host(UsbHost(tmp_path / "sys", tmp_path / "dev")):
        yield Sysfs(tmp_path)


def meaning(is_kind: Callable[[UsbDevice], bool] = is_board, **keys: Any) -> UsbMatch:
    return UsbMatch(kind="board", is_kind=is_kind, **keys)


class TestWhichDevice:
    OTHERS = (
        device("1-2", serial="b"),
        device("1-3", (0x04E8, 0x6001), serial="a", name="sd-wire"),
        device("1-4", (0x04E8, 0x6001), serial="b", name="Galaxy"),
        device("1-5", (1, 2), serial="c", interfaces=(UsbInterface(0, 2, 2, 0), UsbInterface(3, *TRIPLE))),
    )

    @pytest.mark.parametrize(
        ("match", "port"),
        [
            (meaning(), "1-2"),
            (meaning(looks_like(name="sd-wire")), "1-3"),
            (meaning(looks_like(ids=(0x04E8, 0x6001), name="Galaxy")), "1-4"),
            (meaning(looks_like(interface=TRIPLE)), "1-5"),
            (meaning(looks_like(), serial="c"), "1-5"),
            (meaning(looks_like(), port="1-4"), "1-4"),
            (meaning(looks_like(), serial="b", port="1-4"), "1-4"),
        ],
        ids=["ids", "product string", "ids and product string", "interface", "serial", "port", "serial and port"],
    )
    def test_each_key_finds_it(self, match: UsbMatch, port: str) -> None:
        assert match.find(self.OTHERS).port == port

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([BOARD, (1, 2)]),
                st.sampled_from(["", "a", "b"]),
                st.sampled_from(["x", "y"]),
                st.sampled_from([TRIPLE, (2, 2, 0)]),
            ),
            max_size=6,
        ),
        st.sampled_from([None, BOARD, (1, 2)]),
        st.sampled_from([None, "x", "y"]),
        st.sampled_from([None, TRIPLE]),
        st.sampled_from([None, "a", "b"]),
        st.sampled_from([None, "1-1", "1-2"]),
    )
    def test_exactly_one_or_an_error_with_all_candidates(
        self,
        made: list[tuple[tuple[int, int], str, str, tuple[int, int, int]]],
        ids: tuple[int, int] | None,
        name: str | None,
        triple: tuple[int, int, int] | None,
        serial: str | None,
        port: str | None,
    ) -> None:
        devices = [
            device(f"1-{i}", its, serial=own, name=called, interfaces=(UsbInterface(0, *function),))
            for i, (its, own, called, function) in enumerate(made, 1)
        ]
        kind = [
            one
            for one, (its, _, called, function) in zip(devices, made, strict=True)
            if ids in (None, its) and name in (None, called) and triple in (None, function)
        ]
        meant = [one for one in kind if serial in (None, one.serial) and port in (None, one.port)]
        match = meaning(looks_like(ids=ids, name=name, interface=triple), serial=serial, port=port)
        if len(meant) == 1:
            assert match.find(devices) is meant[0]
            return
        with pytest.raises(DeviceFaultyError if meant else DeviceAbsentError) as error:
            match.find(devices)
        for one in meant or kind:
            assert f"[{one}]" in str(error.value)
        for one in devices:
            assert (f"[{one}]" in str(error.value)) == (one in (meant or kind))


class TestFoundAgain:
    def test_at_another_address_or_port(self, sysfs: Sysfs) -> None:
        sysfs.plug("1-1", serial="a")
        link = UsbLink(meaning())
        before = link.device()
        sysfs.unplug("1-1")
        with pytest.raises(DeviceAbsentError, match=r"serial a, port 1-1: disconnected; no board with serial 'a'"):
            link.device()
        sysfs.plug("1-2.4", serial="a")
        after = link.device()
        assert (after.serial, after.port) == ("a", "1-2.4")
        assert after.address != before.address
        assert link.returns == 1

    def test_nothing_else_is_taken_for_it(self, sysfs: Sysfs) -> None:
        sysfs.plug("1-1", serial="a")
        link = UsbLink(meaning())
        link.device()
        sysfs.unplug("1-1")
        sysfs.plug("1-1", serial="b")
        with pytest.raises(DeviceAbsentError, match=r"no board with serial 'a' is connected; there is \[.*serial b"):
            link.device()

    def test_without_a_serial_it_is_told_by_its_port(self, sysfs: Sysfs) -> None:
        sysfs.plug("1-1")
        link = UsbLink(meaning())
        link.device()
        sysfs.unplug("1-1")
        sysfs.plug("1-2")
        with pytest.raises(DeviceAbsentError, match="no board with port 1-1 is connected"):
            link.device()
        sysfs.plug("1-1")
        assert link.device().port == "1-1"

    def test_one_that_is_only_half_there_is_not_listed(self, sysfs: Sysfs) -> None:
        folder = sysfs.plug("1-1", serial="a")
        (folder / "bNumInterfaces").write_text(" 4\n")
        with pytest.raises(DeviceAbsentError, match="no board is connected"):
            UsbLink(meaning()).device()


class Failure(OSError):
    """As pyusb raises it."""


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (
            errno.EACCES,
            PermissionError,
            r'no permission for .*/bus/usb/001/002; .*ATTR\{idVendor\}=="2b23".*MODE="0660"',
        ),
        (errno.EBUSY, BusyError, "in use by the kernel's driver usb-storage"),
        (errno.ENODEV, DeviceAbsentError, "serial a, port 1-1: disconnected; cannot blink"),
        (errno.ENOENT, DeviceAbsentError, "disconnected"),
        (errno.ESHUTDOWN, DeviceAbsentError, "disconnected"),
        (errno.EPIPE, RefusedError, "cannot blink: it refused the request"),
        (errno.ETIMEDOUT, TimeoutError, r"cannot blink: no answer within 2\.5 s"),
        (errno.EIO, OSError, r"the transfer failed \(cable or port"),
        (errno.EOVERFLOW, OSError, "sent more than was asked for"),
        (errno.EINVAL, OSError, "malformed"),
        (errno.ENOMEM, OSError, "no memory left"),
        (None, OSError, "something else; check its cable"),
    ],
)
def test_what_pyusb_raises_is_said_in_words(sysfs: Sysfs, number: int | None, kind: type[Exception], says: str) -> None:
    folder = sysfs.plug("1-1", serial="a")
    (folder.parent / "usb-storage").mkdir()
    (folder / "1-1:1.0/driver").symlink_to(folder.parent / "usb-storage")
    link = UsbLink(meaning())
    error = Failure(number, "something else") if number else Failure("something else")
    failure = usb_failure(error, link.host, link.device(), "blink", 2.5)
    assert isinstance(failure, kind)
    with pytest.raises(kind, match=says):
        raise failure


def test_a_program_that_has_the_device_is_named(sysfs: Sysfs) -> None:
    sysfs.plug("1-1", serial="a")
    link = UsbLink(meaning())
    ours, theirs = os.openpty()
    with os.fdopen(ours), os.fdopen(theirs, "rb") as node:
        link.host.node(link.device()).parent.mkdir(parents=True)
        link.host.node(link.device()).symlink_to(os.ttyname(theirs))
        busy = usb_failure(Failure(errno.EBUSY, "busy"), link.host, link.device(), "blink", 1)
        assert "cannot blink: in use by another program" in str(busy)
        with subprocess.Popen(["sleep", "60"], stdin=node) as holder:
            busy = usb_failure(Failure(errno.EBUSY, "busy"), link.host, link.device(), "blink", 1)
            holder.kill()
    assert f"in use by sleep (process {holder.pid})" in str(busy)


def test_an_error_of_a_device_that_has_left_says_so(sysfs: Sysfs) -> None:
    sysfs.plug("1-1", serial="a")
    link = UsbLink(meaning())
    found = link.device()
    sysfs.unplug("1-1")
    odd = ValueError("The device has no langid")  # which pyusb raises then
    assert isinstance(usb_failure(odd, link.host, found, "blink", 1), DeviceAbsentError)


def test_links_by_serial_only_where_it_is_ones_own(tmp_path: Path) -> None:
    for kind in ("by-id", "by-path"):
        (tmp_path / kind).mkdir()
        for name in ("one", "two"):
            (tmp_path / kind / name).symlink_to(f"../{name}")
    one, two, none = device("1-1", serial="1"), device("1-2", serial="2"), device("1-3")
    node = tmp_path / "two"
    assert stable_link(node, tmp_path, two, [one, two]) == tmp_path / "by-id/two"
    assert stable_link(node, tmp_path, two, [two, device("1-9", serial="2")]) == tmp_path / "by-path/two"
    assert stable_link(node, tmp_path, none, [none]) == tmp_path / "by-path/two"
    assert stable_link(node, tmp_path, None, []) == tmp_path / "by-path/two"
    (tmp_path / "by-id/two").unlink()
    assert stable_link(node, tmp_path, two, [two]) == tmp_path / "by-path/two"
    (tmp_path / "by-path/two").unlink()
    assert stable_link(node, tmp_path, two, [two]) is None
    assert stable_link(node, tmp_path / "missing", two, [two]) is None


def test_what_is_to_be_known_of_serials() -> None:
    own, twin, other, none = device("1-1", serial="1"), device("1-2", serial="2"), device("1-3", serial="2"), device()
    every = [own, twin, other, none]
    assert about_serial(own, every) == []
    assert about_serial(twin, every) == [
        "2 devices have the serial 2: they are told by their ports, and have to stay there"
    ]
    assert about_serial(none, every) == ["it has no serial number: it is told by its port, and has to stay there"]
    assert [has_own_serial(one, every) for one in every] == [True, False, False, False]
