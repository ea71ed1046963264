"""An ssh server behind a driver's stream as a fabric connection."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jumpstarter.common.exceptions import ArgumentError

from .portforward import TcpPortforwardAdapter

if TYPE_CHECKING:
    from jumpstarter.client import DriverClient


@contextmanager
def FabricAdapter(
    *,
    client: "DriverClient",
    method: str = "connect",
    user: str | None = None,
    config: Any = None,
    forward_agent: bool | None = None,
    connect_timeout: int | None = None,
    connect_kwargs: dict[str, Any] | None = None,
    inline_ssh_env: bool | None = None,
) -> Generator[Any]:
    """A `fabric.Connection` to the ssh server, closed at the end; what is not given here is as in fabric.

    It connects when it is first used. Needs the extra `fabric` of this package.
    """
    try:
        from fabric.connection import Connection  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
    except ModuleNotFoundError as e:
        raise ArgumentError(
            f"a fabric connection needs more packages ({e}); run: pip install 'jumpstarter-driver-network[fabric]'"
        ) from e
    with TcpPortforwardAdapter(client=client, method=method) as (host, port):
        connection: Any = Connection(
            host,
            user=user,
            port=port,
            config=config,
            forward_agent=forward_agent,
            connect_timeout=connect_timeout,
            connect_kwargs=connect_kwargs,
            inline_ssh_env=inline_ssh_env,
        )
        try:
            yield connection
        finally:
            connection.close()
