"""Random histories of leases, and what must hold in all of them.

An exporter and a controller live through seeded steps: leases come, go, flap and come again, clients work, vanish, end
their sessions and come back too late, the controller is away for a moment. What the board noted decides:

* SAFE: without a lease, it is off and nothing runs on it.
* EXCL: what runs belongs to the lease of now; between two leases, the board was handed back.
* ONCE: a call that was answered ran once, any other one at most once.
* LIVE: whoever has the lease is served, and who has none can have one.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from anyio import to_thread
from fakecontroller import FakeController
from fakestate import Lease
from google.protobuf.struct_pb2 import Value
from jumpstarter.client.connection import Stub
from jumpstarter.config.exporter import ExporterConfigV1Alpha1, ObjectMeta, TLSConfigV1Alpha1
from jumpstarter.config.hooks import HookConfigV1Alpha1
from jumpstarter.driver import Driver, export
from jumpstarter.exporter.controller import Controller
from jumpstarter.exporter.gate import Gate
from jumpstarter.exporter.leasehooks import LeaseHooks
from jumpstarter.exporter.leases import LeaseLife
from jumpstarter.exporter.session import Session
from jumpstarter_protocol.jumpstarter.v1 import jumpstarter_pb2 as pb

SEEDS = int(os.environ.get("JMP_TEST_SEEDS", "200"))
STEPS = int(os.environ.get("JMP_TEST_STEPS", "50"))
FIRST = int(os.environ.get("JMP_TEST_SEED", "0"))
"""The seed of a history that failed is printed; with this one and JMP_TEST_SEEDS=1 it is lived through again."""

GROUPS = 4
PATIENCE = 20.0


@dataclass(kw_only=True)
class Board(Driver):
    """Handed back by switching it off; notes what is done to it, and for whom."""

    release_default = "off"

    events: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"

    @export
    def on(self, tag: str) -> None:
        self.events.append(("on", tag))

    @export(urgent=True)
    def off(self) -> None:
        self.events.append(("off", ""))

    @export
    async def work(self, tag: str) -> None:
        """Something that takes a moment."""
        self.events.append(("began", tag))
        try:
            await anyio.sleep(0.01)
        finally:
            self.events.append(("ended", tag))


class WatchedSession(Session):
    """Knows where the clients of each lease get in."""

    def watch(self) -> dict[str, Path]:
        self.sockets = dict[str, Path]()
        return self.sockets

    @asynccontextmanager
    async def serve_unix_async(
        self, path: str | os.PathLike[str] | None = None, *, gate: Gate | None = None
    ) -> AsyncGenerator[Path]:
        tenure: Any = getattr(gate, "_tenure", None)
        async with super().serve_unix_async(path, gate=gate) as found:
            self.sockets[tenure.holder.principal] = found
            yield found


class Client:
    """One connection of the client of a lease."""

    def __init__(self, lease: str, number: int, socket: Path, board: str) -> None:
        self.lease, self._board = lease, board
        self._tag, self._count, self._is_gone = f"{lease}/{number}", 0, False
        self._channel: Any = grpc.aio.insecure_channel(
            f"unix:{socket}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub: Any = Stub(self._channel)

    def tag(self) -> str:
        self._count += 1
        return f"{self._tag}/{self._count}"

    async def call(self, method: str, tag: str) -> bool:
        """Whether the call was answered with success."""
        request = pb.DriverCallRequest(uuid=self._board, method=method, args=[Value(string_value=tag)])
        return await self.ask(self.stub.DriverCall, request)

    async def ask(self, method: Any, request: Any) -> bool:
        """Whether a call is answered with success."""
        if self._is_gone:
            return False
        return await method(request, timeout=PATIENCE).code() is grpc.StatusCode.OK  # raises nothing, whatever happens

    async def close(self) -> None:
        self._is_gone = True
        await self._channel.close(None)


class History:
    """One exporter and its leases, by one seed."""

    def __init__(self, seed: int, fake: FakeController) -> None:
        self.random = random.Random(seed)
        self.name = f"board{seed}"
        self.fake = fake
        self.exporter = fake.add_exporter(self.name)
        self.board = Board()
        self.session = WatchedSession(root_device=self.board)
        self.sockets = self.session.watch()
        config = ExporterConfigV1Alpha1(
            metadata=ObjectMeta(namespace="default", name=self.name),
            endpoint=fake.endpoint,
            token=self.exporter.token,
            tls=TLSConfigV1Alpha1(ca=fake.ca),
        )
        self.controller = Controller(config, self.session)
        hooks = LeaseHooks(self.session, HookConfigV1Alpha1(), self.name)
        self.life = LeaseLife(config, self.session, self.controller, hooks)
        self.lease: Lease | None = None
        self.order: list[str] = []
        """Names of the leases as the controller gave them; one that came back is there again."""
        self.clients: list[Client] = []
        self.answered: set[str] = set()
        self.calls: list[tuple[Client, str, str]] = []
        self.made = self.connections = 0
        self.steps: dict[Callable[[Any], Awaitable[None]], float] = {
            self.give: 6,
            self.take: 3,
            self.flap: 3,
            self.again: 1,
            self.work: 12,
            self.late: 4,
            self.vanish: 2,
            self.end: 1,
            self.blip: 1,
            self.outage: 0.5,
            self.reset: 1,
            self.settle: 2,
        }
        """How often each is taken, compared with the others."""

    async def live(self, steps: int) -> None:
        """Live through so many steps, and an end in which all is quiet."""
        async with self.session, anyio.create_task_group() as tasks:
            async with self.controller.line():
                tasks.start_soon(self.life.run)
                await self.until(lambda: self.exporter.can_be_leased, "registered")
                for _ in range(steps):
                    step = self.random.choices(list(self.steps), list(self.steps.values()))[0]
                    await step(tasks)
                await self.settle(tasks)
                await self.take(tasks)
                await self.settle(tasks)
                self.life.stop()
            for client in self.clients:
                await client.close()
        self.check()

    # steps

    async def give(self, tasks: Any) -> None:
        """The controller gives the exporter to somebody."""
        if self.lease is None or self.lease.ended is not None:
            self.made += 1
            self.lease = self.fake.lease(self.name, "alice", name=f"{self.name}-{self.made}")

    async def take(self, tasks: Any) -> None:
        """The controller takes the lease back."""
        if self.lease is not None:
            self.fake.end_lease(self.lease.name)

    async def flap(self, tasks: Any) -> None:
        """One lease follows on another, so fast that the time between is not seen."""
        with self.fake.state.changed:
            await self.take(tasks)
            await self.give(tasks)

    async def again(self, tasks: Any) -> None:
        """A lease that has ended is there again."""
        lease = self.lease
        if lease is not None and lease.ended is not None and self.exporter.can_be_leased and lease.exporter is not None:
            with self.fake.state.changed:
                lease.ended = None
                self.fake.state.schedule()

    async def _connect(self) -> Client | None:
        """A client of the lease of now, as soon as the exporter serves it."""
        lease = self.lease
        if lease is None or lease.ended is not None:
            return None
        with anyio.move_on_after(0.2):
            while lease.name not in self.sockets:  # noqa: ASYNC110 it may never come
                await anyio.sleep(0.002)
            self.connections += 1
            client = Client(lease.name, self.connections, self.sockets[lease.name], str(self.board.uuid))
            self.clients.append(client)
            return client
        return None

    async def work(self, tasks: Any) -> None:
        """A client does something, and waits for it or not."""
        mine = [client for client in self.clients if self.lease is not None and client.lease == self.lease.name]
        client = self.random.choice(mine) if mine and self.random.random() < 0.7 else await self._connect()
        if client is not None:
            await self._call(client, self.random.choice(["on", "work"]), tasks, waits=self.random.random() < 0.5)

    async def late(self, tasks: Any) -> None:
        """Whoever had a lease at some time tries to go on."""
        if self.clients:
            await self._call(self.random.choice(self.clients), "on", tasks, waits=True)

    async def _call(self, client: Client, method: str, tasks: Any, *, waits: bool) -> None:
        tag = client.tag()
        self.calls.append((client, method, tag))

        async def run() -> None:
            if await client.call(method, tag):
                self.answered.add(tag)

        if waits:
            await run()
        else:
            tasks.start_soon(run)

    async def vanish(self, tasks: Any) -> None:
        """A client is gone without a word."""
        if self.clients:
            await self.clients.pop(self.random.randrange(len(self.clients))).close()

    async def end(self, tasks: Any) -> None:
        """A client ends its session, and with it the lease."""
        client = await self._connect()
        if client is not None:
            await client.ask(client.stub.EndSession, pb.EndSessionRequest())

    async def blip(self, tasks: Any) -> None:
        """The controller breaks off what it says."""
        self.fake.faults["Status.end"] = lambda context: None
        with self.fake.state.changed:
            self.fake.state.changed.notify_all()
        await anyio.sleep(0.01)
        self.fake.heal("Status.end")

    async def outage(self, tasks: Any) -> None:
        """The controller is gone, and back."""
        await to_thread.run_sync(self.fake.stop)
        await anyio.sleep(self.random.random() * 0.02)
        await to_thread.run_sync(self.fake.start)

    async def reset(self, tasks: Any) -> None:
        """Somebody resets the devices, or tries to."""
        if self.clients:
            client = self.random.choice(self.clients)
            await client.ask(client.stub.Reset, pb.ResetRequest())

    async def settle(self, tasks: Any) -> None:
        """All that was said has arrived: now the exporter is as the controller wants it."""
        with anyio.move_on_after(PATIENCE):
            while not await self._is_well(tasks):  # noqa: ASYNC110 it takes steps of its own
                await anyio.sleep(0.01)  # what the exporter has still to hear of may change all that
            return
        raise AssertionError(f"{self.name} does not serve the lease it has")

    async def _is_well(self, tasks: Any) -> bool:
        await self.until(self._is_settled, "settled")
        if self.fake.state.lease_of(self.exporter) is None:
            assert self.is_safe(), self.board.events[-5:]
            return True
        client = await self._connect()
        if client is None:
            return False
        before = len(self.answered)
        await self._call(client, "on", tasks, waits=True)
        return len(self.answered) > before

    def _is_settled(self) -> bool:
        lease, assignment = self.fake.state.lease_of(self.exporter), self.controller.assignment
        status = self.session.status.current.status.name
        if lease is None:
            return assignment is None and status == "AVAILABLE" and self.exporter.can_be_leased
        known = assignment is not None and assignment.lease == lease.name
        holder = self.session.status.current.holder
        return known and status == "LEASE_READY" and holder is not None and holder.principal == lease.name

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        with anyio.move_on_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 of several threads
                await anyio.sleep(0.002)
            return
        lease = self.fake.state.lease_of(self.exporter)
        raise AssertionError(
            f"{self.name} is not {what}: lease {lease and lease.name}, {self.controller.assignment}, "
            f"{self.session.status.current}, {self.fake.statuses(self.name)[-5:]}"
        )

    # what must have held

    def is_safe(self) -> bool:
        switched = [event for event, _ in self.board.events if event in ("on", "off")]
        running = Counter(event for event, _ in self.board.events)
        return switched[-1:] != ["on"] and running["began"] == running["ended"]

    def check(self) -> None:
        """Look at what the board noted."""
        assert self.is_safe(), self.board.events[-5:]
        self._check_exclusive()
        ran = Counter(tag for event, tag in self.board.events if event in ("on", "began"))
        for _, _, tag in self.calls:
            assert ran[tag] == 1 if tag in self.answered else ran[tag] <= 1, (tag, ran[tag], tag in self.answered)

    def _check_exclusive(self) -> None:
        holder, was_handed_back, running = "", True, set[str]()
        for event, tag in self.board.events:
            lease = tag.partition("/")[0]
            if event == "off":
                assert not running, f"handed back while {running} ran"
                was_handed_back = True
                continue
            if event == "ended":
                assert lease == holder, f"{tag} ended in {holder}"
                running.discard(tag)
                continue
            assert lease == holder or was_handed_back, f"{tag} ran while {holder} had the board"
            holder, was_handed_back = lease, False
            if event == "began":
                running.add(tag)


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outages are over soon."""
    for module in ("controller", "tunnels"):
        monkeypatch.setattr(f"jumpstarter.exporter.{module}.CONTROLLER_RETRY", (0.005, 0.05))


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("group", range(GROUPS))
def test_histories_of_leases(controller: FakeController, group: int):
    seeds = range(FIRST, FIRST + SEEDS)[group::GROUPS]

    done = Counter[str]()

    async def live_all() -> None:
        for seed in seeds:
            history = History(seed, controller)
            try:
                with anyio.fail_after(120):
                    await history.live(STEPS)
            except BaseException as e:
                e.add_note(f"seed {seed}: JMP_TEST_SEED={seed} JMP_TEST_SEEDS=1 lives through it again")
                raise

            done.update(leases=history.made, answered=len(history.answered), served=len(history.sockets))
            done.update(refused=len(history.calls) - len(history.answered))

    anyio.run(live_all)
    assert all(count >= len(seeds) for count in done.values()), done  # it was a life


def test_the_check_sees_what_must_not_be(controller: FakeController):
    """The mutants of a history: what an exporter did that gave its board to two, or called twice."""
    history = History(-1, controller)
    noted = history.board.events

    def refused(*events: tuple[str, str]) -> bool:
        noted[:] = events
        try:
            history.check()
        except AssertionError:
            return True
        return False

    assert not refused(("on", "a/0/1"), ("off", ""), ("on", "b/0/1"), ("off", ""))
    assert refused(("on", "a/0/1"), ("on", "b/0/1"), ("off", ""))
    assert refused(("on", "a/0/1"), ("off", ""), ("began", "b/0/1"), ("off", ""), ("ended", "b/0/1"), ("off", ""))
    assert refused(("off", ""), ("on", "a/0/1"))
    client: Any = None
    history.calls.append((client, "on", "a/0/1"))
    history.answered.add("a/0/1")
    assert refused(("off", ""))
    assert refused(("on", "a/0/1"), ("on", "a/0/1"), ("off", ""))
