"""Does: measures how long changes take from the first hint to the broker's confirm, and remembers the times of the last batches.

Knows the board and a clock; neither journal nor broker. Once for each batch, never for each event.
"""

import time
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from common.board import Board
from producer.numbering import Numbered

REMEMBERED_BATCHES = 1000
REMEMBERED_EVENTS = 200_000
"""4 bytes each."""
_MS_LIMIT = (1 << 32) - 1
SEEN_TO_PUBLISHED, PUBLISHED_TO_CONFIRMED = "seen_to_published", "published_to_confirmed"


@dataclass(slots=True)
class BatchTimes:
    """When one batch was where, in seconds of the clock. `first`, `last`: its sequences; `seen`: the first hint at its oldest
    path; `journaled`: numbered, and durable here; `published`: handed to the broker's client; None: not that we know."""

    first: int
    last: int
    seen: float
    journaled: float
    published: float | None = None
    confirmed: float | None = None
    waited_ms: "array[int]" = field(default_factory=lambda: array("I"), compare=False, repr=False)
    """How long each of its events waited from the first hint until it was journaled."""

    @property
    def events(self) -> int:
        return self.last - self.first + 1

    def seen_seconds(self, sequence: int) -> float:
        """How long before it was journaled the path of this event was hinted at first."""
        return self.waited_ms[sequence - self.first] / 1000


TimesOf = Callable[[int], BatchTimes | None]
"""The times of the batch with a sequence."""


class Stages:
    """See the module. Owned by one thread."""

    def __init__(self, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: the one that hints are timed by, in seconds."""
        self._board = board
        self._clock = clock
        self._last: deque[BatchTimes] = deque()
        self._events = 0
        self._unconfirmed: dict[int, BatchTimes | float] = {}
        for stage in (SEEN_TO_PUBLISHED, PUBLISHED_TO_CONFIRMED):
            board.observe("stage_seconds", stage, 0.0, count=0)

    def journaled(self, numbered: Numbered, seen: Sequence[float]) -> None:
        """This batch was, just now. `seen`: when the path of each event was hinted at first."""
        now = self._clock()
        waited = array("I", [min(_MS_LIMIT, max(0, int((now - one) * 1000))) for one in seen])
        times = BatchTimes(numbered.first, numbered.after.sequence, min(seen), now, waited_ms=waited)
        self._last.append(times)
        self._unconfirmed[times.first] = times
        self._events += times.events
        while len(self._last) > 1 and (len(self._last) > REMEMBERED_BATCHES or self._events > REMEMBERED_EVENTS):
            self._events -= self._last.popleft().events

    def published(self, first: int) -> None:
        """The batch that was journaled last, with this first sequence, was handed over just now."""
        times = self._unconfirmed[first]
        if isinstance(times, BatchTimes):
            times.published = self._clock()
            self._board.observe(
                "stage_seconds", SEEN_TO_PUBLISHED, max(0.0, times.published - times.seen), times.events
            )

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
                seconds = max(0.0, now - (times.published or times.journaled))
                self._board.observe("stage_seconds", PUBLISHED_TO_CONFIRMED, seconds, times.events)
        self._board.gauge("unconfirmed_age_seconds", now - self._oldest(now))

    def _oldest(self, now: float) -> float:
        oldest = next(iter(self._unconfirmed.values()), now)
        return oldest.journaled if isinstance(oldest, BatchTimes) else oldest

    def times_of(self, sequence: int) -> BatchTimes | None:
        """The times of the batch with this sequence; None: it is not among the last ones of this run."""
        return _times_of(self._last, sequence)

    def snapshot(self) -> TimesOf:
        """What `times_of` tells now, for another thread."""
        return partial(_times_of, tuple(self._last))


def _times_of(batches: Sequence[BatchTimes], sequence: int) -> BatchTimes | None:
    at = bisect_left(batches, sequence, key=lambda times: times.last)
    found = batches[at] if at < len(batches) else None
    return found if found is not None and found.first <= sequence else None
