"""What an error says of a device: that it is absent, or faulty, and what to do."""

from __future__ import annotations

import builtins

from ..common.exceptions import BusyError, ConnectionError, DeviceAbsentError, DeviceFaultyError

_ABSENT = (OSError, DeviceAbsentError, ConnectionError, BusyError)


def is_absence(error: BaseException) -> bool:
    """Whether an error says that a device is not there, or not to be had; otherwise it is faulty."""
    return isinstance(error, _ABSENT)


def required_error(path: str, error: BaseException) -> DeviceAbsentError | DeviceFaultyError:
    """Why an exporter does not start that needs a device."""
    kind, word = (DeviceAbsentError, "absent") if is_absence(error) else (DeviceFaultyError, "faulty")
    made = kind(f"{path} is required, and {word}: {describe(error)}", hint_of(error))
    made.__context__ = error  # for tracebacks; the text has it already
    return made


def describe(error: BaseException) -> str:
    """An error in one phrase, without what to do."""
    message = getattr(error, "message", None)
    if isinstance(message, str) and message:
        return message
    text = str(error)
    if isinstance(error, OSError) and text:
        return text
    return f"{type(error).__name__}{text and ': '}{text}"


def hint_of(error: BaseException) -> str:
    """What to do about a device that is absent or faulty."""
    hint = getattr(error, "hint", "")
    if isinstance(hint, str) and hint:
        return hint
    if isinstance(error, OSError) and "; " in str(error):  # says it itself
        return ""
    match error:
        case builtins.FileNotFoundError():
            return "connect the device, or correct its path in the configuration"
        case PermissionError():
            return "give the exporter's user access to it (its group, or a udev rule)"
        case BusyError():
            return "stop who has it"
        case builtins.ConnectionError() | TimeoutError() | ConnectionError():
            return "check that the device is on and connected"
        case OSError():
            return "check the device and its cable"
        case _:
            return "look at the exporter's log; restart it once the cause is removed"
