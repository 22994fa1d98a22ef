"""Does: a thread waits, with signs of life, until its time is over or something is more urgent. Knows not what for."""

import threading
import time
from collections.abc import Callable


def rest(seconds: float, urgent: threading.Event, tick: Callable[[], None], tick_seconds: float) -> bool:
    """Wait so long; `tick` is called at once, and then each so often. False: `urgent` was set before, or meanwhile."""
    until = time.monotonic() + seconds
    while True:
        tick()
        if urgent.is_set():
            return False
        left_seconds = until - time.monotonic()
        if left_seconds <= 0:
            return True
        urgent.wait(min(left_seconds, tick_seconds))
