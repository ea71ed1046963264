"""Devices and drivers that fail in a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from misuse_cases import case

if TYPE_CHECKING:
    from misuse_bench import Bench, Said


def failing(name: str, how: str) -> None:
    """Add a case of a driver that raises something."""

    @case(name)
    def _(bench: Bench) -> Said:
        said = bench.j("gadget", "fail", how)
        if how == "absent":  # it no longer counts as that for the cases that follow
            back = bench.j("gadget", "set", "1")
            assert back.how == "0", back
        return said


failing("an argument that the device does not know", "value")
failing("something that the device cannot do", "unable")
failing("a device that does not answer in time", "late")
failing("a port that is not there", "missing")
failing("a port that the exporter's user cannot open", "denied")
failing("a device that is unplugged", "unplugged")
failing("a device that a driver finds absent", "absent")
failing("a device that a driver finds faulty", "faulty")
failing("a device that belongs to somebody else", "busy")
failing("something that this user may not do", "forbidden")
failing("a fault in a driver", "bug")
failing("an error without words", "silent")
failing("a driver that exits", "exit")
failing("a driver that is interrupted", "interrupt")
failing("several errors at once", "group")
failing("an error of huge size", "huge")
failing("an error that would take over the terminal", "escapes")
failing("an error with secrets in it", "secret")


def using(name: str, *arguments: str) -> None:
    """Add a case of a command of the gadget."""
    case(name)(lambda bench: bench.j("gadget", *arguments))


using("a call whose deadline is over", "slow")
using("a result that cannot be sent", "unsendable")
using("a result that is too large", "large")
using("items that end with an error", "count")
using("a byte stream that breaks", "stream")
using("a byte stream that cannot be opened", "stream", "refuse")
using("a byte stream that the driver does not have", "stream", "conect")
