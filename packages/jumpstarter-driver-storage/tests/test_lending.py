"""A file that is on the exporter's host is lent to it open, and not sent."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest
from anyio import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jumpstarter.client.core import DriverError
from jumpstarter.common.utils import serve
from jumpstarter.streams.threads import in_thread
from jumpstarter_driver_storage.client import StorageMuxFlasherClient
from jumpstarter_driver_storage.driver import FileStorage
from jumpstarter_driver_storage.lending import NAME, borrow, lending
from jumpstarter_driver_storage.parts import FileParts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
as_root = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can be somebody else")

BLOCK = 64 << 10
MIB = 1 << 20
NOBODY = 65534


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    return tmp_path / "medium"


@pytest.fixture
def client(medium: Path) -> Generator[StorageMuxFlasherClient]:
    with serve(FileStorage(path=str(medium))) as client:
        assert isinstance(client, StorageMuxFlasherClient)
        yield client


@pytest.mark.parametrize("verify", ["off", "full"])
def test_nothing_of_a_lent_file_is_sent(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path, verify: str
) -> None:
    content = os.urandom(5 * MIB) + bytes(70 * MIB) + os.urandom(3 * MIB + 1) + bytes(MIB)
    (tmp_path / "image").write_bytes(content)
    result = client.flash(tmp_path / "image", verify=verify)
    assert result is not None
    assert medium.read_bytes() == content
    assert result.received < 100
    assert result.bytes == len(content)
    assert result.written < 10 * MIB, "zeros count as data"
    assert result.sha256 == (hashlib.sha256(content).hexdigest() if verify == "full" else None)
    sent = client.flash(tmp_path / "image", verify=verify, lend=False)
    assert sent is not None
    assert sent.received > 8 * MIB
    assert medium.read_bytes() == content


def test_holes_of_a_lent_file_are_holes_of_the_medium(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path
) -> None:
    with (tmp_path / "image").open("wb") as file:
        for offset in (0, 300 * MIB, (1 << 30) - 7):
            file.seek(offset)
            file.write(b"content")
    result = client.flash(tmp_path / "image")
    assert result is not None
    assert (result.bytes, medium.stat().st_size) == (1 << 30, 1 << 30)
    assert medium.stat().st_blocks * 512 < 4 * MIB
    with medium.open("rb") as file:
        file.seek(300 * MIB)
        assert file.read(8) == b"content\0"


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, MIB, 4 * MIB, 4 * MIB + 3])
def test_a_file_of_any_size_can_be_lent(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    (tmp_path / "image").write_bytes(content)
    result = client.flash(tmp_path / "image", sha256=hashlib.sha256(content).hexdigest())
    assert result is not None
    assert (result.bytes, medium.read_bytes()) == (size, content)


def test_a_lent_file_that_gets_shorter_is_no_image(
    client: StorageMuxFlasherClient, medium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(6 * MIB))
    whole = FileParts.read

    def shortened(parts: FileParts) -> bytes | int:
        if image.stat().st_size > MIB:
            os.truncate(image, MIB)
        return whole(parts)

    monkeypatch.setattr(FileParts, "read", shortened)
    with pytest.raises(DriverError, match=f"{MIB} bytes came, and not {6 * MIB}"):
        client.flash(image)
    assert client.incomplete() is not None


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.tuples(st.sampled_from("dzh"), st.integers(1, 3 * BLOCK)), max_size=8))
def test_the_parts_of_a_file_are_the_file(tmp_path: Path, runs: list[tuple[str, int]]) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:  # data, zeros that are written, and holes
        for kind, length in runs:
            if kind == "h":
                file.seek(length, os.SEEK_CUR)
            else:
                file.write(os.urandom(length) if kind == "d" else bytes(length))
        file.truncate()
    with FileIO(path) as file:
        parts, read = FileParts(file, 2 * BLOCK), list[bytes]()
        while part := parts.read():
            read.append(bytes(part))  # a number is as many zeros
    assert b"".join(read) == path.read_bytes()


@contextmanager
def lender(tmp_path: Path, code: str, before: str = "") -> Generator[bytes]:
    """A process that listens as a lender does, and runs some code with what it accepts."""
    name = os.urandom(NAME)
    program = f"""
import os, socket, sys
{before}
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0jumpstarter-{name.hex()}")
listener.listen()
print("listening", flush=True)
connection, _ = listener.accept()
{code}
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield name
    finally:
        process.kill()
        process.communicate()


def test_what_nobody_lends_is_not_waited_for() -> None:
    began = time.monotonic()
    assert borrow(os.urandom(NAME)) is None
    assert time.monotonic() - began < 1


def test_a_lender_that_says_nothing_is_not_waited_for_long(tmp_path: Path) -> None:
    with lender(tmp_path, "sys.stdin.read() or __import__('time').sleep(60)") as name:
        began = time.monotonic()
        assert borrow(name) is None
        assert 1 < time.monotonic() - began < 10


def test_only_a_file_is_borrowed(tmp_path: Path) -> None:
    with lender(tmp_path, "socket.send_fds(connection, [b'F'], [os.pipe()[0]])") as name:
        assert borrow(name) is None


@as_root
def test_nothing_is_borrowed_from_another_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    give = "socket.send_fds(connection, [b'F'], [opened])"
    with lender(tmp_path, give, before="opened = os.open('file', os.O_RDONLY)") as name:
        file = borrow(name)
        assert file is not None
        with file:
            assert file.read() == b"content"
    (tmp_path / "file").chmod(0o644)
    with lender(tmp_path, give, before=f"opened = os.open('file', os.O_RDONLY); os.setuid({NOBODY})") as name:
        assert borrow(name) is None


@as_root
def test_nothing_is_lent_to_another_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    async def main() -> None:
        with FileIO(tmp_path / "file") as file:
            async with lending(file) as name:
                ask = f"socket.socket(socket.AF_UNIX); s.connect('\\0jumpstarter-{name.hex()}')"
                program = f"import os, socket; os.setuid({NOBODY}); s = {ask}; print(socket.recv_fds(s, 1, 1)[:2])"
                done = await in_thread(
                    lambda: subprocess.run(
                        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
                    )
                )
                assert done.stdout == "(b'', [])\n"
                borrowed = await in_thread(borrow, name)  # the stranger has not used it up
                assert borrowed is not None
                borrowed.close()

    run(main)
