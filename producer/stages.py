"""Does: measures how long changes take from the first hint to the broker's confirm, and remembers the times of the last batches.

Knows the board and a clock; neither journal nor broker. Once for each batch, never for each event.
"""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.board import Board
from producer.numbering import Numbered

REMEMBERED_BATCHES = 1000
SEEN_TO_PUBLISHED, PUBLISHED_TO_CONFIRMED = "seen_to_published", "published_to_confirmed"


@dataclass(slots=True)
class BatchTimes:
    """When one batch was where, in seconds of the clock. `first`, `last`: its sequences; `seen`: the first hint at its oldest
    path; `published`: handed to the broker's client; `confirmed` None: not that we know."""

    first: int
    last: int
    seen: float
    published: float
    confirmed: float | None = None

    @property
    def events(self) -> int:
        return self.last - self.first + 1


class Stages:
    """See the module. Owned by one thread."""

    def __init__(self, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: the one that hints are timed by, in seconds."""
        self._board = board
        self._clock = clock
        self._last: deque[BatchTimes] = deque(maxlen=REMEMBERED_BATCHES)
        self._unconfirmed: dict[int, BatchTimes | float] = {}
        for stage in (SEEN_TO_PUBLISHED, PUBLISHED_TO_CONFIRMED):
            board.observe("stage_seconds", stage, 0.0, count=0)

    def published(self, numbered: Numbered, seen: float) -> None:
        """This batch was handed over just now."""
        times = BatchTimes(numbered.first, numbered.after.sequence, seen, self._clock())
        self._last.append(times)
        self._unconfirmed[times.first] = times
        self._board.observe("stage_seconds", SEEN_TO_PUBLISHED, max(0.0, times.published - seen), times.events)

    def published_again(self, first: int) -> None:
        """One of an earlier run was: what it took until now nobody knows."""
        self._unconfirmed[first] = self._clock()

    def confirmed(self, firsts: Iterable[int]) -> None:
        """The broker has these. Idempotent; to be called every now and then without any, too."""
        now = self._clock()
        for first in firsts:
            times = self._unconfirmed.pop(first, None)
            if isinstance(times, BatchTimes):
                times.confirmed = now
                seconds = max(0.0, now - times.published)
                self._board.observe("stage_seconds", PUBLISHED_TO_CONFIRMED, seconds, times.events)
        self._board.gauge("unconfirmed_age_seconds", now - self._oldest(now))

    def _oldest(self, now: float) -> float:
        oldest = next(iter(self._unconfirmed.values()), now)
        return oldest.published if isinstance(oldest, BatchTimes) else oldest

    def times_of(self, sequence: int) -> BatchTimes | None:
        """The times of the batch with this sequence; None: it is not among the last ones of this run."""
        at = bisect_left(self._last, sequence, key=lambda times: times.last)
        found = self._last[at] if at < len(self._last) else None
        return found if found is not None and found.first <= sequence else None
