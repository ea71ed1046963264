"""Much data at the highest rate: every reader has every byte, and so has the log."""

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jumpstarter.common.utils import serve
from jumpstarter_driver_serial.attached import Attached
from jumpstarter_driver_serial.client import PySerialClient
from jumpstarter_driver_serial.driver import PySerial
from jumpstarter_driver_serial.items import Data, Dropped
from jumpstarter_testing.serial import FakeSerial

MIB = 1 << 20
SIZE = int(os.environ.get("JMP_TEST_CONSOLE_MIB", "50")) * MIB


class Digest:
    """What a reader got, from its start offset on."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.begin: int | None = None
        self.end = 0
        self.dropped = 0

    def take(self, item: object) -> None:
        match item:
            case Data(offset=offset, data=data):
                if self.begin is None:
                    self.begin = self.end = offset
                assert offset == self.end, "no byte twice, none left out"
                self.hash.update(data)
                self.end += len(data)
            case Dropped(count=count):
                self.dropped += count
            case _:
                pass


def follow(attached: Attached, digest: Digest, end: int, pause: Callable[[], None] = lambda: None) -> None:
    while digest.end < end:
        item = attached.receive()
        assert item is not None
        digest.take(item)
        pause()


@pytest.mark.timeout(240)
def test_three_readers_and_the_log_have_every_byte(mute: FakeSerial, tmp_path: Path) -> None:
    block = random.Random(50).randbytes(MIB)
    whole = hashlib.sha256()
    for _ in range(SIZE // MIB):
        whole.update(block)

    def send() -> None:
        for _ in range(SIZE // MIB):
            mute.send(block, timeout=60)

    def late(client: PySerialClient, digest: Digest) -> None:
        while client.status()["end"] < SIZE // 3:
            time.sleep(0.05)
        with client.attach(since=1000) as attached:
            follow(attached, digest, SIZE)

    def reconnecting(client: PySerialClient, digest: Digest) -> None:
        place: int | str = "start"
        for number in range(1, 12):
            with client.attach(since=place) as attached:
                follow(attached, digest, number * SIZE // 11)
                place = digest.end

    def slow(client: PySerialClient, digest: Digest) -> None:
        naps = iter([0.3] * 10)
        with client.attach(since="start") as attached:
            follow(attached, digest, SIZE, lambda: time.sleep(next(naps, 0.0)))

    log = tmp_path / "console.log"
    with serve(PySerial(url=mute.path, log_file=str(log), log_size=2 * SIZE)) as client:
        assert isinstance(client, PySerialClient)
        digests = [Digest() for _ in range(3)]
        failures: list[BaseException] = []

        def guarded(work: Callable[[PySerialClient, Digest], None], digest: Digest) -> None:
            try:
                work(client, digest)
            except BaseException as e:  # noqa: BLE001 raised below
                failures.append(e)

        threads = [
            threading.Thread(target=guarded, args=(work, digest), daemon=True)
            for work, digest in zip((late, reconnecting, slow), digests, strict=True)
        ]
        threads.append(threading.Thread(target=send, daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(200)
        assert failures == []
        assert [digest.begin for digest in digests] == [1000, 0, 0]
        assert [digest.end for digest in digests] == [SIZE] * 3
        assert [digest.dropped for digest in digests] == [0] * 3
        assert [digest.hash.digest() for digest in digests[1:]] == [whole.digest()] * 2
        late_whole = hashlib.sha256(block[1000:])
        for _ in range(SIZE // MIB - 1):
            late_whole.update(block)
        assert digests[0].hash.digest() == late_whole.digest()
    assert hashlib.sha256(log.read_bytes()).digest() == whole.digest()


def test_a_reader_that_is_too_slow_is_told_what_it_missed(mute: FakeSerial) -> None:
    with serve(PySerial(url=mute.path, log_file="", memory=MIB)) as client:
        assert isinstance(client, PySerialClient)
        mute.send(b"x" * 4 * MIB, timeout=60)
        while client.status()["end"] < 4 * MIB:
            time.sleep(0.01)
        digest = Digest()
        with client.attach(since=0, follow=False) as attached:
            for item in attached:
                if isinstance(item, Dropped):
                    assert item.offset == 0
                digest.take(item)
        assert digest.dropped >= 3 * MIB
        begin = digest.begin
        assert begin is not None
        assert begin == digest.dropped
        assert digest.dropped + (digest.end - begin) == client.status()["end"]
        with pytest.raises(LookupError, match=r"keeps .* bytes from offset 0 on no more"):
            client.log(since=0)
