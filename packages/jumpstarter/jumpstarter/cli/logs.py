"""The log of a command on stderr: one record is one printable line."""

from __future__ import annotations

import logging

from ..common.text import one_line


class LineFormatter(logging.Formatter):
    """Time, level, logger and text; a traceback follows in the same line's shape."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return one_line(super().format(record))


def to_stderr(level: str, *, exporters: bool = False) -> None:
    """Show records from `level` up and, if asked to, all that an exporter elsewhere sends.

    Records from INFO up are made in any case, for the clients that read this process's log.
    """
    least = logging.getLevelNamesMapping()[level]
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    handler.addFilter(
        lambda record: record.name != "grpc._common"
    )  # a message that is none; its call fails and says so
    handler.addFilter(lambda record: record.levelno >= least or (exporters and record.name.startswith("exporter:")))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(min(logging.INFO, least))
