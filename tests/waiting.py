"""The one way tests wait: for a condition, with a bound; and whether a process is there.

`TREECAST_TEST_SCALE` stretches every bound on a slow machine.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SCALE = float(os.environ.get("TREECAST_TEST_SCALE", "1"))
POLL_SECONDS = 0.005


def scaled(seconds: float) -> float:
    """A bound as this machine needs it."""
    return seconds * SCALE


def eventually(condition: Callable[[], T], timeout_seconds: float = 10.0, what: str = "") -> T:
    """The condition's value as soon as it is true-ish. AssertionError, saying what was waited for, after the time."""
    deadline = time.monotonic() + scaled(timeout_seconds)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {scaled(timeout_seconds):g} s: {what or condition}; last {value!r}")
        time.sleep(POLL_SECONDS)


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
