"""Decides when a replica reports: every 5 s, and at each new position, at most 20 times a second."""

from dataclasses import dataclass
from typing import Any

REPORT_SECONDS = 5.0
REPORT_SECONDS_MINIMUM = 0.05


@dataclass(slots=True)
class ReportClock:
    """When the next report is due. `news` is whatever makes a report worth sending at once: position, agreed, state."""

    reported: Any = None
    reported_at: float | None = None

    def is_due(self, news: Any, now: float) -> bool:
        """Whether to report now."""
        return now >= self.due_at(news)

    def due_at(self, news: Any) -> float:
        """When to report, in monotonic seconds; in the past when nothing was reported yet."""
        if self.reported_at is None:
            return 0.0
        return self.reported_at + (REPORT_SECONDS if news == self.reported else REPORT_SECONDS_MINIMUM)

    def sent(self, news: Any, now: float) -> None:
        """It was reported."""
        self.reported, self.reported_at = news, now
