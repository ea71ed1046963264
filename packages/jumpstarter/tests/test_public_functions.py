"""What code for the public release calls beside drivers and clients: it does here what it does there."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import anyio
import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from jumpstarter.client.grpc import MultipathExporterStub
from jumpstarter.client.selectors import extract_match_labels_filter, parse_label_selector, selector_contains
from jumpstarter.client.status_monitor import StatusMonitor
from jumpstarter.common import ExporterStatus, LogSource
from jumpstarter.common.exceptions import ArgumentError, ConfigurationError, ConnectionError
from jumpstarter.common.grpc import translate_grpc_exceptions
from jumpstarter.common.importlib import cached_import
from jumpstarter.common.utils import lease_ending_handler, serve
from jumpstarter.driver import Driver, export
from jumpstarter.exporter import Session
from jumpstarter.exporter.auth import PassphraseInterceptor, passphrase_client_interceptors
from jumpstarter.exporter.logging import get_logger
from jumpstarter.streams.aiohttp import AiohttpStreamReaderStream
from jumpstarter.streams.encoding import COMPRESSION_SIGNATURES, Compression, compressor
from jumpstarter.streams.portal import shared_portal
from jumpstarter.utils.env import env_with_metadata_async

READY, AFTER, FAILED = (
    ExporterStatus.LEASE_READY,
    ExporterStatus.AFTER_LEASE_HOOK,
    ExporterStatus.AFTER_LEASE_HOOK_FAILED,
)


class Lamp(Driver):
    """Can be switched on."""

    @export
    def on(self) -> int:
        logging.getLogger("our.hook.part").warning("said by a hook")
        return 1


# selectors


def test_selectors_are_taken_apart():
    labels, others = parse_label_selector("board=rpi4, site==a,!broken,usb,arch in (arm64, x86), rack notin (1),lab!=b")
    assert labels == {"board": "rpi4", "site": "a"}
    assert [(key, operator, sorted(values)) for key, operator, values in others] == [
        ("broken", "DoesNotExist", []),
        ("usb", "Exists", []),
        ("arch", "In", ["arm64", "x86"]),
        ("rack", "NotIn", ["1"]),
        ("lab", "NotIn", ["b"]),
    ]
    assert parse_label_selector(None) == parse_label_selector("") == ({}, [])
    assert extract_match_labels_filter("board=rpi4,!broken,site=a") == "board=rpi4,site=a"
    assert extract_match_labels_filter("!broken") is None


@pytest.mark.parametrize("text", ["a=b c", "=b", "a in b", "a=1,a=2", "!", "a in (b"])
def test_texts_that_are_no_selectors(text: str):
    with pytest.raises(ArgumentError):
        parse_label_selector(text)


def test_one_selector_wants_what_another_one_does():
    assert selector_contains("board=rpi4,arch in (a,b),!broken", "arch in (b, a),board=rpi4")
    assert selector_contains("board=rpi4", None)
    assert not selector_contains("board=rpi4", "board=rpi4,!broken")
    assert not selector_contains("board=rpi5", "board=rpi4")


# status


def test_a_monitor_knows_the_status_and_every_change_of_it():
    async def follow() -> None:
        async with (
            Session(root_device=Lamp()) as session,
            session.serve_unix_async() as path,
            grpc.aio.insecure_channel(f"unix:{path}") as channel,
            anyio.create_task_group() as tasks,
        ):
            monitor = StatusMonitor(MultipathExporterStub([channel]))
            seen: list[tuple[ExporterStatus | None, ExporterStatus]] = []
            monitor.on_status_change(lambda old, new: seen.append((old, new)))
            await monitor.start(tasks)
            assert await monitor.wait_for_any_of([ExporterStatus.AVAILABLE], 20) is ExporterStatus.AVAILABLE
            assert not await monitor.wait_for_status(READY, 0.05)
            session.update_status(READY, "go")
            assert await monitor.wait_for_status(READY, 20)
            assert (monitor.current_status, monitor.status_message, monitor.missed_transitions) == (READY, "go", 0)
            assert monitor.previous_status is ExporterStatus.AVAILABLE
            session.update_status(AFTER)
            session.update_status(FAILED)
            assert await monitor.wait_for_any_of([FAILED, ExporterStatus.OFFLINE], 20) is FAILED
            assert seen[0] == (None, ExporterStatus.AVAILABLE)
            assert [new for _, new in seen] == [ExporterStatus.AVAILABLE, READY, AFTER, FAILED]
            await monitor.stop()

    anyio.run(follow)


def test_a_monitor_of_an_exporter_that_is_gone_keeps_nobody():
    async def follow() -> None:
        async with grpc.aio.insecure_channel("unix:/nonexistent") as channel, anyio.create_task_group() as tasks:
            monitor = StatusMonitor(MultipathExporterStub([channel]))
            await monitor.start(tasks)
            assert not await monitor.wait_for_status(READY, 60)
            assert monitor.connection_lost

    anyio.run(follow)


def test_a_client_waits_until_the_lease_is_ready():
    with serve(Lamp()) as client:
        client.portal.call(client.wait_for_lease_ready)
        assert client.portal.call(client.wait_for_hook_status, READY)
        assert not client.portal.call(client.wait_for_hook_status, AFTER, 0.05)


# channels


def test_errors_of_grpc_and_of_values_are_ours():
    async def call() -> None:
        async with grpc.aio.insecure_channel("unix:/nonexistent") as channel:
            with pytest.raises(ConnectionError, match=r"\w"), translate_grpc_exceptions():
                await MultipathExporterStub([channel]).GetReport(Empty(), timeout=20)

    anyio.run(call)
    with pytest.raises(ConfigurationError, match="wrong"), translate_grpc_exceptions():
        raise ValueError("wrong")
    with pytest.raises(ValueError, match="no channel"):
        MultipathExporterStub([])


def test_calls_of_all_kinds_carry_the_passphrase():
    async def call() -> None:
        interceptors = [PassphraseInterceptor("secret")]
        async with (
            Session(root_device=Lamp()) as session,
            session.serve_tcp_async("127.0.0.1", 0, interceptors=interceptors) as port,
        ):
            for passphrase, is_let_in in (("secret", True), ("other", False)):
                carriers: Any = passphrase_client_interceptors(passphrase)
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=carriers) as channel:
                    stub = MultipathExporterStub([channel])
                    calls = [stub.GetReport(Empty(), timeout=20), stub.Stream(iter(()), timeout=20)]
                    codes = [await call.code() for call in calls]
                refused = grpc.StatusCode.UNAUTHENTICATED
                assert [code is not refused for code in codes] == [is_let_in] * 2, codes

    anyio.run(call)


# the rest


def test_lines_of_a_logger_are_of_the_source_that_it_was_given():
    async def sources(session: Session) -> set[LogSource]:
        found: set[LogSource] = set()
        with anyio.move_on_after(0.05):
            async for line in session.log.read():
                if line.message.startswith("said by"):
                    found.add(line.source)
        return found

    with Session(root_device=Lamp()) as session:
        logger = get_logger("our.hook", LogSource.BEFORE_LEASE_HOOK, session)
        logger.warning("said by the logger")
        logging.getLogger("our.hook.part").warning("said by one below it")
        assert anyio.run(sources, session) == {LogSource.BEFORE_LEASE_HOOK}
        with session.context_log_source("our.hook.part", LogSource.AFTER_LEASE_HOOK):
            logging.getLogger("our.hook.part").warning("said by one of its own")
        assert anyio.run(sources, session) == {LogSource.BEFORE_LEASE_HOOK, LogSource.AFTER_LEASE_HOOK}
    with Session(root_device=Lamp()) as another:
        logger.warning("said by nobody")
        assert anyio.run(sources, another) == {LogSource.SYSTEM}


def test_what_is_compressed_begins_as_the_table_says(encoding: Compression):
    making = compressor(encoding)
    assert (making.compress(b"x") + making.flush()).startswith(COMPRESSION_SIGNATURES[encoding])


def test_a_shell_of_another_program_has_the_devices():
    with Session(root_device=Lamp()) as session, session.serve_unix() as path:
        session.update_status(READY)
        launch = (
            "import sys; from jumpstarter.common.utils import launch_shell\n"
            "sys.exit(launch_shell(sys.argv[1], 'bench', ['a.*'], True, False, command=sys.argv[2:]))"
        )
        use = (
            "import os, sys; from jumpstarter.common.utils import env_with_metadata\n"
            "with env_with_metadata() as (client, exporter): client.call('on'); print(exporter.name)\n"
            "print(os.environ['JMP_DRIVERS_ALLOW']); sys.exit(3)"
        )
        command = [sys.executable, "-c", launch, str(path), sys.executable, "-c", use]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.split()) == (3, ["bench", "UNSAFE"]), done.stderr


def test_the_end_of_a_lease_hangs_up_on_a_process(capsys: pytest.CaptureFixture[str]):
    lease: Any = type("Lease", (), {"name": "one"})()
    with subprocess.Popen(["sleep", "60"]) as process:
        lease_ending_handler(process, lease, timedelta(minutes=5))
        assert "lease one ends in 5m" in capsys.readouterr().err
        assert process.poll() is None
        lease_ending_handler(process, lease, timedelta())
        assert process.wait(20) == -1


def test_the_session_of_the_environment_from_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    with Session(root_device=Lamp()) as session, session.serve_unix() as path, ExitStack() as stack:
        session.update_status(READY)
        monkeypatch.setenv("JUMPSTARTER_HOST", str(path))
        monkeypatch.setenv("JMP_EXPORTER", "bench")
        monkeypatch.setenv("JMP_DRIVERS_ALLOW", "UNSAFE")
        portal = shared_portal()
        with portal.wrap_async_context_manager(env_with_metadata_async(portal, stack)) as (client, exporter):
            assert client.call("on") == 1
            assert exporter.name == "bench"


def test_the_body_of_a_message_is_received():
    class Reader(asyncio.StreamReader):
        async def readany(self) -> bytes:  # as aiohttp's has it
            return await self.read(4)

    async def receive() -> bytes:
        reader: Any = Reader()
        reader.feed_data(b"content")
        reader.feed_eof()
        stream = AiohttpStreamReaderStream(reader=reader)
        with pytest.raises(NotImplementedError):
            await stream.send(b"x")
        return b"".join([data async for data in stream])

    assert anyio.run(receive) == b"content"


def test_a_class_is_found_by_its_names():
    assert cached_import("jumpstarter.exporter.session", "Session") is Session
