"""The scrub's side of the thread that applies: checks suspicions between two commits, has them put right, and keeps account.

What the rereader saw may be older than the last commit, in both directions; so nothing is done but for what is seen again here,
against the index as it is now.
"""

import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from common.board import Board
from common.errors import NoRoomError
from common.names import ROOT, is_path
from common.orders import Verb
from consumer import drifting
from consumer.agreement import Decided
from consumer.drifting import drift_at
from consumer.rereader import Disk, Over, Reached, Rereader, Suspicion
from consumer.rereading import look, look_twice, why_unlisted
from consumer.scrub_record import Pass, ScrubRecord
from consumer.scrub_tally import Tally, Unreadable, report_details
from consumer.state import State
from consumer.target import Target
from consumer.values import Drift, Reason
from consumer.walking import Directories

log = logging.getLogger("treecast")

AT_ONCE = 256
"""So many suspicions are checked and put right in one step."""
AT_ONCE_BYTES = 8 * 1024 * 1024
OPEN_LIMIT = 4096
"""While so many findings wait for their bodies, nothing more is read."""
OWN_HANDS_LIMIT_BYTES = 1024 * 1024
"""A larger file is not read twice: the stream must not wait for it. It must be the one that was read, unchanged."""
SAVE_SECONDS = 60.0
SETTLE_SECONDS = 0.25
LOOKS_LIMIT = 5
GIVEN_UP_SECONDS = 300.0
"""A finding whose body does not come for so long is a problem that remains, for whoever waits for the end of a scrub."""
UNREADABLE = "unreadable"

PutRight = Callable[[Decided], bool]
"""Carries one step out, waiting for room; False: it was given up for want of it."""


Patiently = Callable[[Callable[[], object]], object]
"""Acts as soon as there is room for it."""


def _at_once(act: Callable[[], object]) -> object:
    return act()


@dataclass(slots=True)
class _Finding:
    """A path that was found and is not put right yet."""

    drift: Drift
    since: float


class Scrub:
    """See the module. Owned by the thread that applies; the rereader is its own."""

    def __init__(
        self, interval_seconds: float | None, state: State, target: Target, board: Board, put_right: PutRight
    ) -> None:
        self._state = state
        self._target = target
        self._board = board
        self._put_right = put_right
        self._root = target.root
        if interval_seconds is not None:
            board.gauge("scrub_interval_seconds", interval_seconds)
        disk = Disk(self._root, lambda: target.protects, target.appearance, state.path)
        self._rereader = Rereader(disk, board, interval_seconds, may_go_on=self._may_go_on)
        self._open: dict[bytes, _Finding] = {}
        self._stays = 0
        """How many of those nobody can put right for now: nothing waits for them."""
        self._again: dict[bytes, int] = {}
        self._waiting: set[bytes] = set()
        """Those of `_again` whose bucket became stale before they were checked: looked at again once it is level."""
        self._unreadable = Unreadable()
        self._total: Counter[str] = Counter()
        self._tally = Tally()
        self._record = ScrubRecord()
        self._over: Over | None = None
        self._saved_at = self._settled_at = 0.0
        self._is_saved = True
        self._last: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self.verbs: Mapping[str, Verb] = {"scrub": self._order}

    @contextmanager
    def running(self, patiently: Patiently = _at_once) -> Iterator[None]:
        """The rereader runs meanwhile, from where an earlier process left off. `patiently` acts when there is room."""
        self._record = self._state.scrub.read()
        under_way = self._record.under_way
        self._tally = Tally(under_way.run if under_way is not None else 0, time.monotonic())
        patiently(lambda: self._rereader.start(under_way))
        try:
            yield
        finally:
            self._rereader.close()
            self._save()

    @property
    def has_news(self) -> bool:
        """Whether there is something to check."""
        return not self._rereader.items.empty()

    def _may_go_on(self) -> bool:
        """For the rereader's thread."""
        return len(self._open) + len(self._waiting) - self._stays < OPEN_LIMIT

    # -- orders
    def _order(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """Everything at once, from now on. One that is under way already is joined."""
        if not self._tally.run:
            number = max(int(time.time() * 1000), self._last.get("run", 0) + 1)
            # What is open already will not be found again, and belongs to this one.
            found = Counter(str(finding.drift) for finding in self._open.values())
            self._tally = Tally(number, time.monotonic(), found)
            self._over = None
            self._record, self._is_saved = self._record._replace(under_way=Pass(number, time.time())), False
            self._save()
            self._rereader.order(number)
        return {"run": self._tally.run}

    # -- between two commits
    def turn(self) -> None:
        """Check what waits, a portion at most, and see what became of what was found before. Raises Stopping, HaltError."""
        self._check(self._take())
        now = time.monotonic()
        if now - self._settled_at >= SETTLE_SECONDS:
            self._settled_at = now
            self._settle(now)
            self._tell()
            if now - self._saved_at >= SAVE_SECONDS:
                self._save()

    def _take(self) -> list[Suspicion]:
        """What is suspected next, and how far that is."""
        taken: list[Suspicion] = []
        size_bytes = 0
        while len(taken) < AT_ONCE and size_bytes < AT_ONCE_BYTES:
            try:
                item = self._rereader.items.get_nowait()
            except queue.Empty:
                break
            if isinstance(item, Suspicion):
                taken.append(item)
                size_bytes += min(item.seen.entry.size if item.seen.entry is not None else 0, OWN_HANDS_LIMIT_BYTES)
            elif isinstance(item, Reached):
                # Saved behind the check of all that was said before it: this turn's, or an earlier one's.
                self._record, self._is_saved = self._record._replace(under_way=item.here), False
            elif item.run == self._tally.run:
                self._over = item
        return taken

    def _check(self, suspicions: Sequence[Suspicion]) -> None:
        """RACE: a batch may have been applied since the rereader looked: the path may be another file by now, unmet, in a stale
        bucket, or gone. The index and the disk are both read here, with nothing in between that could change the index; what
        agrees now is nothing. Somebody else may still change the disk between this look and the swap: that is drift again, and
        the next scrub's.
        """
        if not suspicions or self._target.has_left_plan:
            return
        by_path = {suspicion.path: suspicion.seen for suspicion in suspicions}
        paths = drifting.in_question(self._state.standing(), self._state, by_path)
        rows = self._state.rows(paths)
        drift: dict[bytes, Drift] = {}
        with closing(Directories(self._root, may_loosen=False)) as directories:
            for path in paths:
                entry = rows[path].entry if path in rows else None
                seen = look_twice(directories, path, entry, by_path[path], OWN_HANDS_LIMIT_BYTES)
                why = seen.why or (by_path[path].why and why_unlisted(directories, path))
                if not seen.is_busy:
                    self._again.pop(path, None)
                if why:
                    self._cannot_read(path, why)
                elif path == ROOT:
                    # It could not be listed for a moment. It is no entry: nothing there is to be put right.
                    continue
                elif seen.is_busy:
                    self._look_again_later(path)
                elif (found := drift_at(entry, seen, self._target.appearance)) is not None:
                    drift[path] = found
        for path in by_path.keys() - set(paths):
            self._is_not_judged(path)
        self._repair(drifting.judged(drift, self._target.foreign))

    def _is_not_judged(self, path: bytes) -> None:
        """It is unmet, of which we know; or in a stale bucket: the rereader, who saw it in a level one, will not come back."""
        if self._is_level(path):
            self._again.pop(path, None)
        else:
            self._again.setdefault(path, 0)
            self._waiting.add(path)

    def _is_level(self, path: bytes) -> bool:
        return drifting.is_judged(self._state.standing(), self._state.bucket_of(path))

    def _look_at_level_ones(self) -> None:
        for path in [path for path in self._waiting if self._is_level(path)]:
            self._waiting.remove(path)
            self._rereader.look_again(path)

    def _look_again_later(self, path: bytes) -> None:
        """It is not what was read any more, and too large to be read here; or it changes just now."""
        tries = self._again[path] = self._again.get(path, 0) + 1
        if tries < LOOKS_LIMIT:
            self._rereader.look_again(path)
        else:
            del self._again[path]
            self._cannot_read(path, "changes faster than it can be read")

    def _repair(self, drift: dict[bytes, Drift]) -> None:
        for path in [path for path in drift if not is_path(path)]:
            self._count(drift.pop(path), is_repaired=self._repaired_aside(path))
        decision = drifting.put_right(self._state.standing(), self._state, drift, self._target.foreign)
        if not isinstance(decision, Decided) or not self._put_right(decision) or decision.step.alarm:
            return
        unmet, now = self._state.unmet(drift), time.monotonic()
        kept = self._standing_still([path for path, found in drift.items() if found is Drift.ADDED])
        for path, found in drift.items():
            if path in kept and path not in unmet:
                continue
            self._count(found, is_repaired=path not in unmet)
            if path in unmet:
                self._open[path] = _Finding(found, now)

    def _standing_still(self, added: Sequence[bytes]) -> set[bytes]:
        """Foreign directories that must stay, because something protected is in them: no finding, however often they are seen."""
        if not added:
            return set()
        with closing(Directories(self._root, may_loosen=False)) as directories:
            return {path for path in added if look(directories, path, None).entry is not None}

    def _repaired_aside(self, path: bytes) -> bool:
        """What no tree may name goes without a plan: no plan could name it either."""
        try:
            return bool(self._target.clear_foreign([path], self._state.standing().commits)[0])
        except NoRoomError:
            return False

    def _cannot_read(self, path: bytes, why: str) -> None:
        """Nothing is concluded from that: the path stays as it is, shown as a problem until it can be read."""
        if self._unreadable.see(path):
            self._count(UNREADABLE, is_repaired=False)
        self._board.problem(path, why)

    # -- account
    def _count(self, kind: str, *, is_repaired: bool) -> None:
        self._total[kind] += 1
        self._tally.found[kind] += 1
        self._board.count("scrub_findings_total", label=kind)
        if is_repaired:
            self._count_repaired(kind)

    def _count_repaired(self, kind: str) -> None:
        self._tally.repaired[kind] += 1
        self._board.count("scrub_repaired_total", label=kind)

    def _settle(self, now: float) -> None:
        """What was unmet and is no more was put right. The pass is over when nothing is open but what stays a problem."""
        self._look_at_level_ones()
        unmet = self._state.unmet(self._open)
        for path in [path for path in self._open if path not in unmet]:
            self._count_repaired(self._open.pop(path).drift)
        stays = [
            path
            for path, finding in self._open.items()
            if unmet[path].reason is not Reason.BODY or now - finding.since >= GIVEN_UP_SECONDS
        ]
        self._stays = len(stays)
        is_open = self._again or len(stays) < len(self._open) or self.has_news
        if self._over is not None and not is_open:
            self._end(self._over, len(stays), now)

    def _end(self, over: Over, problems: int, now: float) -> None:
        readable = self._unreadable.end_pass()
        for path in readable.difference(self._state.unmet(readable)):
            self._board.solved(path)
        problems += len(self._unreadable)
        self._open.clear()
        self._stays = 0
        self._again.clear()
        self._waiting.clear()
        self._over = None
        ended = time.time() if not problems else self._record.ended
        self._record, self._is_saved = ScrubRecord(None, ended), False
        self._save()
        if self._tally.run:
            seconds = round(now - self._tally.began_at, 3)
            self._last = {**self._tally.summary(over.paths, over.size_bytes), "problems": problems, "seconds": seconds}
        if self._tally.found:
            log.info("a scrub is over: %s", self._tally.words(problems))
        self._tally = Tally(0, now)
        self._rereader.settled()

    def _save(self) -> None:
        """A moment without room loses nothing but progress."""
        self._saved_at = time.monotonic()
        if not self._is_saved:
            try:
                left = map(self._state.bucket_of, self._waiting)
                self._state.scrub.save(self._record.leaving(left, self._state.standing().salt))
            except NoRoomError:
                return
            self._is_saved = True

    def _tell(self) -> None:
        progress = self._rereader.progress
        state = "repairing" if self._over is not None else progress.state
        self._board.gauge("scrub_progress_ratio", progress.ratio)
        self._board.gauge("scrub_last_success_timestamp_seconds", self._record.ended)
        self._told = {
            "state": state,
            **self._tally.summary(progress.paths, progress.size_bytes),
            "ratio": round(progress.ratio, 4),
            "left_seconds": progress.left_seconds,
            "open": len(self._open),
            "problems": len(self._unreadable),
            "ended": self._record.ended,
            "last": self._last,
        }
        self._board.tell(scrub=self._told)

    @property
    def news(self) -> tuple[int, int]:
        """The run that somebody asked for and that is under way, and the last one that ended; 0: none."""
        return self._tally.run, self._last.get("run", 0)

    def details(self) -> dict[str, Any]:
        """For the report; see `report_details`."""
        self._tell()
        return report_details(self._told, self._total)
