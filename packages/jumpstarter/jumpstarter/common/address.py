"""Network addresses as text."""


def host_port(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets, which it may have already."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
