"""Does: takes paths out of the dirty set, looks at them, and compares what is there with the index. It publishes nothing.

Take before you look: a hint that comes meanwhile puts the path back. What cannot be told yet goes back by itself, later.
"""

from dataclasses import dataclass, field
from time import perf_counter

from common.board import Board
from common.entries import Entry
from common.errors import TreecastError
from producer import batching
from producer.dirty import DirtySet
from producer.hashing import Finished, HashingThread
from producer.journal import Journal
from producer.look import AGAIN_SECONDS, Looker
from producer.pathset import PathSet
from producer.source import Source
from producer.unhashed import Unhashed
from producer.values import Absent, Busy, Change, Identity, Known, Large, LeftOut, Looked, Present, Problem, Taken

CHUNK_PATHS = 256
AGAIN_LIMIT_SECONDS = 1.0
BUSY_LIMIT_SECONDS = 30.0
ROUND_SECONDS = 1.0
"""A round ends after this time, whatever it has: what is no change makes no batch full, and may be large or slow to read."""
_BUSY_TOO_LONG = "changes faster than it can be read"
_TIME_LOW_NS, _TIME_HIGH_NS = -(1 << 63), 1 << 63


@dataclass(slots=True)
class Compared:
    """One round: what was taken, what differs from the index, and identities that changed while nothing else did."""

    with_bodies: bool
    taken: list[Taken] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    identities: list[tuple[bytes, Identity]] = field(default_factory=list)
    here: list[bytes] = field(default_factory=list)
    """What was looked at and is there, changed or not."""
    put_off: set[bytes] = field(default_factory=set)
    """What was looked at and could not be told yet; it comes back by itself."""
    seen: dict[bytes, float] = field(default_factory=dict)
    """When what was looked at was hinted at first, before it was busy or hashed; in seconds of the dirty set's clock."""
    raw_bytes: int = 0
    until: float = field(default_factory=lambda: perf_counter() + ROUND_SECONDS)

    @property
    def has_room(self) -> bool:
        if len(self.taken) >= batching.EVENTS_LIMIT or self.raw_bytes >= batching.TARGET_BYTES:
            return False
        return not self.taken or perf_counter() < self.until

    @property
    def told(self) -> set[bytes]:
        """The paths of which it is known what is there."""
        return {taken.path for taken in self.taken} - self.put_off

    @property
    def takes_away(self) -> bool:
        """Whether anything goes, or stops being a directory: then the root must be above doubt."""
        return any(c.old is not None and (c.new is None or c.new.kind != c.old.kind) for c in self.changes)


@dataclass(frozen=True, slots=True)
class _Again:
    since: float
    delay_seconds: float
    not_before: float


class Comparer:
    """See the module. Owned by one thread. `now`: seconds of the dirty set's clock."""

    def __init__(self, source: Source, journal: Journal, dirty: DirtySet, board: Board, hashing: HashingThread) -> None:
        self._source = source
        self._journal = journal
        self._dirty = dirty
        self._board = board
        self._is_selective = bool(source.patterns)
        self._again: dict[bytes, _Again] = {}
        self._first_seen: dict[bytes, float] = {}
        """Of what was put off: the time of its first hint."""
        self._hashing = hashing
        self.unhashed = Unhashed()
        self.problems = PathSet()

    def hint(self, path: bytes, now: float, *, from_scan: bool = False, force: bool = False) -> None:
        """This path may have changed. One that is busy keeps its delay: it would be busy again. `force`: read it, whatever
        its times say."""
        again = self._again.get(path) if self._again else None
        self._dirty.add(path, now, again.not_before if again is not None else 0.0, from_scan=from_scan, force=force)

    def look_again(self, path: bytes, now: float, again_seconds: float, why: str = _BUSY_TOO_LONG) -> None:
        """Nothing can be told of it yet: back with a delay that grows up to a second; a problem when that lasts."""
        before = self._again.get(path)
        if before is not None:
            again_seconds = max(again_seconds, min(AGAIN_LIMIT_SECONDS, 2 * before.delay_seconds))
            if now - before.since > BUSY_LIMIT_SECONDS:
                self._show(path, why)
        since = before.since if before is not None else now
        self._again[path] = _Again(since, again_seconds, now + again_seconds)
        self._dirty.add(path, now, now + again_seconds)

    def forget_hashed(self) -> None:
        """Nothing is hashed any more: the end."""
        self._hashing.close()

    def compare(self, now: float, *, with_bodies: bool = True) -> Compared:
        """One round of looks, as many as make a good batch.

        Raises RootGoneError and NoRoomError; then everything that was taken is back in the dirty set.
        """
        compared = Compared(with_bodies)
        try:
            with self._source.looking() as looker:
                while compared.has_room and self._compare_chunk(compared, looker, now):
                    pass
        except TreecastError:
            self._dirty.give_back(compared.taken)
            raise
        return compared

    def _compare_chunk(self, compared: Compared, looker: Looker, now: float) -> bool:
        chunk = self._dirty.take(CHUNK_PATHS, now)
        looked_at = 0
        try:
            index = self._journal.entries([taken.path for taken in chunk])
            for taken in chunk:
                if not compared.has_room:
                    break
                self._compare_one(taken, index.get(taken.path), compared, looker, now)
                compared.taken.append(taken)
                looked_at += 1
        finally:
            self._dirty.give_back(chunk[looked_at:])
        return bool(chunk)

    def _compare_one(self, taken: Taken, known: Known | None, compared: Compared, looker: Looker, now: float) -> None:
        path = taken.path
        compared.seen[path] = self._first_seen.pop(path, taken.since) if self._first_seen else taken.since
        if self._is_selective and self._source.excludes(path, True) and self._source.excludes(path, False):
            self._leave(path, known, compared)
            return
        settle_seconds = self._source.settle_seconds if taken.from_scan else 0.0
        hashed = self.unhashed.take(path)
        looked = looker.look(path, known, force=taken.force, settle_seconds=settle_seconds, hashed=hashed)
        if isinstance(looked, Large):
            refused = self._hash(taken, looker) if hashed is None else Busy(path, AGAIN_SECONDS)
            if refused is None:
                self._leave_for_later(path, compared)
                return
            looked = refused
        self.unhashed.settled(path)
        if self._is_selective and self._source.excludes(path, _is_directory(looked, known)):
            self._leave(path, known, compared)
        elif isinstance(looked, Present):
            self._here(looked, known, compared, now)
        elif isinstance(looked, Absent):
            self._gone(path, known, compared)
        elif isinstance(looked, LeftOut):
            self._gone(path, known, compared)
            if looked.why:
                self._show(path, looked.why)
        elif isinstance(looked, Busy):
            self._leave_for_later(path, compared)
            self._put_off(taken, looked, now)
        else:
            self._again.pop(path, None)
            self._show(path, looked.why)

    def _leave_for_later(self, path: bytes, compared: Compared) -> None:
        compared.put_off.add(path)
        self._first_seen[path] = compared.seen[path]

    def _hash(self, taken: Taken, looker: Looker) -> Busy | Problem | None:
        """Have a large file hashed when it is its turn; it comes back then (None). Otherwise why it cannot be."""
        path = taken.path
        if not self.unhashed.begin(path, force=taken.force, is_busy=path in self._again):
            return None
        opened: int | Busy | Problem | None = None
        try:
            opened = looker.open_large(path)
        finally:
            if not isinstance(opened, int):
                self.unhashed.finished(path, None)
        if not isinstance(opened, int):
            return opened
        self._hashing.begin(path, opened)
        return None

    def hear_hashed(self, now: float) -> None:
        """Take in what was hashed: it is looked at again. And those whose turn it is now."""
        for finished in self._hashing.finished():
            self.unhashed.finished(finished.path, finished.hashed)
            self._hear_one(finished, now)
        for path, force in self.unhashed.next():
            self.hint(path, now, force=force)

    def _hear_one(self, finished: Finished, now: float) -> None:
        if finished.hashed is not None:
            self.hint(finished.path, now)
        elif finished.why:
            self._again.pop(finished.path, None)
            self._first_seen.pop(finished.path, None)
            self._show(finished.path, finished.why)
        else:
            self.look_again(finished.path, now, AGAIN_SECONDS)

    def _here(self, found: Present, known: Known | None, compared: Compared, now: float) -> None:
        path, entry, body, identity, fresh_seconds = found
        compared.here.append(path)
        if not _TIME_LOW_NS <= entry.mtime_ns < _TIME_HIGH_NS:
            self._show(path, "its time of modification is beyond what can be carried")
            return
        self._settled(path)
        if fresh_seconds > 0:
            self._dirty.add(path, now, now + fresh_seconds, force=True)
        if known is None or entry != known.entry:
            self._add(Change(path, known.entry if known is not None else None, entry, body, identity), compared)
        elif identity != known.identity and not entry.is_directory:
            compared.identities.append((path, identity))
        if self.problems and known is not None and known.entry.is_directory and not entry.is_directory:
            self._solve_below(path)

    def _gone(self, path: bytes, known: Known | None, compared: Compared) -> None:
        self._settled(path)
        if self.problems and (known is None or known.entry.is_directory):
            self._solve_below(path)
        if known is not None:
            self._add(Change(path, known.entry, None), compared)

    def _leave(self, path: bytes, known: Known | None, compared: Compared) -> None:
        """It is excluded: what was published of it leaves the index, and stays on the disks; but where it was of a kind that is
        not excluded, it is gone."""
        self._settled(path)
        if known is not None:
            keep = self._source.excludes(path, known.entry.is_directory)
            self._add(Change(path, known.entry, None, keep=keep), compared)

    def _add(self, change: Change, compared: Compared) -> None:
        if not compared.with_bodies:
            change = change._replace(body=None)
        compared.changes.append(change)
        compared.raw_bytes += batching.raw_bytes(change)

    def _put_off(self, taken: Taken, busy: Busy, now: float) -> None:
        if taken.from_scan:  # not busy: too young to be read when nothing but a scan saw it
            self._dirty.add(taken.path, now, now + busy.again_seconds, from_scan=True, force=taken.force)
        else:
            self.look_again(taken.path, now, busy.again_seconds)

    def _show(self, path: bytes, why: str) -> None:
        self.problems.add(path)
        self._board.problem(path, why)

    def _settled(self, path: bytes) -> None:
        if self._again:
            self._again.pop(path, None)
        if path in self.problems:
            self.problems.discard(path)
            self._board.solved(path)

    def _solve_below(self, directory: bytes) -> None:
        for path in self.problems.below(directory):
            self._settled(path)


def _is_directory(looked: Looked, known: Known | None) -> bool:
    entry: Entry | None = known.entry if known is not None else None
    if isinstance(looked, Present):
        entry = looked.entry
    return entry is not None and entry.is_directory
