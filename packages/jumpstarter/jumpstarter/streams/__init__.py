"""Byte streams joined to byte streams."""
