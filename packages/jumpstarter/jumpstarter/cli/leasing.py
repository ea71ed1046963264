"""What `jmp shell` does when its lease ends before its command does."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

from . import errors
from .durations import show
from .tables import labels

if TYPE_CHECKING:
    from ..client.exceptions import LeaseError
    from ..client.lease import Lease


class Ending:
    """Tells the user of the end of a lease, and ends the command with it."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        lease.lease_ending_callback = self._tell

    def _tell(self, lease: Lease, left: timedelta) -> None:
        if left > timedelta():
            errors.warn("jmp", f"lease {lease.name} ends in {show(left)}; jmp update lease {lease.name} extends it")
            return
        errors.warn("jmp", str(self.error()))
        os.kill(os.getpid(), signal.SIGHUP)  # which is passed on to the command

    def error(self) -> LeaseError | None:
        """Why the lease is no longer ours."""
        from ..client.exceptions import LeaseError

        lease = self._lease
        if lease.lease_transferred:
            return LeaseError(f"lease {lease.name} belongs to another client now", code="not-allowed")
        if lease.lease_ended:
            return LeaseError(f"lease {lease.name} has ended", "make another one", code="session-ended")
        return None


def labels_of(lease: Lease) -> str:
    """The labels of the exporter, as its variable has them."""
    return labels(lease.exporter_labels)
