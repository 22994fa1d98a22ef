"""Decides which log lines are written: alike ones not too often, and how many were left out is told. Knows no log and no clock.

Lines are alike when they come of one template, as "problem at %s: %s" is one. An error's first argument counts as part of it
("alarm %s: %s": each kind of alarm is its own). A window begins with a line, and ends a minute later: in it an identical line is
written once, and others that are alike up to a limit.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

WINDOW_SECONDS = 60.0
LINES_A_WINDOW = 20
WINDOWS_KEPT = 1000


class LeftOut(NamedTuple):
    """What a window left out: how many lines, and the last of them."""

    level: int
    lines: int
    last: str


@dataclass(slots=True)
class _Window:
    level: int
    began: float
    written: set[str] = field(default_factory=set)
    left_out: int = 0
    last: str = ""


class Repeats:
    """The windows that are open. Not thread-safe."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window] = {}

    def may_write(self, alike: Hashable, level: int, text: str, now: float) -> bool:
        """Whether this line is written; else it is counted. `alike`: what all that are alike have in common."""
        window = self._windows.setdefault((level, alike), _Window(level, now))
        if text not in window.written and len(window.written) < LINES_A_WINDOW:
            window.written.add(text)
            return True
        window.left_out += 1
        window.last = text
        return False

    def ended(self, now: float) -> list[LeftOut]:
        """Windows that have ended by now, or are too many, with what they left out; those that left out nothing are not told."""
        too_many = len(self._windows) - WINDOWS_KEPT
        return self._close(
            [
                key
                for number, (key, window) in enumerate(self._windows.items())
                if number < too_many or now - window.began >= WINDOW_SECONDS
            ]
        )

    def all(self) -> list[LeftOut]:
        """What every window left out until now; all are ended."""
        return self._close(list(self._windows))

    def due_at(self) -> float | None:
        """When the first window ends that left something out; None: none did."""
        return min((w.began + WINDOW_SECONDS for w in self._windows.values() if w.left_out), default=None)

    def _close(self, keys: list[Hashable]) -> list[LeftOut]:
        closed = [self._windows.pop(key) for key in keys]
        return [LeftOut(window.level, window.left_out, window.last) for window in closed if window.left_out]
