"""Requests to one device, wherever and whenever it is plugged in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, cast
from weakref import WeakSet

from ..common.exceptions import DeviceAbsentError
from .failures import usb_failure
from .host import UsbHost, current_host
from .listing import UsbDevice
from .match import UsbMatch

CLASS, VENDOR = 0x20, 0x40
"""Bits of bmRequestType: a request of the device's class, or of its vendor's."""

INTERFACE, OTHER = 0x01, 0x03
"""Bits of bmRequestType: it is for an interface, or another part, such as a port of a hub; otherwise for the device."""

_IN = 0x80


class UsbLink:
    """A device that is found when it is first needed, and found again after it was unplugged or reset.

    Once found it stays the same device: with another in its place, requests fail and say so. The `lock` is held during
    each request; who needs several in a row holds it meanwhile. Methods block, for the timeout at most.
    """

    def __init__(self, match: UsbMatch) -> None:
        self.lock = threading.RLock()
        self.returns = 0
        """How often the device came back after it was away, and may have lost its state."""
        self._match = match
        self._device: UsbDevice | None = None
        self._handle: Any = None

    @property
    def host(self) -> UsbHost:
        return current_host()

    def device(self) -> UsbDevice:
        """The device as it is now. Raises DeviceAbsentError where it is not there, DeviceFaultyError if ambiguous."""
        with self.lock:
            before = self._device
            if before is not None and (now := self.host.again(before)) is not None:
                self._device = now
                return now
            self.let_go()
            devices = self.host.devices()
            if before is None:
                self._device = found = self._match.find(devices)
                self._match = self._match.pinned(found, devices)
                return found
            try:
                self._device = found = self._match.find(devices)
            except DeviceAbsentError as e:
                raise self._match.gone(before, e.message, e.hint) from None
            self.returns += 1
            return found

    def is_for(self, device: UsbDevice) -> bool:
        """Whether this is the link to a device, as it was listed just now."""
        with self.lock:
            return self._device is not None and self.host.again(self._device) == device

    def write(
        self, request: int, value: int, data: bytes = b"", *, index: int, to: int, doing: str, timeout: float
    ) -> None:
        """A control request that brings data to the device. `to` is whose it is, and for what: `VENDOR | INTERFACE`."""
        self._transfer(to, request, value, index, data, doing, timeout)

    def read(self, request: int, value: int, length: int, *, index: int, to: int, doing: str, timeout: float) -> bytes:
        """A control request that brings up to `length` bytes from the device."""
        return bytes(self._transfer(to | _IN, request, value, index, length, doing, timeout))

    def call(self, doing: str, function: Callable[[Any], Any], timeout: float) -> Any:
        """Call a function with the device object of pyusb; raises what is wrong in words, and never tries twice."""
        with self.lock:
            device = self.device()
            try:
                return function(self._opened(device))
            except (OSError, ValueError, NotImplementedError) as e:  # pyusb's own are of these classes
                failure = usb_failure(e, self.host, device, doing, timeout)
                if isinstance(failure, DeviceAbsentError):
                    failure = self._match.gone(device, f"cannot {doing}", failure.hint)
                if not isinstance(failure, TimeoutError):
                    self.let_go()
                raise failure from e

    def let_go(self) -> None:
        """Close the handle; the next request opens another."""
        with self.lock:
            handle, self._handle = self._handle, None
            if handle is not None:
                from usb.util import dispose_resources  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

                cast("Callable[[Any], None]", dispose_resources)(handle)

    def _transfer(
        self, kind: int, request: int, value: int, index: int, data: bytes | int, doing: str, timeout: float
    ) -> Any:
        def transfer(handle: Any) -> Any:
            return handle.ctrl_transfer(kind, request, value, index, data, int(timeout * 1000))

        return self.call(doing, transfer, timeout)

    def _opened(self, device: UsbDevice) -> Any:
        """The device object of pyusb."""
        if self._handle is None:
            import usb.core as pyusb  # pyright: ignore[reportMissingTypeStubs] slow, and not needed by who only looks

            def is_it(candidate: Any) -> bool:
                return candidate.bus == device.bus and candidate.address == device.address

            find = cast("Callable[..., Any]", pyusb.find)  # pyright: ignore[reportUnknownMemberType]
            self._handle = find(backend=self.host.backend, custom_match=is_it)
            if self._handle is None:
                raise OSError(19, "libusb does not list it")
        return self._handle


class HasLink(Protocol):
    """What uses a device by its link."""

    link: UsbLink


T = TypeVar("T", bound=HasLink)


class Shared(Generic[T]):
    """One object per device for all drivers of this process, whatever they know the device by."""

    def __init__(self, make: Callable[[UsbLink], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._known: WeakSet[T] = WeakSet()

    def get(self, match: UsbMatch) -> T:
        """The object of the device that is meant; raises what `UsbLink.device` does."""
        with self._lock:
            link = UsbLink(match)
            device = link.device()
            known = next((one for one in self._known if one.link.is_for(device)), None)
            if known is None:
                known = self._make(link)
                self._known.add(known)
            return known
