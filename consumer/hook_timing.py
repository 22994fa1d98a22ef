"""Decides when a hook runs, and runs again after a failure. Knows no clock, no process and no state.

A run is for a consistent point: nothing stale, no content missing. One run at a time; what changes meanwhile waits for the next.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from common.transport.backoff import Backoff

GAP_SECONDS = 1.0
"""Between the beginnings of two runs at least: what a busy tree changes meanwhile is one run."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 300.0
ALARM_FAILURES = 3
"""So many in a row are an alarm."""
MISSING_LIMIT_SECONDS = 300.0
"""So long it waits for a content that is missing: one that the master cannot give any more holds up nothing after that."""


class Seen(NamedTuple):
    """How the replica stands. `waits`: whether a change waits to be told."""

    waits: bool
    stale_buckets: int
    missing_contents: int


@dataclass(slots=True)
class HookTiming:
    """The runs of one hook. Times are in seconds of any one clock that never goes back."""

    failures: int = 0
    """How many in a row, until now."""
    is_running: bool = False
    _not_before: float = -math.inf
    _missing: int = 0
    _missing_since: float = -math.inf
    """When a content began to be missing last."""
    _backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS))

    @property
    def is_alarming(self) -> bool:
        """Whether a person should look."""
        return self.failures >= ALARM_FAILURES

    def may_run(self, seen: Seen, now: float) -> bool:
        """Whether a run may begin now. Ask often: it is told by this what is missing, and since when."""
        if seen.missing_contents > self._missing:
            self._missing_since = now
        self._missing = seen.missing_contents
        has_all = not self._missing or now - self._missing_since >= MISSING_LIMIT_SECONDS
        return not self.is_running and now >= self._not_before and seen.waits and not seen.stale_buckets and has_all

    def began(self, now: float) -> None:
        """A run has begun."""
        self.is_running = True
        self._not_before = now + GAP_SECONDS

    def succeeded(self) -> None:
        """It was told."""
        self.is_running = False
        self.failures = 0
        self._backoff.reset()

    def failed(self, now: float, chance: float) -> float:
        """It was not. Returns in how many seconds it is tried again; `chance`, 0 to 1, takes up to half of them away."""
        self.is_running = False
        self.failures += 1
        wait_seconds = self._backoff.next_seconds(chance)
        self._not_before = max(self._not_before, now + wait_seconds)
        return self._not_before - now
