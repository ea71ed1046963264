"""Network addresses as text."""

import re

from .exceptions import ConfigurationError


def host_port(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets, which it may have already."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def split_host_port(address: str) -> tuple[str, int]:
    """Host, without the brackets of an IPv6 address, and port. ConfigurationError where the text is no host:port."""
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:/\[\]\s]+)):(\d{1,5})", address, re.ASCII)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ConfigurationError(f"{address!r} is not host:port, such as grpc.example.com:443")
    return match[1] or match[2], int(match[3])
