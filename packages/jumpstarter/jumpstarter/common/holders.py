"""Who holds a session, in words."""

from __future__ import annotations

import time


def describe(user: str, host: str, pid: int, since: float, purpose: str) -> str:
    """One line: `alice@lab (process 12) since 12:03 for pytest`, as far as it is known."""
    who = f"{user}@{host}" if host else user
    process = f" (process {pid})" if pid else ""
    begun = time.strftime(" since %H:%M", time.localtime(since)) if since else ""
    return f"{who}{process}{begun}{' for ' if purpose else ''}{purpose}"
