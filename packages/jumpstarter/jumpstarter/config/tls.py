"""How a controller's certificate is checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from .schema import key


@dataclass
class TLSConfigV1Alpha1:
    """Trust in the other side of a connection."""

    ca: str = field(default="", metadata=key(help="Authorities to trust, PEM in base64; those of the system if empty."))
    insecure: bool = field(default=False, metadata=key(help="Do not check certificates."))
