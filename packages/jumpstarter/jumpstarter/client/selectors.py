"""Label selectors as controllers understand them: `board=rpi4,!broken,site in (a, b)`."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..common.exceptions import ArgumentError

_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9._-]*"
_COMMA = re.compile(r",(?![^(]*\))")
_EQUAL = re.compile(rf"({_KEY})\s*(=|==|!=)\s*({_VALUE})")
_AMONG = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_PRESENT = re.compile(rf"(!?)\s*({_KEY})")


class Requirement(NamedTuple):
    """What a selector wants of a label, beside that it has one value."""

    key: str
    operator: str
    """In, NotIn, Exists or DoesNotExist."""
    values: frozenset[str] = frozenset()


def parse_label_selector(selector: str | None) -> tuple[dict[str, str], list[Requirement]]:
    """The values that labels have to have, and what else is wanted. Raises ArgumentError for what is no selector."""
    labels: dict[str, str] = {}
    others: list[Requirement] = []
    for text in filter(None, (part.strip() for part in _COMMA.split(selector or ""))):
        if match := _EQUAL.fullmatch(text):
            key, operator, value = match.groups()
            if operator == "!=":
                others.append(Requirement(key, "NotIn", frozenset({value})))
            elif labels.setdefault(key, value) != value:
                raise ArgumentError(f"no label {key} is {labels[key]} and {value} at once: {selector}")
        elif match := _AMONG.fullmatch(text):
            values = frozenset(value.strip() for value in match[3].split(","))
            others.append(Requirement(match[1], "In" if match[2] == "in" else "NotIn", values))
        elif match := _PRESENT.fullmatch(text):
            others.append(Requirement(match[2], "DoesNotExist" if match[1] else "Exists"))
        else:
            raise ArgumentError(
                f"{text!r} is no part of a label selector; such are k=v, k!=v, k in (a,b), k notin (a,b), k, !k"
            )
    return labels, others


def extract_match_labels_filter(selector: str | None) -> str | None:
    """The parts `k=v` of a selector, which are all that controllers filter lists by; None where there are none."""
    labels, _ = parse_label_selector(selector)
    return ",".join(f"{key}={value}" for key, value in labels.items()) or None


def selector_contains(selector: str | None, wanted: str | None) -> bool:
    """Whether a selector wants at least what another one does."""
    labels, others = parse_label_selector(selector)
    wanted_labels, wanted_others = parse_label_selector(wanted)
    return wanted_labels.items() <= labels.items() and set(wanted_others) <= set(others)
