"""When a first copy is complete, so that the replica may be served from. Owned by the thread that applies."""

import logging
import math

from common.board import Board
from consumer.large import Large
from consumer.room import Room
from consumer.state import State
from consumer.values import Reason

log = logging.getLogger("treecast")

MISSING_LIMIT_SECONDS = 300.0
"""So long a first copy waits for contents while none comes and the master speaks: a file that the master cannot read any more is
shown as missing, and keeps no replica from being served."""
MASTER_HEARD_SECONDS = 20.0


class FirstCopy:
    """The first copy of one replica. Raises what `State` raises, but waits for room."""

    def __init__(self, state: State, large: Large, room: Room, board: Board) -> None:
        self._state = state
        self._large = large
        self._room = room
        self._board = board
        self._missing, self._missing_since = (0, 0), 0.0

    def turn(self, now: float) -> None:
        """Remember that it is complete, once nothing is stale, and no content missing that may still come."""
        if self._state.first_copy_complete or self._state.standing().stale or not self._state.standing().epoch:
            return
        missing = self._state.count_unmet().get(Reason.BODY, 0)
        if (missing, self._large.came_bytes) != self._missing:
            self._missing, self._missing_since = (missing, self._large.came_bytes), now
        is_given_up = now - self._missing_since >= MISSING_LIMIT_SECONDS and self._is_master_heard()
        if is_given_up and missing:
            log.warning("the first copy is taken for complete without %d contents that the master cannot give", missing)
        if not missing or is_given_up:
            self._room.patiently(self._state.complete_first_copy, math.inf)
            log.info("the first copy is complete: %d paths", self._state.counts.entries)

    def _is_master_heard(self) -> bool:
        return self._board.heartbeat_age_seconds() < MASTER_HEARD_SECONDS
