"""Removes what stood aside too long, or is too much, beside everything else: a moment of it in each round of the loop.

What is too old and too much is decided by `ages`, with how it is removed by `shelf`; since when it stands there is in the state.
Owned by the thread that applies.
"""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress

from common.board import Board
from common.errors import NoRoomError
from common.quantities import AsideLimits
from consumer import ages
from consumer.ages import Clocks
from consumer.shelf import Shelf
from consumer.shelf_record import ShelfRecord

LOOK_SECONDS = 600.0
SLICE_SECONDS = 0.004
"""So long a batch may have to wait for it."""


class Pruning:
    """See the module. Raises HaltError when the disk fails."""

    def __init__(self, limits: AsideLimits, shelf: Shelf, record: ShelfRecord, board: Board) -> None:
        self._limits = limits
        self._shelf = shelf
        self._record = record
        self._board = board
        self._ages = record.read()
        self._sizes: dict[bytes, int] = {}
        """What an earlier commit set aside does not grow any more."""
        self._work: Iterator[None] | None = None
        self._look_at = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether there is more to do at once."""
        return self._work is not None

    def turn(self, now: float, clocks: Clocks) -> None:
        """Look now and then; go on for a moment. `now`: monotonic seconds. Without the master's clock (0) only what is condemned
        goes."""
        if self._work is None and self._shelf.has_condemned:
            self._work = self._remove_condemned()
        elif self._work is None and now >= self._look_at and clocks.master:
            self._look_at = now + LOOK_SECONDS
            self._work = self._prune(clocks)
        if self._work is not None:
            try:
                self._go_on(self._work)
            except NoRoomError:
                self._work = None

    def close(self) -> None:
        """Leave it as it is. Idempotent."""
        if isinstance(self._work, Generator):
            self._work.close()
        self._work = None

    def _go_on(self, work: Iterator[None]) -> None:
        until = time.monotonic() + SLICE_SECONDS
        for _ in work:
            if time.monotonic() >= until:
                return
        self._work = None

    def _remove_condemned(self) -> Iterator[None]:
        for label in self._shelf.condemned():
            yield from self._shelf.remove(label)

    def _prune(self, clocks: Clocks) -> Iterator[None]:
        self._look(clocks)
        kept = []
        for label in ages.oldest_first(self._ages):
            is_too_old = ages.is_too_old(self._ages, label, self._limits.limit_seconds)
            if not (is_too_old and (yield from self._shelf.remove(label))):
                kept.append(label)
        yield from self._measure(kept)
        total = sum(self._sizes.values())
        free_bytes = self._shelf.free_bytes()
        for label in kept[:-1]:  # the newest stays: it may be what somebody looks for just now
            if not ages.is_too_much(total, free_bytes, self._limits.share):
                break
            if (yield from self._shelf.remove(label)):
                size = self._sizes.pop(label)
                free_bytes, total = free_bytes + size, total - size
        self._board.gauge("aside_bytes", total)

    def _look(self, clocks: Clocks) -> None:
        """A moment without room for that costs no more than the time since the last look."""
        before = self._ages
        after = ages.look(before, self._shelf.labels(), clocks)
        if before.born or after.born:
            with suppress(NoRoomError):
                self._record.save(before, after)
                self._ages = after

    def _measure(self, labels: Iterable[bytes]) -> Iterator[None]:
        sizes: dict[bytes, int] = {}
        for label in labels:
            known = self._sizes.get(label)
            sizes[label] = known if known is not None else (yield from self._shelf.measure(label))
        self._sizes = sizes
