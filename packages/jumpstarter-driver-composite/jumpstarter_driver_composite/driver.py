"""`Composite`, a driver made of other drivers, and `Proxy`, a second name for one that exists elsewhere in the tree."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from jumpstarter.common.exceptions import ConfigurationError
from jumpstarter.common.suggest import did_you_mean
from jumpstarter.driver import Driver
from jumpstarter.driver.standin import StandIn, Waiting

from .names import check_child_name

__all__ = ["Composite", "CompositeInterface", "Proxy", "check_child_name"]

Instances = list[tuple[UUID, Driver | None, str | None, Driver]]
"""What `Driver.enumerate` returns: (uuid, parent, name, instance) for every path."""


class CompositeInterface:
    """What every driver offers that is used through its children alone."""

    @classmethod
    def client(cls) -> str:
        return "jumpstarter_driver_composite.client.CompositeClient"


@dataclass(kw_only=True)
class Composite(CompositeInterface, Driver):
    """A group of drivers, each under a name.

    Raises ConfigurationError for a child whose name hides an attribute of the client object.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_children()

    def enumerate(
        self, *, root: Driver | None = None, parent: Driver | None = None, name: str | None = None
    ) -> Instances:
        self._check_children()  # subclasses add children after construction
        return super().enumerate(root=root, parent=parent, name=name)

    def _check_children(self) -> None:
        for name in self.children:
            if problem := check_child_name(name):
                raise ConfigurationError(problem)


Trail = ContextVar[tuple["Proxy", ...]]

_enumerated: Trail = ContextVar("enumerated", default=())
"""The proxies on the way from the root to where the tree is being enumerated."""

_resolved: Trail = ContextVar("resolved", default=())
"""The proxies that the ref of another one leads through, while it is being resolved."""


class _HiddenError(Exception):
    """The way to a target leads below a driver that is not there."""

    def __init__(self, stand_in: Driver) -> None:
        super().__init__()
        self.stand_in = stand_in


@dataclass(kw_only=True)
class Proxy(Waiting, Driver):
    """Another driver of the tree under one more name.

    Clients see the target itself, and so does Python code that reads attributes of a proxy once the tree is served.
    The target keeps its place in the tree: closing or resetting a proxy does nothing. A target below a driver whose
    device is absent is not known yet; until then clients see the proxy, which is absent too.
    """

    ref: str
    """Names of children from the root of the tree to the target, joined with dots."""

    _target: Driver | None = field(default=None, init=False, repr=False, compare=False)
    waits_for: Driver | None = field(default=None, init=False, repr=False, compare=False)
    problem: str = field(default="", init=False, repr=False, compare=False)
    _was_hidden: bool = field(default=False, init=False, repr=False, compare=False)

    @classmethod
    def client(cls) -> str:
        return "jumpstarter.client.DriverClient"  # reported only while the target is not known

    def enumerate(
        self, *, root: Driver | None = None, parent: Driver | None = None, name: str | None = None
    ) -> Instances:
        """The target's own enumeration, under the parent and name of the proxy.

        Raises ConfigurationError when there is no target, or when the way there comes back to this proxy.
        """
        with self._following(_enumerated, name):
            try:
                self._target = self._find(root if root is not None else self, name)
            except _HiddenError as e:
                self._target, self.waits_for, self._was_hidden = None, e.stand_in, True
                return [(self.uuid, parent, name, self)]
            except ConfigurationError as e:
                if not self._was_hidden:
                    raise
                self._target, self.waits_for, self.problem = None, None, e.message  # the others are served by now
                return [(self.uuid, parent, name, self)]
            self.waits_for, self.problem = None, ""
            return self._target.enumerate(root=root, parent=parent, name=name)

    def target(self) -> Driver | None:
        return self._target

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        target = self._target
        if target is None or (name.startswith("__") and name.endswith("__")):
            ref = self.__dict__.get("ref")
            problem = f"{name!r}: proxy with ref {ref!r} has no target before the tree is served"
            raise AttributeError(problem, name=name, obj=self)
        return getattr(target, name)

    @contextmanager
    def _following(self, trail: Trail, name: str | None) -> Generator[None]:
        followed = trail.get()
        if any(proxy is self for proxy in followed):
            way = " -> ".join(proxy.ref for proxy in (*followed, self))
            raise self._error(name, f"the reference leads back to itself ({way})")
        token = trail.set((*followed, self))
        try:
            yield
        finally:
            trail.reset(token)

    def _find(self, root: Driver, name: str | None) -> Driver:
        """The driver that `ref` names; it may be a proxy again."""
        node = root
        walked: list[str] = []
        for part in self.ref.split("."):
            if isinstance(node, Proxy) and node is not root:
                node = node._resolved(root, ".".join(walked))
            child = node.children.get(part)
            if child is None and isinstance(node, StandIn):
                raise _HiddenError(node)
            if child is None:
                where = f"in {'.'.join(walked)!r}" if walked else "at the root of the tree"
                raise self._error(name, f"there is no driver {part!r} {where}{did_you_mean(part, node.children)}")
            walked.append(part)
            node = child
        return node

    def _resolved(self, root: Driver, name: str) -> Driver:
        """The driver at the end of this proxy and those that it leads to."""
        with self._following(_resolved, name):
            target = self._find(root, name)
            return target._resolved(root, self.ref) if isinstance(target, Proxy) else target

    def _error(self, name: str | None, problem: str) -> ConfigurationError:
        return ConfigurationError(f"proxy {name!r} with ref {self.ref!r}: {problem}")
