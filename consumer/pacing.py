"""Decides how many parts may be on their way: enough for the round trip, and so few that what comes behind them waits briefly.

Half as much again as the link carried in one round trip, of late: that fills a long link within some round trips, and lets what
comes behind wait for half of one; on a short link it is two parts. Parts that wait for each other make the round trip look
longer, and longer the more there are: so it is measured when nothing else is on its way, and now and then everything is let come
in for that. Times are monotonic seconds.
"""

from collections import deque
from dataclasses import dataclass, field

from common.messages import PART_BYTES

GAIN = 1.5
"""More than 1, or it would never grow; what is beyond 1 waits somewhere on the way."""
PARTS_LEAST = 2
PARTS_MOST = 64
MEMORY_SECONDS = 10.0
"""So long a measurement counts."""
ROUND_TRIP_AGAIN_SECONDS = 4.0
"""So often a round trip is measured."""
SAMPLES_MOST = 64


@dataclass(slots=True)
class Pacing:
    """What was measured lately."""

    _round_trips: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES_MOST))
    _rates: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES_MOST))

    def wants_round_trip(self, now: float) -> bool:
        """Whether nothing should be asked before everything that was asked has come, and then be measured."""
        return not self._round_trips or now - self._round_trips[-1][0] >= ROUND_TRIP_AGAIN_SECONDS

    def measured_round_trip(self, seconds: float, now: float) -> None:
        """So long after a question, with nothing else on its way, its first part came."""
        self._round_trips.append((now, seconds))

    def measured_rate(self, size_bytes: int, seconds: float, now: float) -> None:
        """So much came in the time from a question until its last part, of any question."""
        if seconds > 0:
            self._rates.append((now, size_bytes / seconds))

    def parts(self, now: float) -> int:
        """How many parts may be open."""
        round_trip = min(_recent(self._round_trips, now), default=0.0)
        rate = max(_recent(self._rates, now), default=0.0)
        return max(PARTS_LEAST, min(PARTS_MOST, round(GAIN * rate * round_trip / PART_BYTES)))


def _recent(samples: deque[tuple[float, float]], now: float) -> list[float]:
    return [value for at, value in samples if now - at <= MEMORY_SECONDS]
