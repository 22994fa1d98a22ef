"""Does: reads what this kernel says of itself: sysctls, limits, the clock. `proc` may be another directory than /proc."""

import ctypes
import resource
import sys
from pathlib import Path

from common.errors import TreecastError

PROC = Path("/proc")
_TIMEX_BYTES = 512
"""More than any kernel's struct timex."""
_STATUS_OFFSET = 40
"""Of `status` in it, on 64 bits: modes, padding, offset, freq, maxerror, esterror."""
_STA_UNSYNC = 0x40


def sysctl(key: str, proc: Path = PROC) -> int | None:
    """A number, by its dotted name; None where this kernel has none."""
    try:
        return int((proc / "sys" / key.replace(".", "/")).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def open_files_limit(process: int | None, proc: Path = PROC) -> tuple[int, str]:
    """The soft limit of a running process, else of this one; and whose it is, in words."""
    if process is not None:
        try:
            lines = (proc / str(process) / "limits").read_text().splitlines()
            words = next(line.split() for line in lines if line.startswith("Max open files"))
            return int(words[3]) if words[3].isdecimal() else sys.maxsize, f"process {process}"
        except (OSError, StopIteration, IndexError):
            pass
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else sys.maxsize, "of this shell"


def is_clock_synchronised() -> bool | None:
    """What the kernel knows of NTP; None where it does not tell, as in a sandbox."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    answer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(answer) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return not ctypes.c_int.from_buffer(answer, _STATUS_OFFSET).value & _STA_UNSYNC


def try_inotify() -> str:
    """Why this process gets no inotify instance; "" when it gets one, which is given back at once."""
    from producer.watch.kernel import Inotify

    try:
        Inotify().close()
    except TreecastError as error:
        return str(error)
    return ""
