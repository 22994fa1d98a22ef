"""Does: finds out what may have changed, and fills the dirty set: the watch, the scans, the state of the root.

A start after downtime, an overflow, a lost watch and a periodic check are one act: scan and compare. The watch is started before
the first scan. Knows nothing of publishing; `may_publish` says whether what is found may be believed.
"""

import time
from collections.abc import Callable

from common.board import Board
from common.errors import SettingError
from common.names import NOBODYS_AT_ROOT, ROOT, escape, is_below
from producer import guard
from producer.comparing import Comparer
from producer.dirty import DirtySet
from producer.guard import Root
from producer.journal import Journal
from producer.scanning import Finished, Scans
from producer.source import Source
from producer.watch.port import Hint, Watch

ROOT_CHECK_SECONDS = 5.0
ROOT_CHECK_SECONDS_WHEN_BLOCKED = 1.0
SCAN_INTERVAL_SECONDS = 3600.0
"""How often the whole tree is scanned beside a watcher."""
SCAN_SHARE = 50.0
"""Where only scans see changes, a scan that took t comes again after 50 t: 2 percent of a core."""
SCAN_PAUSE_LIMIT_SECONDS = 1.0
"""The shortest pause between two scans."""
WATCH_AGAIN_SECONDS = 600.0
"""How often a watch that could not be had is tried again: somebody may have used all that the system gives."""
UNWATCHED_SHOWN = 100
DIRTY_LIMIT_PATHS = 10_000
"""A scan waits while so many paths are to be looked at: memory stays flat, however much differs."""

MakeWatch = Callable[[], Watch]
"""Makes a watch of the source as it is now, not started."""


class Finding:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(  # noqa: PLR0913 - what it fills, and what it asks
        self,
        source: Source,
        journal: Journal,
        dirty: DirtySet,
        comparer: Comparer,
        board: Board,
        *,
        make_watch: MakeWatch,
        told_entries: Callable[[], int],
        scan_interval_seconds: float | None = None,
    ) -> None:
        """`told_entries`: how many paths replicas say that this tree has."""
        self._source = source
        self._journal = journal
        self._dirty = dirty
        self._comparer = comparer
        self._board = board
        self._make_watch = make_watch
        self._told_entries = told_entries
        self._scan_interval_seconds = scan_interval_seconds
        self._scans = Scans(source.walk, journal.known)
        self._watch: Watch | None = None
        self._generation = 0
        self._overflows = 0
        self._can_lose_watch = self._has_watched = False
        self._is_root_uncovered = False
        self._unreadable: set[bytes] = set()
        self._uncovered_spent_seconds = 0.0
        self._next_root_check = self._next_scan = self._next_uncovered = float("-inf")
        self._next_watch = float("-inf")
        self._root = Root(None, why="it was not looked at yet")
        self._verdict = guard.judge(self._root, 0, None)
        self._base_left: int | None = None
        self.whole_scans = 0
        """How often the whole tree was scanned."""
        self.is_scan_complete = False
        """Whether the whole tree was scanned since the start, or since another root came."""

    # -- the root

    @property
    def may_publish(self) -> bool:
        """Whether the root is above doubt, and, where it is another than before, was compared whole."""
        return not self._verdict.alarm and not self._verdict.compare_whole

    @property
    def may_build(self) -> bool:
        """Whether the root is above doubt."""
        return not self._verdict.alarm

    @property
    def is_empty(self) -> bool:
        """Whether nothing is published because the source is empty."""
        return self._verdict.alarm == guard.EMPTY

    @property
    def is_root_empty(self) -> bool:
        """Whether there was nothing in the source when it was last looked at, excluded or not."""
        return self._root.is_empty

    def check_root(self, now: float) -> bool:
        """Look at the root, raise or clear the alarms; begin anew where another directory took its place, or where it is back.

        Returns `may_publish`.
        """
        had_alarm = bool(self._verdict.alarm)
        self._root = self._source.check()
        indexed = self._journal.stand.entries
        if not self._journal.is_base_complete:
            # A journal that was lost knows nothing, but replicas may.
            indexed = max(indexed, self._told_entries())
        emptied = self._journal.held.is_emptied
        self._verdict = guard.judge(self._root, indexed, self._journal.root_identity, is_emptied=emptied)
        if emptied and self._root.identity is not None and not self._root.is_empty:
            self._journal.held.forget_emptied()
        self._next_root_check = now + (ROOT_CHECK_SECONDS_WHEN_BLOCKED if self._verdict.alarm else ROOT_CHECK_SECONDS)
        for kind in guard.ALARMS:
            if kind != self._verdict.alarm:
                self._board.clear(kind)
        if self._verdict.alarm:
            self._board.alarm(self._verdict.alarm, self._verdict.detail)
        elif had_alarm or self._generation != self._source.generation:
            self._begin()
        return self.may_publish

    def _begin(self) -> None:
        """Watch first, then scan: what changes from now on is hinted at, what changed before is seen."""
        self._generation = self._source.generation
        self._scans.stop()
        self._restart_watch()
        self.is_scan_complete = False
        self._base_left = None
        # A base is no event: a file that is being written is looked at again as one, later.
        self._scans.start(ROOT, only_scanned=self._journal.is_base_complete)

    def begin_anew(self) -> None:
        """The index is to be made anew from the source: the whole tree is scanned for it."""
        if self._generation:
            self._scans.stop()
            self.is_scan_complete, self._base_left = False, None
            self._scans.start(ROOT, only_scanned=False)

    def _restart_watch(self) -> None:
        self.close_watch()
        try:
            self._watch = self._make_watch()
        except SettingError as error:
            if not self._has_watched:
                raise
            # It was right at the start: what the system does not give now is no reason to end.
            self._board.alarm("watch-lost", f"{error}; only scans see changes until it can be had again")
            return
        self._has_watched = True
        self._overflows = 0
        self._board.clear("watch-lost")
        self._watch.start()
        self._can_lose_watch = self._watch.is_alive()
        self._tell_uncovered()

    # -- hints

    def hear(self, now: float) -> None:
        """Take what the watch has, and begin the scans that are due."""
        if now >= self._next_root_check:
            self.check_root(now)
        if self._watch is not None:
            for hint in self._watch.drain():
                self._take(hint, now)
            self._count_overflows(self._watch.overflows())
        if now >= self._next_root_check:
            self.check_root(now)
        self._begin_scans(now)

    def _take(self, hint: Hint, now: float) -> None:
        path = hint.path
        if path.partition(b"/")[0] in NOBODYS_AT_ROOT:
            return
        if path == ROOT:
            self._next_root_check = float("-inf")
        else:
            self._comparer.hint(path, now)
        if hint.subtree:
            self._dirty.add_subtree(path)

    def _count_overflows(self, overflows: int) -> None:
        if overflows > self._overflows:
            self._board.count("watch_overflows_total", overflows - self._overflows)
            self._overflows = overflows

    @property
    def watch(self) -> Watch | None:
        """The watch of now; another one after it was lost, with a scan behind it."""
        return self._watch

    @property
    def asked_scans(self) -> frozenset[int]:
        """The scans under way that may find what was hinted at, by number."""
        return self._scans.asked

    @property
    def unreadable(self) -> frozenset[bytes]:
        """What no scan could read, so that nothing can be told of it or of what is below."""
        return frozenset(self._unreadable)

    @property
    def _is_watching(self) -> bool:
        return self._watch is not None and self._watch.is_alive()

    def _begin_scans(self, now: float) -> None:
        if self._generation == 0 or self._verdict.alarm:
            return
        while (path := self._dirty.take_subtree(but_root=self._scans.is_whole_running)) is not None:
            # Beside a living watch a file that is still being written will be hinted at again.
            self._scans.start(path, only_scanned=path == ROOT or not self._is_watching)
        if self._can_lose_watch and not self._is_watching:
            self._can_lose_watch = False
            self._board.alarm(
                "watch-lost", "the watcher has ended: only scans see changes until it can be started again"
            )
            self._next_scan = now
        if self.is_scan_complete and not self._scans.is_running:
            self._begin_periodic(now)

    def _begin_periodic(self, now: float) -> None:
        if now >= self._next_scan:
            is_lost = "watch-lost" in self._board.alarms()
            if is_lost or (not self._is_watching and now >= self._next_watch):
                self._next_watch = now + WATCH_AGAIN_SECONDS
                self._restart_watch()
            self._scans.start(ROOT, only_scanned=True, is_asked=is_lost)
        elif now >= self._next_uncovered:
            self._uncovered_spent_seconds = 0.0
            for path in self._tell_uncovered():
                self._scans.start(path, only_scanned=True)
            self._next_uncovered = float("inf") if self._scans.is_running else now + ROOT_CHECK_SECONDS

    def _tell_uncovered(self) -> list[bytes]:
        """The directories below the root that only scans see. When it is the root, the whole tree is scanned as often instead."""
        uncovered = self._watch.uncovered() if self._watch is not None else {}
        self._is_root_uncovered = ROOT in uncovered
        self._board.tell(
            unwatched=[f"{escape(path) or '.'}: {why}" for path, why in list(uncovered.items())[:UNWATCHED_SHOWN]]
        )
        return [path for path in uncovered if path != ROOT]

    # -- scans

    def scan(self, now: float) -> None:
        """One slice of the scan whose turn it is."""
        if self._verdict.alarm or not self._scans.is_running:
            return
        if not self._may_find_more(now) and not self._verdict.compare_whole:
            return
        hints, finished = self._scans.advance()
        for hint in hints:
            if hint.why:
                self._cannot_read(hint.path, hint.why)
            else:
                self._comparer.hint(hint.path, now, from_scan=hint.only_scanned)
        if finished is not None:
            self._finish(finished, now)

    def _may_find_more(self, now: float) -> bool:
        """Whether so little is to be looked at and hashed that a scan may find more."""
        return self._dirty.ready(now) + len(self._comparer.unhashed) < DIRTY_LIMIT_PATHS

    def _cannot_read(self, path: bytes, why: str) -> None:
        if path != ROOT:
            self._unreadable.add(path)
            self._board.problem(path, why)

    def _finish(self, finished: Finished, now: float) -> None:
        start = finished.start
        for path in [
            p for p in self._unreadable if p not in finished.unreadable and (p == start or is_below(p, start))
        ]:
            self._unreadable.discard(path)
            self._comparer.hint(path, now)
            self._board.solved(path)
        if start == ROOT:
            self._finish_whole(finished, now)
        elif self._next_uncovered == float("inf"):
            self._uncovered_spent_seconds += finished.spent_seconds
            if not self._scans.is_running:
                self._next_uncovered = now + max(SCAN_PAUSE_LIMIT_SECONDS, SCAN_SHARE * self._uncovered_spent_seconds)

    def _finish_whole(self, finished: Finished, now: float) -> None:
        self._board.count("scans_total")
        self.whole_scans += 1
        if ROOT in finished.unreadable:
            self._next_root_check = float("-inf")
            self._scans.start_again(finished, only_scanned=self._journal.is_base_complete)
            return
        self.is_scan_complete = True
        pause_seconds = self._scan_pause_seconds(finished.spent_seconds)
        self._next_scan = now + pause_seconds
        self._board.gauge("scan_interval_seconds", pause_seconds)
        self._board.gauge("scan_last_success_timestamp_seconds", time.time())
        self._next_uncovered = min(self._next_uncovered, now + SCAN_PAUSE_LIMIT_SECONDS)
        for path in self._comparer.problems:
            self._comparer.hint(path, now)
        self._base_left = self._dirty.ready(now)
        if self._journal.is_base_complete:
            self._compared_whole(now)

    def _scan_pause_seconds(self, spent_seconds: float) -> float:
        if self._scan_interval_seconds is not None:
            return self._scan_interval_seconds
        if self._is_watching and not self._is_root_uncovered:
            return SCAN_INTERVAL_SECONDS
        return max(SCAN_PAUSE_LIMIT_SECONDS, SCAN_SHARE * spent_seconds)

    def took_for_base(self, taken: int, now: float) -> None:
        """So many paths were taken into the base. It is complete when all that the scan had found was, and hashed."""
        if self._base_left is not None:
            self._base_left -= taken
            if self._base_left <= 0 and not self._comparer.unhashed.owes:
                self._compared_whole(now)

    def _compared_whole(self, now: float) -> None:
        if self._root.identity is not None:
            self._journal.whole_compared(self._root.identity)
            self.check_root(now)

    # -- for the loop

    @property
    def is_scanning(self) -> bool:
        """Whether a scan is under way or waits to begin."""
        return self._scans.is_running or self._dirty.has_subtree()

    def wait_seconds(self, now: float) -> float:
        """How long nothing here needs to be done, hints aside."""
        if self._scans.is_running and not self._verdict.alarm and self._may_find_more(now):
            return 0.0
        times = [self._next_root_check]
        if self.is_scan_complete and not self._verdict.alarm:
            times += [self._next_scan, self._next_uncovered]
        return max(0.0, min(times) - now)

    def close_watch(self) -> None:
        """End the watch. Idempotent."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
