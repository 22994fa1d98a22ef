"""Decides whether a replica may be relied on although it is behind, and when it steps out of service.

It knows that it is behind when it has known of a position of the leader for longer than a limit, and has not reached it durably:
by its own steady clock, with nobody's clock compared to another's. Silence tells it nothing new, so silence puts nobody out of
service. And it steps out only on leave: it asks with each report, by a number that says when it asked; the producer grants
that by name and number in its heartbeats, and whoever hears none, or an old one, is back in service within 20 s.
"""

from common.entries import BEFORE_ALL, Position
from common.messages import REST_LEASE_SECONDS

MARKS_LIMIT = 256
NUMBER_LIMIT = 1 << 62


class Readiness:
    """See the module. `now`: seconds of a steady clock. Owned by one thread."""

    def __init__(self, limit_seconds: float | None, start: int) -> None:
        """`limit_seconds`: how long a known position may wait; None: for ever. `start`: a random number, from which asking is
        counted, so that no leave that an earlier process asked for is taken for ours."""
        self._limit_seconds = limit_seconds
        self._start = start % (NUMBER_LIMIT // 2)
        self._marks: list[tuple[Position, float]] = []
        """Positions that are known and not reached, each with when it was first heard of; in the order of both."""
        self._granted: int | None = None

    # -- what it hears
    def heard(self, position: Position, now: float) -> None:
        """The leader stands at this position, or beyond."""
        if self._limit_seconds is None or position <= self._last:
            return
        if len(self._marks) >= MARKS_LIMIT:
            # Every other one goes, not the first: a position that is missing only lets a later one stand for it.
            self._marks = self._marks[::2]
        self._marks.append((position, now))

    def reached(self, position: Position) -> None:
        """Everything up to there is durable here, with nothing stale."""
        while self._marks and self._marks[0][0] <= position:
            self._marks.pop(0)

    def granted(self, number: int | None) -> None:
        """A heartbeat of the leader names us, with the number by which we asked; None: it does not."""
        self._granted = number

    @property
    def _last(self) -> Position:
        return self._marks[-1][0] if self._marks else BEFORE_ALL

    # -- how it stands
    def behind_seconds(self, now: float) -> float:
        """For how long the oldest position has been known that is not reached; 0: none is."""
        return now - self._marks[0][1] if self._marks else 0.0

    def wants_rest(self, now: float) -> bool:
        """Whether it knows that it is too far behind to be relied on."""
        return self._limit_seconds is not None and self.behind_seconds(now) > self._limit_seconds

    def is_resting(self, now: float) -> bool:
        """Whether it is out of service: it is too far behind, and has leave."""
        return self.wants_rest(now) and self._granted is not None and self._is_fresh(self._granted, now)

    def number(self, now: float) -> int:
        """By which it asks now."""
        return self._start + int(now * 1000)

    def _is_fresh(self, number: int, now: float) -> bool:
        return 0 <= self.number(now) - number < REST_LEASE_SECONDS * 1000
