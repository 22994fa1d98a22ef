"""Does: measures how long live changes take here, from the queue to the names to the disk. Knows the board and two clocks.

Once for each batch, never for each event. What a sync brings is not measured: it is no change of now.
"""

import time
from collections.abc import Callable, Sequence

from common.board import Board
from common.messages import Batch

PUBLISHED_TO_DELIVERED = "published_to_delivered"
DELIVERED_TO_VISIBLE, VISIBLE_TO_DURABLE = "delivered_to_visible", "visible_to_durable"


class Stages:
    """See the module. Owned by the thread that applies."""

    def __init__(
        self, board: Board, clock: Callable[[], float] = time.monotonic, unix: Callable[[], float] = time.time
    ) -> None:
        """`clock`: the one that tells when names became visible, in seconds; `unix`: seconds since 1970."""
        self._board = board
        self._clock = clock
        self._unix = unix
        self._delivered = self._delivered_unix = 0.0
        for stage in (PUBLISHED_TO_DELIVERED, DELIVERED_TO_VISIBLE, VISIBLE_TO_DURABLE):
            board.observe("stage_seconds", stage, 0.0, count=0)

    def begin(self) -> None:
        """What was delivered is looked at from here on."""
        self._delivered, self._delivered_unix = self._clock(), self._unix()

    def applied(self, batches: Sequence[Batch], visible: float | None) -> None:
        """What has begun is durable now. `visible`: when it stood under its names; None: the disk had nothing to do."""
        durable = self._clock()
        for batch in batches:
            if batch.unix_ns > 0:
                self._observe(PUBLISHED_TO_DELIVERED, self._delivered_unix - batch.unix_ns / 1e9, len(batch.events))
        if visible is not None:
            events = sum(len(batch.events) for batch in batches)
            self._observe(DELIVERED_TO_VISIBLE, visible - self._delivered, events)
            self._observe(VISIBLE_TO_DURABLE, durable - visible, events)

    def _observe(self, stage: str, seconds: float, events: int) -> None:
        """A clock that is behind the other makes no time negative."""
        self._board.observe("stage_seconds", stage, max(0.0, seconds), events)
