"""A composite that makes its children itself, and files that come and go."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver, export, exportstream
from jumpstarter.streams.common import create_memory_stream
from jumpstarter_driver_composite.driver import CompositeInterface, Proxy
from jumpstarter_driver_network.driver import EchoNetwork


@dataclass(kw_only=True)
class Consoles(CompositeInterface, Driver):
    count: int = 2
    main: str = "uart0"

    def __post_init__(self):
        super().__post_init__()
        if self.count < 1:
            raise ConfigurationError("count is at least 1")
        for i in range(self.count):
            self.children[f"uart{i}"] = EchoNetwork()
        self.children["main"] = Proxy(ref=f"consoles.{self.main}")
        self.children["files"] = Files()


@dataclass(kw_only=True)
class Files(Driver):
    stored: bytes = field(init=False, default=b"")

    @classmethod
    def client(cls) -> str:
        return "console_driver.client.FilesClient"

    @export
    async def put(self, source: str) -> int:
        data = bytearray()
        async with self.resource(source) as stream:
            async for chunk in stream:
                data += chunk
        self.stored = bytes(data)
        self.logger.warning("stored %d bytes", len(data))
        return len(data)

    @export
    async def get(self, target: str) -> None:
        async with self.resource(target) as stream:
            await stream.send(self.stored)

    @exportstream
    @asynccontextmanager
    async def connect(self):
        ours, theirs = create_memory_stream()
        async with theirs:
            await theirs.send(b"banner\n")
            yield ours
