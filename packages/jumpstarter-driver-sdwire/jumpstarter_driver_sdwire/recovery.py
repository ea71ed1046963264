"""Bringing back a card reader that hangs, or has left the bus, as they do under long writes."""

from __future__ import annotations

import time

from jumpstarter.common.exceptions import DeviceAbsentError, DeviceFaultyError
from jumpstarter.driver import sleep
from jumpstarter.usb import HubPort, UsbDevice, UsbHost

TIMEOUT = 5.0
"""Seconds that a hub has to answer."""

LEAVING = 5.0
"""Seconds that the host has to notice that something lost its supply."""

APPEARING = 20.0
"""Seconds until a reader has to be there after it got its supply; usually 6 to 11."""

POLL = 0.1


def bring_back(host: UsbHost, port: str, own_hub: UsbDevice | None, seconds: float) -> str:
    """Restart the reader at a USB port by the strongest means there is, and wait for it; returns what was done.

    Its supply is cut for so many seconds, where its hub can do that for one port; otherwise the kernel starts the
    reader anew, or, where that is not on the bus, the hub, if nothing but the board is at that. Raises
    DeviceAbsentError where nothing helps.
    """
    place = HubPort(port)
    why = place.why_fixed(TIMEOUT)
    if why is None:
        cut_supply(place)
        try:
            sleep(seconds)
        finally:
            place.power(True, TIMEOUT)
        done = f"the supply of {place} was cut for {seconds:g} s"
    elif (reader := place.device()) is not None:
        host.restart(reader)
        done = f"[{reader}] was started anew"
    elif own_hub is not None:
        host.restart(own_hub)
        done = f"the board's hub [{own_hub}] was started anew"
    else:
        raise DeviceAbsentError(f"no card reader answers at {place}, and nothing can restart it: {why}", HINT)
    wait_for(place, done)
    return done


HINT = "plug the board in again; a hub that switches its ports one by one saves the walk"


def cut_supply(place: HubPort) -> None:
    """Cut the supply of a port; DeviceFaultyError where what is plugged in there has it all the same."""
    place.power(False, TIMEOUT)
    end = time.monotonic() + LEAVING
    while (device := place.device()) is not None:
        if time.monotonic() > end:
            place.power(True, TIMEOUT)
            raise DeviceFaultyError(
                f"{place}: its supply was cut, and [{device}] is still there",
                "its hub says that it switches its ports, and does not: use another one",
            )
        sleep(POLL)


def wait_for(place: HubPort, done: str) -> None:
    """Wait until something is at a port that has its supply again."""
    end = time.monotonic() + APPEARING
    while place.device() is None:
        if time.monotonic() > end:
            raise DeviceAbsentError(
                f"{place} has its supply, and no card reader has appeared there within {APPEARING:g} s after {done}",
                "check the cable; a reader that hangs all the same has to be plugged in again",
            )
        sleep(POLL)
