"""Decides how long to wait before the next attempt. Knows no clock, and no chance: the caller brings it."""

from dataclasses import dataclass

JITTER = 0.5
"""Up to this part of a wait is taken off by chance, so that a fleet does not come back in one instant."""


@dataclass(slots=True)
class Backoff:
    """Waits that double from the first to the limit, in seconds."""

    first_seconds: float
    limit_seconds: float
    attempts: int = 0

    def next_seconds(self, chance: float) -> float:
        """How long to wait before the next attempt; `chance` is from 0 to 1 and takes up to half of it away."""
        doublings = min(self.attempts, 30)
        self.attempts += 1
        whole_seconds = min(self.limit_seconds, self.first_seconds * 2.0**doublings)
        return whole_seconds * (1 - JITTER * chance)

    def reset(self) -> None:
        """An attempt succeeded."""
        self.attempts = 0
