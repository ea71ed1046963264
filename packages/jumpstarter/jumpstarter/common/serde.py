"""Public names of the wire forms; they live in `jumpstarter.common.values`."""

from .values import decode_value, encode_value

__all__ = ["decode_value", "encode_value"]
