"""Uses the three packages on whatever core runs this; says "all is well"."""

import logging
import sys
import tempfile
import time
from pathlib import Path

import click
from jumpstarter.client.core import DriverMethodNotImplemented
from jumpstarter.common import ExporterStatus
from jumpstarter.common.utils import serve
from jumpstarter.config.exporter import ExporterConfigV1Alpha1, ExporterConfigV1Alpha1DriverInstance
from jumpstarter.exporter import Session


def made(config):
    """The tree of a configuration; each core makes it in its own way."""
    if hasattr(config, "instantiate"):
        return config.instantiate()
    return ExporterConfigV1Alpha1DriverInstance(children=config.export).instantiate()


with tempfile.TemporaryDirectory() as folder:
    config = ExporterConfigV1Alpha1.load_path(Path(sys.argv[1]))
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.name, record.getMessage()))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    with serve(made(config)) as client, client.log_stream():
        client.supply.on()
        readings = [(r.voltage, r.current) for r in client.supply.read()]
        assert readings == [(12.0, 1.5)] * 3, readings
        assert client.supply.call("set_limit", 2) == 2.0
        status = client.quiet.call("status")
        assert status == {"on": False, "channel": 2, "limit": 2.5}, status
        try:
            client.quiet.call("set_limit", 2)
        except DriverMethodNotImplemented:
            pass
        else:
            raise AssertionError("an override without @export is exported")
        for name in ("uart0", "uart1", "main"):
            with getattr(client.consoles, name).stream() as stream:
                stream.send(b"hello")
                assert stream.receive() == b"hello"
        assert client.consoles.main.uuid == client.consoles.uart1.uuid
        file = Path(folder) / "file"
        file.write_bytes(b"x" * 200_000)
        assert client.consoles.files.put(file) == 200_000
        with client.consoles.files.banner() as banner:
            assert banner == b"banner\n"
        assert client.harness.bring_up() == "up in 2 steps"
        assert client.harness.plan(2) == [("a", 0.0), ("b", 1.5)] * 2
        assert client.harness.labels["harness.example/mode"] == "slow"
        assert next(client.harness.power.read()).voltage == 12.0
        commands = [sorted(group.list_commands(click.Context(group))) for group in (client.cli(), client.harness.cli())]
        assert commands == [["consoles", "harness", "quiet", "supply"], ["bring-up", "power"]], commands
        deadline = time.monotonic() + 20
        while ("exporter:driver", "stored 200000 bytes") not in lines:
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)
    with Session(root_device=made(config)) as session, session.serve_unix() as path:
        session.update_status(ExporterStatus.LEASE_READY)
        assert Path(path).exists()
sys.stdout.write("all is well\n")
