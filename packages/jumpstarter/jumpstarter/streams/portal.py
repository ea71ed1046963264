"""The process's one event loop for code without one, started when something async is first used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal, BlockingPortalProvider

T = TypeVar("T")


class Portal(Protocol):
    """What blocking code needs of an event loop in another thread; anyio's BlockingPortal is one."""

    def call(self, func: Callable[..., Any], *args: Any) -> Any: ...
    def start_task_soon(self, func: Callable[..., Any], *args: Any, name: object = None) -> Any: ...
    def wrap_async_context_manager(self, cm: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]: ...


_provider_lock = threading.Lock()
_provider: BlockingPortalProvider | None = None


def shared_provider() -> BlockingPortalProvider:
    """Provider of the process's portal: the first user starts its loop, the last one stops it.

    All async gRPC of a process lives on this one loop, since gRPC's poller serves only one at a time well.
    """
    global _provider
    with _provider_lock:
        if _provider is None:
            from anyio.from_thread import BlockingPortalProvider

            _provider = BlockingPortalProvider("asyncio")
        return _provider


class LazyPortal:
    """A portal whose event loop starts with the first call, and stops when `stack` is closed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None

    @property
    def is_started(self) -> bool:
        """Whether something async was used yet."""
        return self._portal is not None

    def _started(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                self._portal = self._stack.enter_context(shared_provider())
            return self._portal

    def call(self, func: Callable[..., Any], *args: Any) -> Any:
        """Run a function on the loop and wait for its result."""
        return self._started().call(func, *args)

    def start_task_soon(self, func: Callable[..., Any], *args: Any, name: object = None) -> Any:
        """Start a function on the loop; returns a concurrent Future, whose `cancel` cancels it."""
        return self._started().start_task_soon(func, *args, name=name)

    def wrap_async_context_manager(self, cm: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """A blocking context manager that is entered and left on the loop, in one task."""
        return self._started().wrap_async_context_manager(cm)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._started(), name)
