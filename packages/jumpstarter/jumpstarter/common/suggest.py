"""The suggestion at the end of an error message."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(wrong: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the candidate that looks most like what was written, or nothing."""
    from difflib import get_close_matches  # only an error needs it

    known = list(candidates)
    folded = {name.casefold().replace("_", "").replace("-", ""): name for name in known}
    if same := folded.get(wrong.casefold().replace("_", "").replace("-", "")):
        return f"; did you mean {same!r}?"
    close = get_close_matches(wrong, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
