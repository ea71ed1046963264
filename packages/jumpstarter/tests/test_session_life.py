"""The sessions of an exporter, whatever ends them."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path
from typing import Never

import pytest
from anyio import CancelScope, fail_after
from jumpstarter.client.errors import DriverError
from jumpstarter.common.utils import serve
from jumpstarter.config.hooks import HookConfigV1Alpha1, HookInstanceConfigV1Alpha1
from jumpstarter.driver import Driver, export
from jumpstarter.driver.table import exported_methods
from jumpstarter.exporter.leasehooks import LeaseHooks
from jumpstarter.exporter.life import SessionLife
from jumpstarter.exporter.ownership import Ownership
from jumpstarter.exporter.session import Session


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Switch(Driver):
    """A switch with a method that takes as long as it is let."""

    release_default = "off"

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.began, self.gate = threading.Event(), threading.Event()
        self.events: list[str] = []

    @export
    def hold(self) -> None:
        self.began.set()
        self.gate.wait(0.2)
        self.events.append("held")

    @export
    def off(self) -> None:
        self.events.append("off")


@pytest.mark.anyio
async def test_an_exporter_that_is_cancelled_takes_its_devices_back_all_the_same() -> None:
    switch, ownership = Switch(), Ownership()
    call: asyncio.Task[None] | None = None

    async def hold(session: Session) -> None:
        tenure = ownership.admit(None, "me")
        assert tenure is not None
        with tenure:
            await session.calls.call(switch, exported_methods(Switch)["hold"], ((switch,), {}))

    with fail_after(60):
        async with Session(root_device=switch) as session:
            life = SessionLife(session, ownership, LeaseHooks(session, HookConfigV1Alpha1(), "bench"))
            with CancelScope() as scope:
                async with life.running():
                    await life.offered()
                    call = asyncio.create_task(hold(session))
                    await asyncio.to_thread(switch.began.wait, 5)
                    scope.cancel()
                    await asyncio.sleep(5)
            assert call is not None
            await asyncio.wait([call])
            await session.calls.settle()
            session.calls.close()
    assert switch.events == ["held", "off"]


def marks(state: Path) -> list[Path]:
    return list(state.rglob("*.*"))


@pytest.mark.anyio
async def test_the_first_call_finds_the_mark_of_an_exporter_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ownership = Ownership()
    with fail_after(60):
        async with Session(root_device=Switch(), config="bench.yaml") as session:
            life = SessionLife(session, ownership, LeaseHooks(session, HookConfigV1Alpha1(), "bench"))
            async with life.running():
                await life.offered()
                assert marks(tmp_path) == []
                tenure = ownership.admit(None, "me")
                assert len(marks(tmp_path)) == 1  # no other task has run since
                assert tenure is not None
                ownership.end(tenure, "that is all")
            session.calls.close()
    assert marks(tmp_path) == []


@pytest.mark.anyio
async def test_a_hook_for_which_there_is_no_socket_fails_and_the_devices_are_handed_back() -> None:
    class Crowded(Session):
        def serve_unix_async(self, *_: object, **__: object) -> Never:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise OSError(errno.ENOSPC, "no space left on device")

    switch, ownership = Switch(), Ownership()
    config = HookConfigV1Alpha1(after_lease=HookInstanceConfigV1Alpha1(script="true"))
    with fail_after(60):
        async with Crowded(root_device=switch) as session:
            life = SessionLife(session, ownership, LeaseHooks(session, config, "bench"))
            async with life.running():
                await life.offered()
                tenure = ownership.admit(None, "me")
                assert tenure is not None
                ownership.end(tenure, "that is all")
                await ownership.changes.until(lambda: tenure.is_settled)
            session.calls.close()
    assert switch.events == ["off"]
    assert tenure.failures == ["afterLease hook cannot run: no space left on device; check hooks.afterLease"]


@pytest.mark.parametrize("error", [OSError("no label"), SystemExit("no label")])
def test_a_driver_that_fails_to_name_its_labels_keeps_nobody_from_the_others(error: BaseException) -> None:
    class Unlabelled(Switch):
        def extra_labels(self) -> dict[str, str]:
            raise error

    with serve(Switch(children={"a": Unlabelled(), "b": Switch()})) as client:
        assert list(client.children) == ["a", "b"]


def test_a_driver_that_fails_to_report_ends_no_event_loop() -> None:
    class Silent(Switch):
        def report(self, **_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] the fault
            raise SystemExit("no report")

    with pytest.raises(DriverError, match="no report"), serve(Silent()):
        pass
