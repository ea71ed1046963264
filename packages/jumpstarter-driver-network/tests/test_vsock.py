"""Ports of virtual machines."""

from __future__ import annotations

import socket
import threading
from contextlib import AbstractContextManager
from typing import Any

import pytest
from jumpstarter.client.core import DriverError
from jumpstarter.common import utils
from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.driver import Driver
from jumpstarter_driver_network.driver import VsockNetwork

if not hasattr(socket, "AF_VSOCK"):
    pytest.skip("vsock is a kind of socket that only Linux has", allow_module_level=True)

THIS_HOST = 1
"""VMADDR_CID_LOCAL: the loopback of vsock(7), which the kernel module vsock_loopback brings."""


def serve(root: Driver) -> AbstractContextManager[Any]:
    """As the public function; the methods of a client are known at run time only."""
    return utils.serve(root)


def test_bytes_pass_both_ways_and_so_does_the_end() -> None:
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
        try:
            listener.bind((THIS_HOST, socket.VMADDR_PORT_ANY))
        except OSError as e:
            pytest.skip(f"the kernel has no vsock loopback here ({e}); modprobe vsock_loopback")
        listener.listen()
        listener.settimeout(60)

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                name = b"".join(iter(lambda: connection.recv(100), b""))
                connection.sendall(b"hello " + name)

        service = threading.Thread(target=greet, daemon=True)
        service.start()
        with serve(VsockNetwork(cid=THIS_HOST, port=listener.getsockname()[1])) as client, client.stream() as stream:
            stream.send(b"board")
            stream.send_eof()
            assert stream.receive() == b"hello board"
        service.join(60)


def test_a_machine_that_is_not_there_is_named() -> None:
    with (
        serve(VsockNetwork(cid=0x7FFFFFF0, port=22)) as client,
        pytest.raises(DriverError, match=r"vsock 2147483632:22.*does the virtual machine run"),
        client.stream(),
    ):
        pass


@pytest.mark.parametrize(("cid", "port", "name"), [(-1, 22, "cid"), (3, 1 << 32, "port"), (0xFFFFFFFF, 1, "cid")])
def test_numbers_that_no_machine_has_are_a_configuration_error(cid: int, port: int, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be 0 to 4294967294"):
        VsockNetwork(cid=cid, port=port)
