"""Adapters: what a client's byte stream can be turned into, as context managers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from .base import DriverClient

T = TypeVar("T")
P = ParamSpec("P")


def blocking(func: Callable[P, AbstractAsyncContextManager[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Make a blocking context manager of an asynchronous one, whose keyword `client` gives it the event loop."""

    @wraps(func)
    def blocked(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        client: DriverClient = kwargs["client"]  # pyright: ignore[reportAssignmentType] by the rule above
        return client.portal.wrap_async_context_manager(func(*args, **kwargs))

    return blocked
