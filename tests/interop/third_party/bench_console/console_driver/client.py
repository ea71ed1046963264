from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from anyio.streams.file import FileReadStream
from jumpstarter.client import DriverClient
from jumpstarter.client.adapters import blocking
from jumpstarter.client.decorators import driver_click_group


class Readable(FileReadStream):
    async def send(self, item):
        raise RuntimeError("read only")

    async def send_eof(self):
        pass


@blocking
@asynccontextmanager
async def offered(*, client, path):
    async with await Readable.from_path(Path(path)) as file, client.resource_async(file) as handle:
        yield handle


@dataclass(kw_only=True)
class FilesClient(DriverClient):
    def put(self, path):
        with offered(client=self, path=path) as handle:
            return int(self.call("put", handle))

    @contextmanager
    def banner(self):
        with self.stream() as stream:
            yield stream.receive()

    def cli(self):
        @driver_click_group(self)
        def base():
            """Files behind the adapter"""

        @base.command()
        @click.argument("path", type=click.Path(exists=True))
        def put(path):
            """Store a file"""
            click.echo(f"{self.put(path)} bytes")

        return base
