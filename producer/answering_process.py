"""Does: an `Answerer` in a process of its own: starts it with the first question, grants it credit, starts it again when it died.

A slow broker or a set rate holds it up before it makes, not after: an answer is for the newest question, and memory is bounded.
What it had heard when it died is lost: replicas ask again. Knows neither journal nor source, but where they are.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from common.board import Board
from producer.answerer import Said, size_of
from producer.answering_child import AnsweringChild
from producer.parcels import Asked, Credit, Forget
from producer.restarts import Restarts

log = logging.getLogger("treecast")

LOOK_SECONDS = (0.005, 0.04)
"""How soon to look again for room, while there is none: at first, and at the latest. Each look doubles it: so no way to a broker
is idle for longer than it was full."""
IDLE_SECONDS = 60.0
"""Nobody asked for so long: it is ended, and its memory is free."""
SILENCE_LIMIT_SECONDS = 60.0
"""It is asked, may say something, and says nothing for so long: it hangs."""
CLOSE_SECONDS = 1.0
ALARM = "answering"


class AnsweringProcess:
    """See the module and `answerer.Answerer`."""

    def __init__(
        self, journal: Path, source: Path, board: Board, wake: Callable[[], None], exclude: Sequence[str] = ()
    ) -> None:
        """`exclude`: the lines of the tree's patterns, which are a content too."""
        self._exclude = exclude
        self._journal = journal
        self._source = source
        self._board = board
        self._wake = wake
        self._restarts = Restarts()
        self._child: AnsweringChild | None = None
        self._asked_at = self._alive_at = float("-inf")
        self._parcels_heard = 0
        self._look_seconds = LOOK_SECONDS[0]

    @property
    def pid(self) -> int | None:
        """Its process id while it lives."""
        return self._child.pid if self._child is not None and self._child.exit_code is None else None

    def ask(self, question: bytes, now: float) -> None:
        """See the port. Not waited for: it takes a moment to start, and the question waits in its pipe."""
        self._look_after(now)
        if self._child is None and self._restarts.may_start(now):
            self._start(now)
        if self._child is not None:
            self._asked_at = now
            self._child.say(Asked(question))

    def forget(self, replica: str, now: float) -> None:
        """See the port."""
        if self._child is not None:
            self._child.say(Forget(replica))

    def take(self, room_bytes: float, now: float) -> list[Said]:
        """See the port."""
        self._look_after(now)
        child = self._child
        if room_bytes <= 0:
            self._look_seconds = min(2 * self._look_seconds, LOOK_SECONDS[1])
        if child is None or room_bytes <= 0:
            return []
        self._look_seconds = LOOK_SECONDS[0]
        child.flush()
        taken = child.take(room_bytes)
        left_bytes = room_bytes - sum(map(size_of, taken))
        if not child.has_said and left_bytes > 0 and child.promised_bytes < left_bytes / 2:
            child.say(Credit(int(left_bytes) - child.promised_bytes))
        return taken

    def wait_seconds(self) -> float | None:
        """See the port."""
        child = self._child
        if child is None:
            return None
        lacks_room = child.has_said or (child.is_busy and child.promised_bytes <= 0)
        return self._look_seconds if lacks_room or child.is_unheard else None

    def close(self) -> None:
        """See the port. Nothing of it is left."""
        if self._child is not None:
            self._child.close(CLOSE_SECONDS)
            self._child = None

    def _start(self, now: float) -> None:
        try:
            self._child = AnsweringChild(self._journal, self._source, self._wake, self._exclude)
        except OSError as error:
            self._ended(now, f"cannot be started: {error}")
        self._alive_at, self._parcels_heard = now, 0

    def _look_after(self, now: float) -> None:
        """See to its life and its end."""
        child = self._child
        if child is None:
            if not self._restarts.is_alarming(now):
                self._board.clear(ALARM)
        elif child.exit_code is not None:
            if not child.has_said:
                self._child = None
                if not child.is_told_to_end:
                    self._ended(now, child.how_it_ended())
                child.close(CLOSE_SECONDS)
        elif not child.is_busy and now - self._asked_at > IDLE_SECONDS:
            child.end()
        elif self._hangs(child, now):
            child.kill()

    def _hangs(self, child: AnsweringChild, now: float) -> bool:
        may_speak = child.is_busy and not child.has_said and child.promised_bytes > 0
        if not may_speak or child.parcels_heard != self._parcels_heard:
            self._alive_at, self._parcels_heard = now, child.parcels_heard
        return now - self._alive_at > SILENCE_LIMIT_SECONDS

    def _ended(self, now: float, how: str) -> None:
        log.warning("the process that makes answers ended (%s); it is started again when a replica asks", how)
        self._restarts.ended(now)
        if self._restarts.is_alarming(now):
            self._board.alarm(ALARM, f"the process that makes answers keeps ending ({how}): replicas that ask get none")
