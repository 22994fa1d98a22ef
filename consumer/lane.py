"""A thread that does one job after another, and hands back what came of each. Knows nothing of what the jobs do."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

CLOSE_SECONDS = 5.0

Result = TypeVar("Result")


class LaneClosedError(Exception):
    """The lane ends: raised by a job that asks `check`, to be let through."""


class Lane(Generic[Result]):
    """See the module. Used from one thread; its own is started with the first job."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._todo: SimpleQueue[Callable[[], Result] | None] = SimpleQueue()
        self._done: SimpleQueue[Result | Exception] = SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._left = 0

    @property
    def is_busy(self) -> bool:
        """Whether a job is not handed back yet."""
        return self._left > 0

    def do(self, job: Callable[[], Result]) -> None:
        """Do this after what was given before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._left += 1
        self._todo.put(job)

    def done(self) -> list[Result]:
        """What came of the jobs that ended since the last call. Raises what a job raised."""
        results: list[Result] = []
        while not self._done.empty():
            result = self._done.get()
            self._left -= 1
            if isinstance(result, Exception):
                raise result
            results.append(result)
        return results

    def check(self) -> None:
        """For jobs that take long: raises LaneClosedError when the lane ends."""
        if self._closing.is_set():
            raise LaneClosedError

    def close(self) -> bool:
        """End it; jobs that were not begun are not done. Idempotent.

        False: its thread is still at a job, which a slow disk may keep. Then all that was given to it stays its own, open, until
        the process ends: a descriptor that is closed under it may be another file's by the time it writes.
        """
        self._closing.set()
        self._todo.put(None)
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                return False
            self._thread = None
        return True

    def _run(self) -> None:
        while (job := self._todo.get()) is not None and not self._closing.is_set():
            try:
                self._done.put(job())
            except LaneClosedError:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the result is asked for
                self._done.put(error)
