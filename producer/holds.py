"""Does: the guard between look and publish: too many deletes at once are held, and all else flows.

What is held is a set of paths in the journal, each judged anew whenever it is looked at; it goes when files are back, or when a
person releases it. Knows the journal and the dirty set; not how looks are made, nor how batches are. How many are too many is
decided in `common.holds`, what waits with them in `withholding`.
"""

import contextlib
import shlex
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from common.board import Board
from common.departures import Departed, Departures
from common.errors import NoRoomError
from common.holds import HoldLimit, Judgement, judge, judge_again
from common.names import ancestors, range_below
from producer.comparing import Compared
from producer.dirty import DirtySet
from producer.finding import Finding
from producer.held import Mark
from producer.journal import Journal
from producer.values import Change
from producer.withholding import divide, is_of_disks, leaving, takes_away

ALARM = "hold"
LARGE_MOVE_SECONDS = 300.0
"""While more is to be looked at, what is held may be half of a large move: it is judged, and somebody is alarmed, when all is
known, or after this time."""
ALARM_AGAIN_SECONDS = 15.0
"""How often the count in the alarm is brought up."""
PRUNE_SECONDS = 30.0
FEED_BELOW_PATHS = 2000
"""What was held is looked at again in portions, while fewer paths than this wait to be looked at."""
JUDGE_AGAIN_SECONDS = 0.5
JUDGE_AGAIN_SHARE = 20.0
"""What is held is judged anew after a pause of 20 times what that took the last time."""
_EVERYTHING = (b"", b"\xff" * 2)

Hint = Callable[[bytes, float], None]
"""This path is to be looked at; the time is now."""


class Released(NamedTuple):
    """What a release did: how many paths were held; whether an empty source is taken for meant; whether until now nobody had
    vouched for the tree."""

    held: int
    is_emptied: bool
    was_behind: bool


class Holds:
    """See the module. Owned by one thread; `now`: seconds of a steady clock. The journal may raise NoRoomError."""

    def __init__(self, journal: Journal, limit: HoldLimit, dirty: DirtySet, board: Board, *, hint: Hint) -> None:
        self._journal = journal
        self._held = journal.held
        self._held.is_counting = not limit.is_off
        self._limit = limit
        self._dirty = dirty
        self._board = board
        self._hint = hint
        self._began: Departures | None = None
        self._to_look_at: deque[tuple[bytes, bytes]] = deque()
        self._may_have_changed = True
        self._judged = Judgement()
        self._next_judgement = self._next_prune = float("-inf")
        self._over_since: float | None = None
        self._scans_seen = 0
        self._next_alarm = self._now = float("-inf")

    # -- in a round of changes

    def judge_compared(self, compared: Compared, finding: Finding, now: float) -> list[Change]:
        """`judge` what a round found. What only a scan saw is judged when all that it found is looked at; before the first scan
        is over, that is all."""
        too_early: frozenset[bytes] = frozenset()
        if compared.takes_away and (finding.is_scanning or self._dirty.ready(now)):
            is_first = not finding.is_scan_complete
            too_early = frozenset(taken.path for taken in compared.taken if taken.from_scan or is_first)
        return self.judge(compared.changes, compared.here, now, too_early)

    def judge(
        self, changes: Sequence[Change], here: Sequence[bytes], now: float, too_early: frozenset[bytes] = frozenset()
    ) -> list[Change]:
        """Those of these changes that go on; what must wait is held, durably.

        `here`: what was looked at and is there. `too_early`: nothing but a scan that goes on saw these: there may be more.
        """
        taking = {change.path for change in changes if takes_away(change)}
        # A file where a directory was: below it nothing is back, and whether it waits is decided here each time.
        self._see([path for path in here if path not in taking])
        if not taking:
            return list(changes)
        leaves = leaving(changes, self._journal.below)
        marks = self._held.of(leaves)
        pending = [Departed(path, entry.digest) for path, entry in leaves.items() if path not in marks]
        counting = self._too_many(pending, now, too_early)
        held = {path for path, mark in marks.items() if mark is Mark.HELD}
        if not counting and not held:
            return list(changes)
        divided = divide(changes, leaves, held.union(counting))
        before = self._held.count
        self._held.park(counting, divided.waits)
        self._may_have_changed |= self._held.count < before + len(counting)
        return divided.goes

    def _too_many(self, pending: Sequence[Departed], now: float, too_early: frozenset[bytes]) -> list[bytes]:
        """Those that must wait."""
        early: list[bytes] = []
        if too_early and not self._limit.is_off:
            is_early = [path in too_early or not too_early.isdisjoint(ancestors(path)) for path, _ in pending]
            early = [one.path for one, is_one in zip(pending, is_early, strict=True) if is_one]
            pending = [one for one, is_one in zip(pending, is_early, strict=True) if not is_one]
        judgement = judge(self._limit, self._departures(now), pending, now, held=self._held.count + len(early))
        if judgement.held:
            self._judged = judgement
        return [*early, *(path for path, _ in judgement.held)]

    def _see(self, here: Sequence[bytes]) -> None:
        """What is there is held no more; with a directory what is in it may be back, and nobody would hint at it."""
        if not here or (not self._held.total and not self._held.going):
            return
        back = list(self._held.of(here))
        if back:
            self._held.take_out(back)
            self._to_look_at.extend(map(range_below, back))
            self._may_have_changed = True

    def note(self, changes: Sequence[Change], now: float) -> None:
        """These are about to be published. What a person released does not count."""
        if self._limit.is_off:
            return
        gone = [change.path for change in changes if change.new is None] if self._held.going else []
        meant = {path for path, mark in self._held.of(gone).items() if mark is Mark.RELEASED}
        differences = ((c.path, c.old, c.new) for c in changes if is_of_disks(c) and c.path not in meant)
        self._departures(now).note(differences, self._journal.stand.entries, now)
        self._may_have_changed = True

    # -- between rounds

    def tend(self, finding: Finding, now: float) -> None:
        """`step`, and after each scan of everything a look at all that is held."""
        if finding.whole_scans > self._scans_seen:
            self._scans_seen = finding.whole_scans
            self.look_at_all()
        self.step(now, is_found=finding.is_scan_complete and not finding.is_scanning)

    def step(self, now: float, *, is_found: bool) -> None:
        """What is to be done between rounds. `is_found`: no scan goes on."""
        if not self._journal.is_base_complete:
            return  # what a tree had before it was known whole says nothing
        self._now = now
        if now >= self._next_prune and self._is_worth_pruning(now):
            self._prune(now)
        is_known = is_found and not self.is_feeding and not self._dirty.ready(now)
        is_known |= self._over_since is not None and now - self._over_since >= LARGE_MOVE_SECONDS
        if is_known and not self.is_judged and now >= self._next_judgement:
            self._judge_again(now)
        self._feed(now)
        if self._held.is_emptied and not self._journal.stand.entries:
            self._held.forget_emptied()
        self._departures(now).is_frozen = self._held.total > 0
        self._tell(now, is_known=is_known)

    def look_at_all(self) -> None:
        """Look again at all that is held, or may go: nobody hints at what is as the index has it."""
        if self._held.total or self._held.going:
            self._to_look_at = deque([_EVERYTHING])

    @property
    def is_judged(self) -> bool:
        """Whether what is held was judged since anything happened that could set it free."""
        return not (self._held.total and self._may_have_changed)

    @property
    def is_feeding(self) -> bool:
        """Whether paths of the journal are still to be handed to the dirty set."""
        return bool(self._to_look_at)

    def _departures(self, now: float) -> Departures:
        if self._began is None:
            self._began = Departures(self._held.departed(), entries=self._journal.stand.entries, now=now)
        return self._began

    def _judge_again(self, now: float) -> None:
        began = perf_counter()
        self._may_have_changed = False
        self._judged = judge_again(self._limit, self._departures(now), self._held.held(), now)
        if self._judged.free or not self._held.count:
            self._held.free([path for path, _ in self._judged.free])
            self.look_at_all()
        self._next_judgement = now + max(JUDGE_AGAIN_SECONDS, JUDGE_AGAIN_SHARE * (perf_counter() - began))

    def _feed(self, now: float) -> None:
        while self._to_look_at and self._dirty.ready(now) < FEED_BELOW_PATHS:
            low, high = self._to_look_at.popleft()
            paths = self._held.page(low, high)
            for path in paths:
                self._hint(path, now)
            if paths:
                self._to_look_at.appendleft((paths[-1], high))

    def _is_worth_pruning(self, now: float) -> bool:
        """While few went, they may stay noted for longer than they count."""
        self._next_prune = now + PRUNE_SECONDS
        departures, noted = self._departures(now), self._held.departed_noted
        many = self._limit.of(departures.entries_before(now)) // 10
        return noted > many or (noted > 0 and not departures.at_most(now))

    def _prune(self, now: float) -> None:
        departures = self._departures(now)
        departures.settle(now)
        self._held.keep_departed(departures.is_gone)

    def _tell(self, now: float, *, is_known: bool) -> None:
        total = self._held.total
        self._board.gauge("held_paths", total)
        if not total:
            self._over_since, self._next_alarm = None, float("-inf")
            self._board.clear(ALARM)
            return
        self._over_since = now if self._over_since is None else self._over_since
        if is_known and self.is_judged and self._judged.is_over and now >= self._next_alarm:
            self._next_alarm = now + ALARM_AGAIN_SECONDS
            self._board.alarm(ALARM, self._alarm_text(total))

    def _alarm_text(self, total: int) -> str:
        state = shlex.quote(str(self._journal.path.parent))
        many = f"{total:,} deletes are held, more than {self._judged.limit:,} within 10 minutes; all else flows."
        return (
            f"{many} See them: treecast hold show --state {state}; bring the files back, or let them go:"
            f" treecast hold release --state {state}"
        )

    def begin_anew(self) -> None:
        """The journal has forgotten what was held, and what went."""
        self._began, self._judged, self._may_have_changed = None, Judgement(), True
        self._to_look_at.clear()

    # -- what a person asks

    @property
    def total(self) -> int:
        """How many paths are held."""
        return self._held.total

    def paths(self, at: bytes, limit: int, after: bytes) -> list[bytes]:
        """The first paths that are held, at and below a path and after another."""
        return self._held.paths(at, limit, after)

    def told(self, now: float) -> dict[str, Any]:
        """How it stands, for a person."""
        is_known = self._journal.is_base_complete
        entries = self._departures(now).entries_before(now) if is_known else self._journal.stand.entries
        return {
            "held": self._held.total,
            "since": self._held.since(),
            "limit": None if self._limit.is_off else self._limit.of(entries),
            "entries": entries,
            "paths": [],
        }

    def release(self, now: float, *, is_emptied: bool) -> Released:
        """A person says that it is meant: what is held goes, and what went until now counts no more; `is_emptied`: everything.
        Durable. Idempotent."""
        if is_emptied:
            self._held.park_all()
        released = Released(self._held.total, is_emptied=is_emptied, was_behind=not self._journal.stand.released)
        left = self._journal.stand.entries - self._held.count
        self._held.release()
        if released.was_behind and (is_emptied or self._journal.is_base_complete):
            self._journal.release()
        if self._journal.is_base_complete:
            self._departures(now).forget(left, now)
        self.look_at_all()
        return released

    def close(self) -> None:
        """What counts after a restart is what counts now, as far as the disk has room. Idempotent."""
        if self._began is not None:
            with contextlib.suppress(NoRoomError):
                self._prune(self._now)
