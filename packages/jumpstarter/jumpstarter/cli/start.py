"""Where the commands begin: until all is imported, an interrupt ends the process as the system does it.

Python would raise KeyboardInterrupt in the middle of an import, and print where that was. From `errors.run` on, the
command itself ends in order.
"""

import sys

_signal = vars(sys.modules["_signal"])  # `signal` is made of it, and takes some milliseconds to import

if _signal["getsignal"](_signal["SIGINT"]) is _signal["default_int_handler"]:  # it may be ignored: in the background
    _signal["signal"](_signal["SIGINT"], _signal["SIG_DFL"])


def jmp() -> None:
    """The command `jmp`."""
    from .jmp import main

    main()


def j() -> None:
    """The command `j`."""
    from .j import main

    main()
