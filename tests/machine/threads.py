"""The product's threads as turns: what a thread is given lies there until somebody calls for it. Knows no world.

There is one that re-reads a disk, two that write and hash large contents on a replica, and one that hashes them on the master.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from consumer.faults import during
from consumer.lane import Lane, LaneClosedError
from consumer.rereader import Rereader, _InterruptedPass
from consumer.scrub_record import Pass
from producer.hashing import HashingThread


class Stop(threading.Event):
    """Nobody stops; who waits lets the clock go on."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        super().__init__()
        self._sleep = sleep

    def wait(self, timeout: float | None = None) -> bool:
        self._sleep(timeout or 0.0)
        return False


def without_threads(patch: pytest.MonkeyPatch, dup: Callable[[int], int], sleep: Callable[[float], None]) -> None:
    """No thread is started. Where the one that re-reads would rest, its turn is over. `dup`: of a descriptor."""

    def start(rereader: Rereader, left_off: Pass | None) -> None:
        rereader._next = left_off
        with during("starting the scrub"):
            rereader._root = dup(rereader._disk.root)

    def rest(rereader: Rereader, seconds: float) -> None:
        raise _InterruptedPass

    def put(lane: Lane[Any], job: Callable[[], Any]) -> None:
        lane._left += 1
        lane._todo.put(job)

    def begin(hashing: HashingThread, path: bytes, file: int) -> None:
        hashing._stop = Stop(sleep)
        hashing._todo.put((path, file))

    patch.setattr(Rereader, "start", start)
    patch.setattr(Rereader, "_rest", rest)
    patch.setattr(Lane, "do", put)
    patch.setattr(HashingThread, "begin", begin)


def do_one(lane: Lane[Any]) -> bool:
    """What the lane's thread does next. False: nothing waits."""
    if lane._todo.empty():
        return False
    job = lane._todo.get()
    try:
        if job is not None:
            lane._done.put(job())
    except LaneClosedError:
        pass
    except Exception as error:  # noqa: BLE001 - as the lane does
        lane._done.put(error)
    return True


def hash_one(hashing: HashingThread) -> bool:
    """What the hashing thread does next. False: nothing waits."""
    waiting = [hashing._todo.get() for _ in range(hashing._todo.qsize())]
    if not waiting:
        return False
    for item in (waiting[0], None):
        hashing._todo.put(item)
    hashing._run()
    for item in waiting[1:]:
        hashing._todo.put(item)
    return True
