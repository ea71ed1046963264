"""Drivers in a process of their own: they are used as any other, and a crash is theirs alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from anyio import BrokenResourceError
from jumpstarter.client.core import DriverError, DriverInvalidArgument
from jumpstarter.client.errors import DeviceAbsent
from jumpstarter.common import utils
from jumpstarter.common.exceptions import ConfigurationError, DeviceAbsentError
from jumpstarter.config.entry import ExporterConfigV1Alpha1DriverInstance as Entry
from jumpstarter.exporter.session import Session
from jumpstarter.streams.common import create_memory_stream
from jumpstarter.streams.portal import shared_portal

pytest.importorskip("jumpstarter_driver_composite", reason="a tree that is read from YAML is one of its composites")

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [HERE, *sys.path])


def entry(**config: Any) -> dict[str, Any]:
    return {"type": "crashdrivers.Crasher", "isolate": "process", "config": config}


def tree(**entries: dict[str, Any]) -> Entry:
    return Entry(children=cast("dict[str, Entry]", entries))


@contextmanager
def serving(**entries: dict[str, Any]) -> Generator[Any]:
    with utils.serve(tree(**entries).instantiate()) as client:
        yield client


def wait_for(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_it_is_used_as_any_other_driver() -> None:
    with serving(one=entry(), two=entry()) as client:
        one, two = client.one.process(), client.two.process()
        assert len({os.getpid(), one, two}) == 3
        assert client.one.lamp.process() == one
        assert client.one.later(timedelta(seconds=2), by=3) == timedelta(seconds=6)
        assert list(client.one.count(5)) == [0, 1, 2, 3, 4]
        with client.one.stream() as stream:
            assert stream.receive() == b"from process %d" % one
        with pytest.raises(DriverInvalidArgument, match=r"^one\.refuse: not today$") as caught:
            client.one.refuse()
        assert not caught.value.causes
        with pytest.raises(DriverInvalidArgument, match="period"):
            client.one.call("later", "when I like")
    wait_for(lambda: not is_alive(one) and not is_alive(two))


@pytest.mark.parametrize("isolate", ["process", None])
def test_methods_of_a_driver_run_at_once_where_its_entry_says_so(isolate: str | None) -> None:
    pipe = {"type": "crashdrivers.Pipe", "isolate": isolate, "concurrent": True}
    with serving(pipe=pipe) as client, ThreadPoolExecutor() as pool:
        waiting = {
            method: pool.submit(call)
            for method, call in {
                "get": lambda: client.pipe.call("get"),
                "get_async": lambda: client.pipe.call("get_async"),
                "items": lambda: next(client.pipe.streamingcall("items")),
            }.items()
        }
        for _ in waiting:
            client.pipe.call("put", "x")
        assert {method: call.result(20) for method, call in waiting.items()} == dict.fromkeys(waiting, "x")


def test_files_that_a_client_offers_are_passed_on() -> None:
    async def size(client: Any, data: bytes) -> int:
        near, far = create_memory_stream()
        async with near, far, client.resource_async(far) as handle:
            await near.send(data)
            await near.send_eof()
            return await client.call_async("size", handle)

    with serving(one=entry()) as client:
        assert client.portal.call(size, client.one, b"x" * 100_000) == 100_000


@pytest.mark.parametrize(("method", "args", "how"), [("segfault", [], "SIGSEGV"), ("exit", [3], "status 3")])
def test_a_crash_ends_its_own_call_and_no_other_driver(method: str, args: list[int], how: str) -> None:
    with serving(bad=entry(), good=entry(), plain={"type": "crashdrivers.Lamp"}) as client:
        before, good = client.bad.process(), client.good.process()
        began = time.monotonic()
        with pytest.raises(DeviceAbsent, match=rf"bad\.{method}: its process .*{how}; call again"):
            client.bad.call(method, *args)
        assert time.monotonic() - began < 5
        assert (client.good.process(), client.plain.process()) == (good, os.getpid())
        assert client.bad.process() not in (before, os.getpid())
        assert client.bad.lamp.process() == client.bad.process()
        assert list(client.bad.count(3)) == [0, 1, 2]


def test_what_runs_when_the_process_is_killed_is_told() -> None:
    with serving(bad=entry()) as client:
        pid = client.bad.process()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.bad.wait)
            with pytest.raises((DriverError, BrokenResourceError), match="SIGKILL"), client.bad.stream() as stream:
                stream.receive()
                os.kill(pid, signal.SIGKILL)
                stream.receive()
            with pytest.raises(DeviceAbsent, match="SIGKILL"):
                waiting.result(10)
        assert client.bad.process() != pid


def test_its_life_is_that_of_any_driver(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def live() -> None:
        async with Session(root_device=tree(one=entry(log=str(log))).instantiate()) as session:
            assert await session.release() == []
            await session.reset()

    shared_portal().call(live)
    assert log.read_text().split() == ["made", "reset", "reset", "release", "reset", "close"]


def test_a_reset_that_fails_says_what_the_driver_said() -> None:
    async def live() -> None:
        async with Session(root_device=tree(one=entry()).instantiate()) as session:
            driver: Any = session.root_device.children["one"]
            await driver.spoil()
            with pytest.raises(OSError, match=r"Input/output error") as caught:
                await session.reset()
            assert "RpcError" not in str(caught.value)

    shared_portal().call(live)


def test_a_process_that_does_not_answer_a_reset_is_ended() -> None:
    async def live() -> None:
        async with Session(root_device=tree(one=entry()).instantiate()) as session:
            driver: Any = session.root_device.children["one"]
            pid: int = await driver.process()
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(DeviceAbsentError, match="did not answer"):
                await session.reset()
            assert not is_alive(pid)
            await session.reset()
            assert await driver.process() != pid

    shared_portal().call(live)


@pytest.mark.slow
def test_a_frozen_process_is_ended_and_what_runs_there_is_told() -> None:
    with serving(bad=entry(), good=entry()) as client:
        pid = client.bad.process()
        client.bad.block(8)  # its event loop, which is no sign of that
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.bad.wait)
            assert client.bad.lamp.process() == pid
            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            assert client.good.process()
            with pytest.raises(DeviceAbsent, match="its process did not answer any more, and was ended; call again"):
                waiting.result(60)
            assert 2 < time.monotonic() - began < 10
        assert not is_alive(pid)
        assert client.bad.process() != pid


@pytest.mark.slow
def test_the_devices_of_a_frozen_process_are_handed_back_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def live() -> int:
        async with Session(root_device=tree(one=entry(log=str(log))).instantiate()) as session:
            driver: Any = session.root_device.children["one"]
            pid: int = await driver.process()
            os.kill(pid, signal.SIGSTOP)
            assert await session.release() == []
            assert "release" in log.read_text().split()  # as a last word of that process, or by the next one
            return pid

    assert not is_alive(shared_portal().call(live))


def test_an_exporter_that_stops_does_not_wait_for_a_process_that_starts(tmp_path: Path) -> None:
    slow, log = tmp_path / "slow", tmp_path / "log"
    with ThreadPoolExecutor(1) as pool:
        with serving(bad=entry(slow=str(slow), log=str(log))) as client:
            slow.touch()
            with pytest.raises(DeviceAbsent, match="SIGSEGV"):
                client.bad.segfault()
            starting = pool.submit(client.bad.settings)
            wait_for(lambda: "waits" in log.read_text(), 60)
            began = time.monotonic()
        assert time.monotonic() - began < 8  # the process had 10 s to begin, and those who use it another 10
        with pytest.raises(DriverError):
            starting.result(60)


def test_its_parameters_arrive_as_they_were_read() -> None:
    text = "{type: crashdrivers.Crasher, isolate: process, config: {share: 1.0e-5, since: 2026-02-03}}"
    with utils.serve(Entry.from_str(f"children: {{one: {text}}}").instantiate()) as client:
        one: Any = client.children["one"]
        assert one.settings() == (1e-5, date(2026, 2, 3))


def test_its_log_is_in_the_name_of_the_driver(caplog: pytest.LogCaptureFixture) -> None:
    with serving(one=entry()) as client:
        client.one.later(timedelta(seconds=1))
        wait_for(lambda: ("driver.Crasher", "later by 2") in [(r.name, r.getMessage()) for r in caplog.records])


def test_its_environment_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JMP_TOKEN", "secret")
    monkeypatch.setenv("JMP_GRPC_PASSPHRASE", "secret")
    with serving(one=entry()) as client:
        assert not [name for name in client.one.environment() if name.startswith("JMP_")]


def test_what_cannot_be_made_is_told_as_without_a_process() -> None:
    with pytest.raises(ConfigurationError, match="it is absent") as caught:
        tree(one=entry(fails="absent")).instantiate()
    assert isinstance(caught.value.__cause__, DeviceAbsentError)
    with pytest.raises(ConfigurationError, match="it is wrong"):
        tree(one=entry(fails="wrong")).instantiate()
    with pytest.raises(ConfigurationError, match="isolate"):
        tree(one={**entry(), "isolate": "thread"}).check()
    with pytest.raises(ConfigurationError, match="'up' below it is a reference"):
        tree(one={**entry(), "children": {"up": {"ref": "two"}}}, two=entry()).check()


def test_it_ends_with_its_exporter() -> None:
    program = (
        f"import sys, time; sys.path.insert(0, {HERE!r})\n"
        "from jumpstarter.config.entry import ExporterConfigV1Alpha1DriverInstance as Entry\n"
        "from jumpstarter.common.utils import serve\n"
        "entry = {'type': 'crashdrivers.Crasher', 'isolate': 'process'}\n"
        "with serve(Entry(children={'one': entry}).instantiate()) as client:\n"
        "    print(client.one.call('process'), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as exporter:
        assert exporter.stdout is not None
        pid = int(exporter.stdout.readline())
        assert is_alive(pid)
        exporter.kill()
    wait_for(lambda: not is_alive(pid))
