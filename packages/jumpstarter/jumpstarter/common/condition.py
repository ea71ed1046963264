"""The conditions of a controller's objects, looked up by their type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jumpstarter_protocol.jumpstarter.v1.kubernetes_pb2 import Condition


def condition_true(conditions: Iterable[Condition], condition_type: str) -> bool:
    """Whether there is such a condition, and it holds."""
    return condition_present_and_equal(conditions, condition_type, "True")


def condition_false(conditions: Iterable[Condition], condition_type: str) -> bool:
    """Whether there is such a condition, and it does not hold."""
    return condition_present_and_equal(conditions, condition_type, "False")


def condition_present_and_equal(
    conditions: Iterable[Condition], condition_type: str, status: str, reason: str | None = None
) -> bool:
    """Whether there is such a condition with a status, and with a reason where one is given."""
    return any(condition.status == status for condition in _of(conditions, condition_type, reason))


def condition_message(conditions: Iterable[Condition], condition_type: str, reason: str | None = None) -> str | None:
    """The message of a condition, with a reason where one is given; None where there is none."""
    return next((condition.message for condition in _of(conditions, condition_type, reason)), None)


def _of(conditions: Iterable[Condition], condition_type: str, reason: str | None) -> Iterable[Condition]:
    return (each for each in conditions if each.type == condition_type and reason in (None, each.reason))
