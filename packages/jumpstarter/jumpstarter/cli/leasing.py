"""What a shell knows of its lease, and what it does when that ends before the command does."""

from __future__ import annotations

import logging
import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

from ..common import env as names
from ..common.exceptions import JumpstarterException
from . import errors
from .durations import show
from .tables import labels

if TYPE_CHECKING:
    from ..client.directlease import DirectLease
    from ..client.exceptions import LeaseError
    from ..client.lease import Lease

logger = logging.getLogger(__name__)


class Ending:
    """Tells the user of the end of a lease, and ends the command with it."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._was_told = False
        lease.lease_ending_callback = self._tell

    def _tell(self, lease: Lease, left: timedelta) -> None:
        if left > timedelta():
            errors.warn("jmp", ending_soon(lease, left))
            return
        self._tell_end()
        os.kill(os.getpid(), signal.SIGHUP)  # which is passed on to the command

    def lost(self) -> LeaseError | None:
        """Why the lease is no longer ours, now that the command has ended: the controller is asked, the user told."""
        try:
            self._lease.look()
        except JumpstarterException as e:  # then what is known counts
            logger.debug("what has become of lease %s is not known: %s", self._lease.name, e)
        self._tell_end()
        return self.error()

    def _tell_end(self) -> None:
        if not self._was_told and (error := self.error()) is not None:
            self._was_told = True
            errors.warn("jmp", str(error))

    def error(self) -> LeaseError | None:
        """Why the lease is no longer ours, as far as is known."""
        from ..client.exceptions import LeaseError

        lease = self._lease
        if lease.lease_transferred:
            return LeaseError(f"lease {lease.name} belongs to another client now", code="not-allowed")
        if lease.lease_ended:
            return LeaseError(f"lease {lease.name} has ended", "make another one", code="session-ended")
        return None


def ending_soon(lease: Lease, left: timedelta) -> str:
    """What is told before the end of a lease."""
    return f"lease {lease.name} ends in {show(left)}; jmp update lease {lease.name} extends it"


def variables_of(lease: Lease | DirectLease) -> dict[str, str]:
    """How a shell tells what runs in it of the lease and its exporter."""
    return {
        names.JMP_EXPORTER: lease.exporter_name,
        names.JMP_LEASE: str(lease.name),
        names.JMP_EXPORTER_LABELS: labels(lease.exporter_labels),
    }
