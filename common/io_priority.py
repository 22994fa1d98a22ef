"""Does: lets a thread's reads and writes come behind everybody else's, where the system can do that. Knows no file."""

import ctypes
import platform
import sys
from contextlib import suppress

_CALLS = {"x86_64": 251, "aarch64": 30}
"""The number of the system call `ioprio_set`, which libc has no name for."""
_WHO_THREAD, _CLASS_IDLE = 1, 3 << 13


def lower_io_priority() -> None:
    """For the calling thread, for good. Elsewhere than on Linux, and where it is refused, nothing happens."""
    number = _CALLS.get(platform.machine())
    if sys.platform == "linux" and number is not None:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, _WHO_THREAD, 0, _CLASS_IDLE)
