"""What the fault tests share: one exporter per test, on a unix socket or a TCP port."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for the modules beside this one

import flashbench  # noqa: E402
from processes import CONFIG, Bench  # noqa: E402

if TYPE_CHECKING:
    from tests.conftest import Lab

TCP = ("--tls-grpc-listener", "0", "--tls-grpc-insecure")

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # they look into /proc

StartBench = Callable[..., AbstractContextManager[Bench]]


@pytest.fixture
def start(lab: Lab, request: pytest.FixtureRequest) -> StartBench:
    """Start an exporter: `start(transport, port)`, with the port of the service that its driver `net` reaches."""
    path = os.pathsep.join(filter(None, (lab.environment.get("PYTHONPATH"), str(HERE))))
    lab.environment |= {"PYTHONPATH": path, "TMPDIR": str(lab.directory)}

    @contextmanager
    def started(transport: str, port: int = 9, *options: str, listener: tuple[str, ...] = TCP) -> Generator[Bench]:
        record = lab.directory / f"record-{transport}"
        config = lab.write(f"faults-{transport}", CONFIG.format(port=port, record=record))
        authority, arguments = _listening(request, transport, listener)
        with lab.exporter(*options, *arguments, config=config) as exporter:
            yield Bench(lab, exporter, record, authority)

    return started


def _listening(
    request: pytest.FixtureRequest, transport: str, listener: tuple[str, ...] = TCP
) -> tuple[Path | None, tuple[str, ...]]:
    """The certificate to trust, and the options of an exporter that is reached in that way."""
    if transport != "tls":
        return None, listener if transport == "tcp" else ()
    authority, key = request.getfixturevalue("certificate")
    return authority, (*listener[:2], "--tls-cert", str(authority), "--tls-key", str(key))


@pytest.fixture(params=["unix", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    """How client and exporter are connected."""
    return request.param


@pytest.fixture
def bench(start: StartBench, transport: str) -> Generator[Bench]:
    """An exporter without a service behind it."""
    with start(transport) as bench:
        yield bench


@pytest.fixture
def medium(lab: Lab) -> Path:
    """The file that stands for a medium."""
    return lab.directory / "medium.img"


@pytest.fixture
def image(lab: Lab) -> Path:
    """An image of 24 MiB without zeros."""
    path = lab.directory / "image"
    path.write_bytes(os.urandom(24 << 20))
    return path


@pytest.fixture
def flashing(lab: Lab, medium: Path, request: pytest.FixtureRequest) -> flashbench.Flashing:
    """Start an exporter of the medium: `flashing(transport, fault=..., slow=microseconds, more=configuration)`."""

    @contextmanager
    def started(transport: str = "unix", *, fault: str = "", slow: int = 0, more: str = "") -> Generator[Bench]:
        faults: dict[str, str] = {}
        if fault or slow:
            faults = {"LD_PRELOAD": str(request.getfixturevalue("disk_faults")), "DISK_PATH": medium.name}
            faults |= ({"DISK_FAULT": fault} if fault else {}) | ({"DISK_SLOW": str(slow)} if slow else {})
        config = lab.write("flashing", flashbench.CONFIG.format(medium=medium, more=more))
        authority, options = _listening(request, transport)
        with lab.exporter(*options, config=config, **faults) as exporter:
            yield Bench(lab, exporter, lab.directory / "record", authority)

    return started
