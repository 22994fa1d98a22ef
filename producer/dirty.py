"""The dirty set: which paths to look at, in the order of their first hint. Decides; the time is passed in, nothing is read.

A path is in it once, however often it is hinted at. It is taken before it is looked at, so a hint that comes meanwhile puts it
back. A path may be delayed (busy, too young, fresh); delayed paths cost nothing until they are due.
"""

from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush

from common.names import ROOT, ancestors
from producer.pathset import PathSet
from producer.values import Taken

_FROM_SCAN = 1
_FORCE = 2
_FLAGS = _FROM_SCAN | _FORCE
_MOMENT_SHIFT = 2
"""A path's mark is one number, for there may be many: flags, and above them the milliseconds of its first hint."""


class DirtySet:
    """Paths and subtrees to look at. Owned by one thread. Its length counts both, delayed ones too.

    Times are seconds of one clock of the caller's.
    """

    def __init__(self) -> None:
        self._marks: dict[bytes, int] = {}
        self._order: deque[bytes] = deque()
        self._delayed: dict[bytes, tuple[float, int]] = {}
        self._due: list[tuple[float, bytes]] = []
        self._subtrees = PathSet()
        self._now, self._moment = 0.0, 0

    def __len__(self) -> int:
        return len(self._marks) + len(self._delayed) + len(self._subtrees)

    def __contains__(self, path: bytes) -> bool:
        return path in self._marks or path in self._delayed

    def add(
        self, path: bytes, now: float, not_before: float = 0.0, *, from_scan: bool = False, force: bool = False
    ) -> None:
        """This path may have changed. Idempotent: it keeps its place; the earlier time counts; once hinted at by more than a
        scan, it is no more `from_scan`; once forced, it stays so until it is taken."""
        if now != self._now:
            self._now, self._moment = now, _moment(now)
        mark = self._moment | (_FROM_SCAN if from_scan else 0) | (_FORCE if force else 0)
        ready = self._marks.get(path)
        if ready is not None:
            if ready & _FROM_SCAN or force:
                self._marks[path] = _merged(ready, mark)
            return
        delayed = self._delayed.get(path)
        if delayed is not None:
            not_before, mark = min(not_before, delayed[0]), _merged(delayed[1], mark)
        if not_before > now:
            self._delayed[path] = (not_before, mark)
            heappush(self._due, (not_before, path))
            return
        self._delayed.pop(path, None)
        self._marks[path] = mark
        self._order.append(path)

    def take(self, limit: int, now: float) -> list[Taken]:
        """Up to `limit` paths that are due, in the order of their first hint. They are in the set no more."""
        self._ripen(now)
        next_path, mark_of = self._order.popleft, self._marks.pop
        paths = [next_path() for _ in range(min(limit, len(self._order)))]
        return [_take(path, mark_of(path)) for path in paths]

    def give_back(self, taken: Iterable[Taken]) -> None:
        """These were not looked at after all: back to the front, in their order."""
        for path, from_scan, force, since in reversed(list(taken)):
            mark = _moment(since) | (_FROM_SCAN if from_scan else 0) | (_FORCE if force else 0)
            delayed = self._delayed.pop(path, None)
            if delayed is not None:
                mark = _merged(mark, delayed[1])
            if path in self._marks:
                self._marks[path] = _merged(mark, self._marks[path])
                continue
            self._marks[path] = mark
            self._order.appendleft(path)

    def is_delayed(self, path: bytes) -> bool:
        """Whether it waits for its time."""
        return path in self._delayed

    def is_to_be_scanned(self, path: bytes) -> bool:
        """Whether it is in a subtree that waits to be scanned."""
        return any(wider in self._subtrees for wider in (ROOT, *ancestors(path), path))

    def paths(self) -> set[bytes]:
        """All paths, delayed ones too; not the subtrees."""
        return self._marks.keys() | self._delayed.keys()

    def ready(self, now: float) -> int:
        """How many paths could be taken now."""
        self._ripen(now)
        return len(self._order)

    def next_due(self, now: float) -> float | None:
        """Seconds until a path can be taken: 0 when one can be now, None when there is none."""
        if self.ready(now):
            return 0.0
        return max(0.0, self._due[0][0] - now) if self._due else None

    def add_subtree(self, path: bytes) -> None:
        """Everything at and below this path may have changed. What lies in a subtree that is here already adds nothing."""
        if self.is_to_be_scanned(path):
            return
        for narrower in self._subtrees.below(path):
            self._subtrees.discard(narrower)
        self._subtrees.add(path)

    def take_subtree(self, *, but_root: bool = False) -> bytes | None:
        """The subtree that was hinted at first, or None; `but_root`: not the whole tree. It is in the set no more."""
        for path in self._subtrees:
            if path != ROOT or not but_root:
                self._subtrees.discard(path)
                return path
        return None

    def has_subtree(self) -> bool:
        """Whether a subtree waits to be scanned."""
        return len(self._subtrees) > 0

    def _ripen(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            at, path = heappop(self._due)
            delayed = self._delayed.get(path)
            if (
                delayed is None or delayed[0] != at
            ):  # taken since, or its time was changed: another row of the heap has it
                continue
            del self._delayed[path]
            self._marks[path] = delayed[1]
            self._order.append(path)


def _moment(now: float) -> int:
    return round(max(0.0, now) * 1000) << _MOMENT_SHIFT


def _take(path: bytes, mark: int) -> Taken:
    # A tuple's own constructor takes half the time of the named tuple's.
    since = (mark >> _MOMENT_SHIFT) / 1000
    return tuple.__new__(Taken, (path, bool(mark & _FROM_SCAN), bool(mark & _FORCE), since))


def _merged(first: int, later: int) -> int:
    """Of two marks, the first one's moment."""
    return (first & ~_FLAGS) | (first & later & _FROM_SCAN) | ((first | later) & _FORCE)
