"""Decides when all that happened in the source before a moment is journaled. Knows paths and numbers; no disk, no watch.

Three steps. What happened until then was hinted at (a mark in the watch's stream is past, or a scan was asked for). Then the
scans that were asked for by then have ended. Then each path that waited in that moment was looked at by a round that began
later, and all that came of that round is in the journal; or it waited for nothing but the end of the round that was open.
"""

from collections.abc import Collection, Iterable
from enum import Enum

from common.entries import Position
from common.names import ROOT, ancestors


class Step(Enum):
    """What a barrier waits for; the word is for a person."""

    BASE = "its first scan"
    HINTS = "the watch"
    SCANS = "a scan"
    PATHS = "changed paths to be read"
    DONE = "nothing"


class Barrier:
    """One moment. `under`: only what happened at these paths and below them counts; none: everything."""

    def __init__(self, under: Collection[bytes] = ()) -> None:
        self.under = frozenset(under)
        self._scans: frozenset[int] = frozenset()
        self._to_look: set[bytes] = set()
        self._to_end: set[bytes] = set()
        self._open_round = 0
        self.step = Step.BASE
        self.problems: list[bytes] = []
        """The paths that count and of which nothing can be carried."""
        self.position: Position | None = None
        """Everything is in the journal at this position; None before."""

    @property
    def waiting(self) -> int:
        """How many paths it still waits for."""
        return len(self._to_look) + len(self._to_end)

    def begun(self) -> None:
        """The whole tree is known: from now on it waits for hints."""
        self.step = Step.HINTS

    def hinted(self, scans: frozenset[int]) -> None:
        """All that happened was hinted at, or is found by one of these scans."""
        self._scans, self.step = scans, Step.SCANS

    def scanned(self, running: frozenset[int]) -> bool:
        """Whether the scans that it waits for have ended. `running`: those that have not."""
        return not self._scans & running

    def snapshot(self, waiting: Iterable[bytes], in_round: Iterable[bytes], round_number: int) -> None:
        """What is to be looked at in this moment; what was taken for the round that is open, and which one that is."""
        self._to_look = {path for path in waiting if self._counts(path)}
        self._to_end = {path for path in in_round if self._counts(path)} - self._to_look
        self._open_round, self.step = round_number, Step.PATHS

    def round_ended(self, number: int, settled: Collection[bytes]) -> None:
        """All that came of a round is in the journal. `settled`: of which all was told."""
        if self.step is not Step.PATHS:
            return
        before = self._to_look if number > self._open_round else set()
        done = {path for path in settled if path in before or path in self._to_end}
        self._to_look -= done
        self._to_end -= done

    def done(self, position: Position, problems: Iterable[bytes] = ()) -> None:
        """Nothing is waited for any more. `problems`: all paths of which nothing can be carried."""
        self.step, self.position = Step.DONE, position
        self.problems = sorted(path for path in problems if self._counts(path))

    def named(self, limit: int) -> list[bytes]:
        """Some of the paths that it still waits for, in byte order."""
        return sorted(self._to_look | self._to_end)[:limit]

    def _counts(self, path: bytes) -> bool:
        if not self.under:
            return True
        return path in self.under or ROOT in self.under or any(above in self.under for above in ancestors(path))
