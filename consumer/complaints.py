"""Does: what messages bring that a person should see is counted and alarmed, and cleared when all is well again.

Knows the board and the clock; what is wrong with a message, and what comes of it, is decided elsewhere.
"""

import math
from collections.abc import Callable

from common.board import Board
from common.entries import Position
from consumer.agreement import Drop

DIVERGED_PAUSE_SECONDS = (1.0, 60.0)
"""A sync that ends in another divergence is begun again after a pause, which doubles."""
REFUSED_SHOWN_SECONDS = 60.0
"""The alarm of a message that was refused stands so long at least, to be seen; longer while something may be missing."""
_EVERYDAY = frozenset({"heard", "no-news", "duplicate"})
"""Reasons to drop a message that are none to worry."""


class Complaints:
    """See the module. `ask_from`: when the next question may be asked, in seconds of the clock."""

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        self._board = board
        self._clock = clock
        self._refused_at = -math.inf
        self._diverged_pause = 0.0
        self.ask_from = -math.inf

    def refused(self, reason: str, detail: str) -> None:
        """A message was none that can be read."""
        self._refused_at = self._clock()
        self._board.count("refused_total", label=reason)
        self._board.alarm("refused", f"a message was refused and dropped: {detail}")

    def dropped(self, drop: Drop) -> None:
        """A message was dropped, and why."""
        if drop.reason not in _EVERYDAY:
            self._board.count("refused_total", label=drop.reason)
        if drop.alarm:
            self._refused_at = self._clock()
            self._board.alarm("body-mismatch" if drop.reason == "body-mismatch" else "dropped", drop.alarm)

    def diverged(self, at: Position) -> None:
        """The tree is not the one that was published. The next comparison waits, longer each time."""
        self._board.count("divergences_total")
        self.ask_from = self._clock() + self._diverged_pause
        first, longest = DIVERGED_PAUSE_SECONDS
        self._diverged_pause = min(max(first, 2 * self._diverged_pause), longest)
        detail = f"the tree digest is not the one that was published at {at.epoch}.{at.sequence}; everything is compared anew"
        self._board.alarm("diverged", detail)

    def forked(self, at: Position, *, is_new: bool) -> None:
        """Two batches claim one position. `is_new`: it was found just now."""
        if is_new:
            self._board.count("forks_total")
        self._board.alarm(
            "fork",
            f"two different batches for one position at {at.epoch}.{at.sequence}: two producers, or a copied journal; nothing"
            " more of this epoch is applied. See that one producer is left, and type there: treecast epoch start",
        )

    def is_whole(self) -> None:
        """Everything is as it was published: what was refused before has done no harm, once it was there to be seen."""
        self._diverged_pause = 0.0
        self._board.clear("diverged")
        if self._clock() - self._refused_at >= REFUSED_SHOWN_SECONDS:
            for kind in ("refused", "dropped", "body-mismatch"):
                self._board.clear(kind)
