"""Decides when a process that ended is started again, and when it is worth an alarm. Knows no process; it is told the time."""

DELAY_FIRST_SECONDS = 0.1
DELAY_LIMIT_SECONDS = 5.0
REMEMBERED_SECONDS = 60.0
ALARMING = 3
"""So many ends within the time that is remembered are no accident."""


class Restarts:
    """The ends of one process. `now`: seconds of a steady clock."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def ended(self, now: float) -> None:
        """It ended, and should not have."""
        self._forget(now)
        self._ends.append(now)

    def may_start(self, now: float) -> bool:
        """Whether it may be started now: each end in a row doubles the delay."""
        self._forget(now)
        if not self._ends:
            return True
        delay_seconds = min(DELAY_FIRST_SECONDS * (1 << len(self._ends) - 1), DELAY_LIMIT_SECONDS)
        return now - self._ends[-1] >= delay_seconds

    def is_alarming(self, now: float) -> bool:
        """Whether it keeps ending."""
        self._forget(now)
        return len(self._ends) >= ALARMING

    def _forget(self, now: float) -> None:
        self._ends = [at for at in self._ends if now - at < REMEMBERED_SECONDS]
