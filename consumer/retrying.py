"""Decides when a path that has a problem is tried again: after a pause that doubles. Volatile: behind a restart all are tried.

Each try of a file costs its content once more on the way, and most problems of a path end by a person's hand: an immutable file
must not be fetched twice a minute for ever. Times are monotonic seconds.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from common.names import ancestors

PAUSE_SECONDS = (30.0, 3600.0)
PATHS_LIMIT = 10_000
"""So many are remembered; of the oldest beyond that it is forgotten how often they were tried."""


class _Tried(NamedTuple):
    not_before: float
    pause_seconds: float


@dataclass(slots=True)
class Retrying:
    """What was tried, and when it is tried next."""

    _tried: dict[bytes, _Tried] = field(default_factory=dict)
    _above: Counter[bytes] = field(default_factory=Counter)
    """Of each directory, how many below it were tried."""

    def due(self, paths: Iterable[bytes], now: float) -> list[bytes]:
        """Those of these paths, which all have a problem, that are tried now."""
        due = [path for path in paths if path not in self._tried or now >= self._tried[path].not_before]
        first, longest = PAUSE_SECONDS
        for path in due:
            before = self._forget(path)
            pause = min(longest, 2 * before.pause_seconds) if before is not None else first
            self._tried[path] = _Tried(now + pause, pause)
            self._above.update(ancestors(path))
        while len(self._tried) > PATHS_LIMIT:
            self._forget(next(iter(self._tried)))
        return due

    def among(self, paths: Collection[bytes]) -> list[bytes]:
        """Those of these paths that were tried again before; costs nothing while there are none."""
        return [path for path in self._tried if path in paths] if self._tried else []

    def solved(self, paths: Collection[bytes]) -> None:
        """These have no problem any more; what is below them may be possible now."""
        if not self._tried:
            return
        for path in paths:
            self._forget(path)
        if solved := {path for path in paths if path in self._above}:
            for path in [path for path in self._tried if not solved.isdisjoint(ancestors(path))]:
                self._forget(path)

    def at_once(self) -> None:
        """Everything is tried now: somebody may have seen to it."""
        self._tried.clear()
        self._above.clear()

    def _forget(self, path: bytes) -> _Tried | None:
        tried = self._tried.pop(path, None)
        if tried is not None:
            self._above.subtract(ancestors(path))
            for above in ancestors(path):
                if not self._above[above]:
                    del self._above[above]
        return tried
