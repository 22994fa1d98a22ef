"""Decides how fast a tree is re-read: so that all of it is done in a given time, or at full speed. Knows no clock and no disk.

Work is counted in units: one for each path, and one for each 64 KiB of content. Times are seconds of the caller's clock.
"""

from dataclasses import dataclass

UNIT_BYTES = 64 * 1024
SHARE = 0.9
"""The part of the interval in which a pass is to be done: what differs is read again, and a disk may be slow."""
CATCH_UP = 0.1
"""However late it is: the rest is never read faster than in a tenth of the interval."""
AHEAD_SECONDS = 1.0
"""It waits when it is so far ahead: one wake-up a second, whatever a path's turn is."""


def units(paths: int, size_bytes: int) -> float:
    """How much work it is to re-read so many paths with so many bytes of content."""
    return paths + size_bytes / UNIT_BYTES


@dataclass(slots=True)
class Pace:
    """One pass. `total`, `done`: units. `seconds`: in which what is left at the beginning is to be done, None: at full speed."""

    total: float
    seconds: float | None
    began_at: float
    done: float = 0.0
    done_before: float = 0.0
    """What an earlier process had done of it."""

    @classmethod
    def over(cls, interval_seconds: float, total: float, done: float, now: float, spent_seconds: float) -> "Pace":
        """A pass that is to be done in the interval, of which so much was spent by an earlier process (by clocks that may have
        jumped)."""
        spent_seconds = min(max(spent_seconds, 0.0), interval_seconds)
        seconds = max(SHARE * interval_seconds - spent_seconds, CATCH_UP * interval_seconds)
        return cls(total, seconds, now, done, done)

    @property
    def ratio(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0

    def wait_seconds(self, now: float) -> float:
        """How long to rest before anything more is read; 0 while it is not far ahead."""
        if self.seconds is None:
            return 0.0
        left_then = max(self.total - self.done_before, 1.0)
        due_at = self.began_at + self.seconds * (self.done - self.done_before) / left_then
        ahead_seconds = due_at - now
        return ahead_seconds if ahead_seconds >= min(AHEAD_SECONDS, self.seconds / 10) else 0.0

    def left_seconds(self, now: float) -> float | None:
        """How long the rest takes at the rate until now; None while nothing tells."""
        done = self.done - self.done_before
        if done <= 0 or now <= self.began_at:
            return None
        return max(0.0, self.total - self.done) * (now - self.began_at) / done
