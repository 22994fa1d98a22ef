"""Does: scans in slices, so that live changes never wait for one. A scan makes hints, and nothing else.

Knows how to start a walk and the index in path order; not what becomes of the hints. Subtrees that a watcher hinted at go before
a scan of the whole tree, which is continued after them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

from common.names import ROOT
from producer.differences import Difference, Found, Sort, differences
from producer.values import Known, Problem, Seen

SLICE_SECONDS = 0.01
_PAUSE = "pause"
_PAUSE_EVERY = 256


class ScanHint(NamedTuple):
    """What a scan says of one path. `why` "": look at it. Otherwise nothing can be told about it and what is below, and why."""

    path: bytes
    only_scanned: bool
    why: str = ""


@dataclass(slots=True)
class _Scan:
    number: int
    start: bytes
    only_scanned: bool
    found: Iterator[Difference]
    is_asked: bool
    spent_seconds: float = 0.0
    unreadable: set[bytes] = field(default_factory=set)


class Finished(NamedTuple):
    """A scan that came to its end: its number, where it began, what it took, and what could not be read."""

    number: int
    start: bytes
    spent_seconds: float
    unreadable: frozenset[bytes]


class Scans:
    """The scans under way: any number of subtrees, and one of the whole tree. Owned by one thread."""

    def __init__(self, walk: Callable[[bytes], Iterator[Found]], known: Callable[[bytes], Iterator[Known]]) -> None:
        """`walk(start)`: what the disk has at and below a path; `known(start)`: what the index has there; both in path order."""
        self._walk = walk
        self._known = known
        self._parts: list[_Scan] = []
        self._whole: _Scan | None = None
        self._last = 0

    @property
    def is_running(self) -> bool:
        """Whether any scan is not finished."""
        return bool(self._parts) or self._whole is not None

    @property
    def is_whole_running(self) -> bool:
        """Whether the whole tree is being scanned."""
        return self._whole is not None

    @property
    def asked(self) -> frozenset[int]:
        """The scans under way that somebody has a reason for, by number; not those that are merely due."""
        whole = [self._whole] if self._whole is not None else []
        return frozenset(scan.number for scan in (*self._parts, *whole) if scan.is_asked)

    def start(self, path: bytes, *, only_scanned: bool, is_asked: bool = True) -> None:
        """Scan at and below a path. The whole tree is begun anew where that is under way: what is behind may have changed.

        `is_asked`: there is a reason to think that something changed there; what is begun anew keeps its number and
        its reason."""
        before = self._whole if path == ROOT else None
        self._last += 1
        found = differences(_with_pauses(self._walk(path)), self._known(path))
        scan = _Scan(self._last, path, only_scanned, found, is_asked)
        if before is not None:
            scan.number, scan.is_asked = before.number, is_asked or before.is_asked
        if path == ROOT:
            self._whole = scan
        else:
            self._parts.append(scan)

    def start_again(self, finished: Finished, *, only_scanned: bool) -> None:
        """Scan the whole tree once more, in the place of one that came to nothing: who waits for that one waits on."""
        self.start(ROOT, only_scanned=only_scanned)
        if self._whole is not None:
            self._whole.number = finished.number

    def stop(self) -> None:
        """Give all scans up."""
        self._parts.clear()
        self._whole = None

    def advance(self, seconds: float = SLICE_SECONDS) -> tuple[list[ScanHint], Finished | None]:
        """Go on for so long with the scan whose turn it is. At most one scan finishes in a call."""
        scan = self._parts[0] if self._parts else self._whole
        if scan is None:
            return [], None
        began = perf_counter()
        hints: list[ScanHint] = []
        for difference in scan.found:
            if difference.why != _PAUSE:
                hints.append(_hint(difference, scan))
            if perf_counter() - began >= seconds:
                scan.spent_seconds += perf_counter() - began
                return hints, None
        scan.spent_seconds += perf_counter() - began
        self._end(scan)
        return hints, Finished(scan.number, scan.start, scan.spent_seconds, frozenset(scan.unreadable))

    def _end(self, scan: _Scan) -> None:
        if scan is self._whole:
            self._whole = None
        else:
            self._parts.remove(scan)


def _hint(difference: Difference, scan: _Scan) -> ScanHint:
    if difference.sort is Sort.PROBLEM:
        scan.unreadable.add(difference.path)
        return ScanHint(difference.path, scan.only_scanned, difference.why)
    return ScanHint(difference.path, scan.only_scanned)


def _with_pauses(found: Iterable[Found]) -> Iterator[Found]:
    """Where nothing differs, the join of disk and index yields nothing for minutes. A problem at a path that cannot be (with a
    NUL, next in order after the one before) makes it come up for air."""
    for count, one in enumerate(found, 1):
        yield one
        if count % _PAUSE_EVERY == 0 and isinstance(one, Seen):
            yield Problem(one.path + b"\0", _PAUSE)
