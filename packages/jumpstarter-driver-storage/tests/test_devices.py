"""Block devices: loop devices of the kernel, which only root can have; and what is refused, by a picture of sysfs."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter_driver_storage.client import StorageMuxFlasherClient
from jumpstarter_driver_storage.common import StorageError
from jumpstarter_driver_storage.devices import BlockDevice, Rules, check_device, unmount
from jumpstarter_driver_storage.driver import FileStorage
from jumpstarter_driver_storage.medium import open_medium
from jumpstarter_testing.loops import MakeLoop, make_loop, tmpfs

__all__ = ["make_loop"]

MIB = 1 << 20
GIB = 1 << 30


def flash(device: Path, image: Path) -> None:
    with serve(FileStorage(path=str(device))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        client.flash(image)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """9 MiB of data, 3 MiB of zeros, and a tail that fills no sector."""
    path = tmp_path / "image"
    path.write_bytes(os.urandom(9 * MIB) + bytes(3 * MIB) + os.urandom(1001))
    return path


@pytest.mark.parametrize("sector", ["512", "4096"])
def test_an_image_arrives_on_a_device_that_held_something_else(make_loop: MakeLoop, image: Path, sector: str) -> None:
    device = make_loop(16 * MIB, "--sector-size", sector)
    old = os.urandom(16 * MIB)
    device.write_bytes(old)
    with serve(FileStorage(path=str(device))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        result = client.flash(image)
        assert result is not None
        assert result.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
        assert result.written == 9 * MIB + 1001
        client.dump(image.with_name("copy"))
    content = image.read_bytes()
    assert device.read_bytes() == content + old[len(content) :]
    assert image.with_name("copy").read_bytes() == device.read_bytes()


def test_a_device_that_is_too_small_is_refused(make_loop: MakeLoop, image: Path) -> None:
    device = make_loop(8 * MIB)
    with pytest.raises(DriverError, match=r"does not fit: the medium has 8388608 bytes \(8.0 MiB\)"):
        flash(device, image)
    assert not device.read_bytes()[:MIB].strip(b"\0")


def test_a_device_that_is_read_only_is_refused(make_loop: MakeLoop, image: Path) -> None:
    with pytest.raises(DriverError, match=r"read-only|write protection"):
        flash(make_loop(16 * MIB, "--read-only"), image)


def test_a_mounted_device_is_refused(make_loop: MakeLoop, image: Path, tmp_path: Path) -> None:
    device, folder = make_loop(16 * MIB), tmp_path / "mounted folder"
    folder.mkdir()
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("no mkfs.ext4 here")
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    subprocess.run(["mount", device, folder], check=True)
    try:
        before = hashlib.sha256(device.read_bytes()).hexdigest()
        with pytest.raises(DriverError, match=r"in use on this host: mounted on .*mounted folder; unmount it"):
            flash(device, image)
        assert hashlib.sha256(device.read_bytes()).hexdigest() == before
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def mounted(device: Path, folder: Path, *options: str) -> Generator[Path]:
    folder.mkdir()
    subprocess.run(["mount", *options, device, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def stick(make_loop: MakeLoop) -> Path:
    """A device with a file system."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("no mkfs.ext4 here")
    device = make_loop(16 * MIB)
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    return device


def test_what_the_host_has_mounted_is_unmounted_when_the_medium_leaves(stick: Path, tmp_path: Path) -> None:
    with (
        serve(FileStorage(path=str(stick))) as client,
        mounted(stick, tmp_path / "first folder") as first,
        mounted(stick, tmp_path / "second") as second,
    ):
        (first / "file").write_text("what the host has written")
        client.call("dut")
        assert client.call("state") == "dut"
        assert not first.is_mount()
        assert not second.is_mount()
    with mounted(stick, tmp_path / "again", "-o", "ro") as again:
        assert (again / "file").read_text() == "what the host has written"


@pytest.mark.parametrize("method", ["dut", "off"])
def test_a_medium_that_is_in_use_does_not_leave_the_host(stick: Path, tmp_path: Path, method: str) -> None:
    with serve(FileStorage(path=str(stick))) as client, mounted(stick, tmp_path / "mnt") as folder:
        with subprocess.Popen(["sleep", "60"], cwd=folder) as process:
            try:
                said = rf"unmount {folder} of {stick}: target is busy; in use by .*sleep \(process {process.pid}\)"
                with pytest.raises(DriverError, match=said):
                    client.call(method)
                assert client.call("state") == "host"
                assert folder.is_mount()
            finally:
                process.kill()
        client.call(method)
        assert client.call("state") == method


def test_a_medium_that_somebody_has_for_himself_does_not_leave_the_host(make_loop: MakeLoop) -> None:
    device = make_loop(16 * MIB)
    fd = os.open(device, os.O_RDWR | os.O_EXCL)
    with serve(FileStorage(path=str(device))) as client:
        try:
            with pytest.raises(DriverError, match=f"{device} is mounted in a container, or in use by another program"):
                client.call("dut")
            assert client.call("state") == "host"
        finally:
            os.close(fd)
        client.call("dut")


@pytest.mark.parametrize(("folder", "external"), [("/boot/efi", True), ("/mnt", False)])
def test_what_the_host_lives_on_is_not_unmounted(
    make_loop: MakeLoop, tmp_path: Path, folder: str, *, external: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = make_loop(16 * MIB)
    number = f"{os.major(device.stat().st_rdev)}:{os.minor(device.stat().st_rdev)}"
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(
        f"30 1 {number} / /media/x rw - vfat {device} rw\n31 1 {number} / {folder} rw - vfat {device} rw\n"
    )

    def is_external(device: BlockDevice) -> bool:
        return external

    monkeypatch.setattr(BlockDevice, "is_external", is_external)
    with pytest.raises(StorageError, match=rf"in use on this host: mounted on /media/x, mounted on {folder}; end that"):
        unmount(device, Rules(procfs=tmp_path))


def test_a_device_that_another_program_has_is_refused(make_loop: MakeLoop, image: Path) -> None:
    device = make_loop(16 * MIB)
    fd = os.open(device, os.O_RDWR | os.O_EXCL)
    try:
        with pytest.raises(DriverError, match="in use by another program"):
            flash(device, image)
    finally:
        os.close(fd)
    fd = os.open(device, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(DriverError, match="is in use by another program"):
            flash(device, image)
    finally:
        os.close(fd)


def test_a_disk_that_ends_early_fails_in_the_kernel_and_is_named(
    make_loop: MakeLoop, image: Path, tmp_path: Path
) -> None:
    """The backing file is cut short while the device says 16 MiB: what is behind cannot be read back."""
    device = make_loop(16 * MIB)
    with serve(FileStorage(path=str(device))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        client.flash(image)
        os.truncate(tmp_path / "backing0", 4 * MIB)
        with pytest.raises(DriverError, match=r"read .*loop\d+ at byte \d+ .*: input/output error; check the medium"):
            client.dump(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_full_disk_under_a_device_is_an_error_of_the_device(tmp_path: Path, make_loop: MakeLoop, image: Path) -> None:
    with tmpfs(tmp_path / "small", "4m"):
        device = make_loop(32 * MIB, folder=tmp_path / "small")
        with pytest.raises(DriverError, match=r"write .*loop\d+ at byte \d+ .*: (input/output error|no space left)"):
            flash(device, image)


def test_a_medium_that_is_changed_meanwhile_is_noticed(make_loop: MakeLoop, tmp_path: Path) -> None:
    device = make_loop(16 * MIB, "--read-only")
    other = tmp_path / "other"
    other.write_bytes(bytes(16 * MIB))
    with open_medium(device, write=False, rules=Rules()) as medium:
        medium.check_same()
        loop_change_fd(device, other)
        with pytest.raises(StorageError, match="the medium was changed meanwhile"):
            medium.check_same()


def loop_change_fd(device: Path, other: Path) -> None:
    """Put another file behind a loop device (loop(4), LOOP_CHANGE_FD)."""
    loop, new = os.open(device, os.O_RDONLY), os.open(other, os.O_RDONLY)
    try:
        fcntl.ioctl(loop, 0x4C06, new)
    finally:
        os.close(loop)
        os.close(new)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("lend", [True, False], ids=["lent", "sent"])
def test_an_image_of_five_gibibytes_crosses_the_boundaries(tmp_path: Path, make_loop: MakeLoop, *, lend: bool) -> None:
    image = tmp_path / "image"
    places = (0, 2 * GIB - 5, 2 * GIB + 70_000, 4 * GIB - 100_001, 4 * GIB + 3 * MIB, 5 * GIB - 9)
    with image.open("wb") as file:
        file.truncate(5 * GIB)
        for place in places:
            file.seek(place)
            file.write(b"boundary!"[: 5 * GIB - place])
    device = make_loop(5 * GIB + 4 * MIB)
    with serve(FileStorage(path=str(device))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        result = client.flash(image, verify="full", lend=lend)
    assert result is not None
    assert result.bytes == 5 * GIB
    assert result.received < 8 * MIB
    with device.open("rb") as file, image.open("rb") as original:
        for place in (*places, 2 * GIB - MIB, 4 * GIB - MIB, 3 * GIB):
            for start in (max(0, place - 70_000), min(place, 5 * GIB - 140_000)):
                file.seek(start)
                original.seek(start)
                length = min(140_000, 5 * GIB - start)
                assert file.read(length) == original.read(length), place


# refusals, on a picture of what the kernel says


@pytest.fixture
def system(tmp_path: Path) -> Rules:
    """A host with a built-in disk that is its root, and a stick on USB with two partitions."""
    sysfs, procfs = tmp_path / "sys", tmp_path / "proc"
    disks = {
        "8:0": "devices/pci0000:00/ata1/host0/block/sda",
        "8:1": "devices/pci0000:00/ata1/host0/block/sda/sda1",
        "8:16": "devices/pci0000:00/usb2/2-1/2-1:1.0/host6/block/sdb",
        "8:17": "devices/pci0000:00/usb2/2-1/2-1:1.0/host6/block/sdb/sdb1",
        "8:18": "devices/pci0000:00/usb2/2-1/2-1:1.0/host6/block/sdb/sdb2",
    }
    for number, folder in disks.items():
        (sysfs / folder / "holders").mkdir(parents=True)
        (sysfs / folder / "dev").write_text(number)
        if folder[-1].isdigit():
            (sysfs / folder / "partition").write_text(folder[-1])
        (sysfs / "dev/block").mkdir(parents=True, exist_ok=True)
        (sysfs / "dev/block" / number).symlink_to(sysfs / folder)
    usb = sysfs / "devices/pci0000:00/usb2/2-1"
    (usb / "serial").write_text("4C53000123\n")
    (usb / "idVendor").write_text("0781\n")
    (procfs / "self").mkdir(parents=True)
    (procfs / "self/mountinfo").write_text("22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n")
    (procfs / "swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n")
    return Rules(sysfs=sysfs, procfs=procfs)


def check(rules: Rules, minor: int = 16, **changes: object) -> None:
    from dataclasses import replace

    check_device(Path("/dev/sdx"), os.makedev(8, minor), replace(rules, **changes), write=True)  # pyright: ignore[reportArgumentType]


def test_a_stick_may_be_written(system: Rules) -> None:
    check(system)
    check(system, serial="4C53000123")


def test_the_disk_of_the_host_is_refused(system: Rules) -> None:
    with pytest.raises(StorageError, match=r"in use on this host: mounted on /; unmount it"):
        check(system, 0)
    (system.procfs / "self/mountinfo").write_text("")
    with pytest.raises(StorageError, match=r"is built into this host; name another device, or set internal: true"):
        check(system, 0)
    check(system, 0, internal=True)


def test_another_serial_number_is_refused(system: Rules) -> None:
    with pytest.raises(StorageError, match="has the serial number 4C53000123, not 4711"):
        check(system, serial="4711")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("self/mountinfo", "30 1 8:18 / /media/a\\040b rw - vfat /dev/sdb2 rw\n", "mounted on /media/a b"),
        ("self/mountinfo", "30 1 0:41 / /data rw - btrfs /dev/sdb1 rw\n", "mounted on /data"),
        ("swaps", "Filename\n/dev/sdb2   partition 1 0 -2\n", "it is swap space"),
    ],
)
def test_a_partition_in_use_is_refused(system: Rules, file: str, text: str, said: str) -> None:
    (system.procfs / file).write_text(text)
    with pytest.raises(StorageError, match=said):
        check(system)


def test_a_disk_that_is_part_of_a_volume_is_refused(system: Rules) -> None:
    (system.sysfs / "dev/block/8:17/holders/dm-3").touch()
    with pytest.raises(StorageError, match="it is a part of dm-3"):
        check(system)
