"""What the fault tests share: one exporter per test, on a unix socket or a TCP port."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the modules beside this one

from processes import CONFIG, Bench  # noqa: E402

if TYPE_CHECKING:
    from tests.conftest import Lab

TCP = ("--tls-grpc-listener", "0", "--tls-grpc-insecure")

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # they look into /proc

StartBench = Callable[..., AbstractContextManager[Bench]]


@pytest.fixture
def start(lab: Lab, request: pytest.FixtureRequest) -> StartBench:
    """Start an exporter: `start(transport, port)`, with the port of the service that its driver `net` reaches."""
    lab.environment |= {"PYTHONPATH": str(HERE), "TMPDIR": str(lab.directory)}

    @contextmanager
    def started(transport: str, port: int = 9, *options: str, listener: tuple[str, ...] = TCP) -> Generator[Bench]:
        record = lab.directory / f"record-{transport}"
        config = lab.write(f"faults-{transport}", CONFIG.format(port=port, record=record))
        authority, arguments = None, listener if transport == "tcp" else ()
        if transport == "tls":
            authority, key = request.getfixturevalue("certificate")
            arguments = (*listener[:2], "--tls-cert", str(authority), "--tls-key", str(key))
        with lab.exporter(*options, *arguments, config=config) as exporter:
            yield Bench(lab, exporter, record, authority)

    return started


@pytest.fixture(params=["unix", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    """How client and exporter are connected."""
    return request.param


@pytest.fixture
def bench(start: StartBench, transport: str) -> Generator[Bench]:
    """An exporter without a service behind it."""
    with start(transport) as bench:
        yield bench
