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


class DirtySet:
    """Paths and subtrees to look at. Owned by one thread. Its length counts both, delayed ones too.

    Times are seconds of one clock of the caller's.
    """

    def __init__(self) -> None:
        self._flags: dict[bytes, int] = {}
        self._order: deque[bytes] = deque()
        self._delayed: dict[bytes, tuple[float, int]] = {}
        self._due: list[tuple[float, bytes]] = []
        self._subtrees = PathSet()

    def __len__(self) -> int:
        return len(self._flags) + len(self._delayed) + len(self._subtrees)

    def __contains__(self, path: bytes) -> bool:
        return path in self._flags or path in self._delayed

    def add(
        self, path: bytes, now: float, not_before: float = 0.0, *, from_scan: bool = False, force: bool = False
    ) -> None:
        """This path may have changed. Idempotent: it keeps its place; the earlier time counts; once hinted at by more than a
        scan, it is no more `from_scan`; once forced, it stays so until it is taken."""
        flags = (_FROM_SCAN if from_scan else 0) | (_FORCE if force else 0)
        ready = self._flags.get(path)
        if ready is not None:
            self._flags[path] = _merged(ready, flags)
            return
        delayed = self._delayed.get(path)
        if delayed is not None:
            not_before, flags = min(not_before, delayed[0]), _merged(delayed[1], flags)
        if not_before > now:
            self._delayed[path] = (not_before, flags)
            heappush(self._due, (not_before, path))
            return
        self._delayed.pop(path, None)
        self._flags[path] = flags
        self._order.append(path)

    def take(self, limit: int, now: float) -> list[Taken]:
        """Up to `limit` paths that are due, in the order of their first hint. They are in the set no more."""
        self._ripen(now)
        next_path, flags_of = self._order.popleft, self._flags.pop
        paths = [next_path() for _ in range(min(limit, len(self._order)))]
        return [_take(path, flags_of(path)) for path in paths]

    def give_back(self, taken: Iterable[Taken]) -> None:
        """These were not looked at after all: back to the front, in their order."""
        for path, from_scan, force in reversed(list(taken)):
            flags = (_FROM_SCAN if from_scan else 0) | (_FORCE if force else 0)
            delayed = self._delayed.pop(path, None)
            if delayed is not None:
                flags = _merged(delayed[1], flags)
            if path in self._flags:
                self._flags[path] = _merged(self._flags[path], flags)
                continue
            self._flags[path] = flags
            self._order.appendleft(path)

    def paths(self) -> set[bytes]:
        """All paths, delayed ones too; not the subtrees."""
        return self._flags.keys() | self._delayed.keys()

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
        if any(wider in self._subtrees for wider in (ROOT, *ancestors(path), path)):
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
            self._flags[path] = delayed[1]
            self._order.append(path)


def _take(path: bytes, flags: int) -> Taken:
    # A tuple's own constructor takes half the time of the named tuple's.
    return tuple.__new__(Taken, (path, bool(flags & _FROM_SCAN), bool(flags & _FORCE)))


def _merged(one: int, other: int) -> int:
    return (one & other & _FROM_SCAN) | ((one | other) & _FORCE)
