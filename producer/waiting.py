"""Does: who waits for the source: a barrier for each, led from step to step once a round. Knows the parts of the pipeline that a
change passes through; decides nothing of its own.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import count

from common.entries import Position
from common.errors import SettingError
from common.names import ROOT
from producer.barriers import Barrier, Step
from producer.comparing import Comparer
from producer.dirty import DirtySet
from producer.finding import Finding
from producer.holds import Holds
from producer.journal import Journal
from producer.rounds import Round, Settles
from producer.waits import Wanted
from producer.watch.port import Watch

FORGOTTEN_SECONDS = 60.0
"""One that nobody asks for is over."""
WAITS_LIMIT = 1000


@dataclass(slots=True)
class Wait:
    """One who waits. `wanted`: for whom, None: for the journal alone. `is_for_all`: for all that had happened, with the deletes
    that are held; else for a position. `watch`, `mark`: the moment in what is told, None: a scan was asked for, or it needs none.
    """

    barrier: Barrier
    wanted: Wanted | None
    asked_at: float
    is_for_all: bool = True
    watch: Watch | None = None
    mark: int | None = None


class Waiting:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(
        self, journal: Journal, finding: Finding, dirty: DirtySet, comparer: Comparer, round_: Round, holds: Holds
    ) -> None:
        self._journal = journal
        self._finding = finding
        self._dirty = dirty
        self._comparer = comparer
        self._round = round_
        self._holds = holds
        self._waits: dict[int, Wait] = {}
        self._tickets = count(1)
        round_.on_end = self.round_ended

    def begin(self, wanted: Wanted, now: float, under: Collection[bytes] = (), position: Position | None = None) -> int:
        """Somebody waits for all that has happened until now, at and below these paths (none: anywhere); or for a position that
        is known. Returns a ticket."""
        self._check_room()
        barrier = Barrier(under)
        if position is not None:
            barrier.done(position)
        return self._add(Wait(barrier, wanted, now, is_for_all=position is None))

    def hint(self, paths: Collection[bytes], is_directory: Callable[[bytes], bool], now: float) -> int:
        """Somebody knows that these paths changed, and waits until that is journaled. Returns a ticket.

        A directory stands for everything below it."""
        self._check_room()
        for path in paths:
            if path != ROOT:
                self._comparer.hint(path, now, force=True)
            if path == ROOT or is_directory(path):
                self._dirty.add_subtree(path)
        return self._add(Wait(Barrier(paths), None, now))

    def begin_first(self, wanted: Wanted | None, now: float) -> int:
        """The loop itself waits for what happened until now; `wanted` None: for what it has found already. Returns a ticket."""
        return self._add(Wait(Barrier(), wanted, now))

    def _check_room(self) -> None:
        if len(self._waits) >= WAITS_LIMIT:
            raise SettingError("wait", f"{WAITS_LIMIT} at once", "fewer; try again when some are done")

    def _add(self, wait: Wait) -> int:
        ticket = next(self._tickets)
        self._waits[ticket] = wait
        return ticket

    def look(self, ticket: int, now: float) -> Wait | None:
        """How far it is; None: there is no such one, or this process began anew. Once asked for and done, it is forgotten."""
        wait = self._waits.get(ticket)
        if wait is not None:
            wait.asked_at = now
        return wait

    def forget(self, ticket: int) -> None:
        """It is over. Idempotent."""
        self._waits.pop(ticket, None)

    def round_ended(self, number: int, settles: Settles) -> None:
        """See `Round`."""
        if self._waits:
            settled = settles()
            for wait in self._waits.values():
                wait.barrier.round_ended(number, settled)

    def step(self, now: float, *, is_live: bool) -> None:
        """Lead each as far as it goes. Call it in each round behind the hearing of hints."""
        if not self._waits:
            return
        for ticket, wait in list(self._waits.items()):
            if now - wait.asked_at > FORGOTTEN_SECONDS:
                del self._waits[ticket]
            elif is_live and self._finding.is_scan_complete:
                self._lead(wait)

    def _lead(self, wait: Wait) -> None:
        barrier = wait.barrier
        if barrier.step is Step.BASE:
            self._mark(wait)
            barrier.begun()
            # What it asks for is heard of with the next round.
            return
        if barrier.step is Step.HINTS and self._is_past(wait):
            barrier.hinted(self._finding.asked_scans)
        if barrier.step is Step.SCANS and barrier.scanned(self._finding.asked_scans):
            waiting = self._dirty.paths() | self._comparer.unhashed.paths()
            barrier.snapshot(waiting, (taken.path for taken in self._round.taken), self._round.number)
        if barrier.step is Step.PATHS and not barrier.waiting and self._is_judged:
            barrier.done(self._journal.stand.position, self._problems())

    def _problems(self) -> Iterable[bytes]:
        """The paths of which nothing can be carried, and the directories that cannot be read."""
        return {*self._comparer.problems, *self._finding.unreadable}

    def _mark(self, wait: Wait) -> None:
        """Where the watch cannot tell when it has told everything, a scan is asked for. Who hints knows what changed."""
        if wait.wanted is None:
            return
        wait.watch = self._finding.watch
        wait.mark = wait.watch.mark() if wait.watch is not None else None
        if wait.mark is None:
            self._dirty.add_subtree(ROOT)
        for path in wait.watch.uncovered() if wait.watch is not None else ():
            self._dirty.add_subtree(path)

    def _is_past(self, wait: Wait) -> bool:
        """Whether what happened before was hinted at, or is below what is being scanned. A new watch has a scan behind it."""
        if self._dirty.has_subtree():
            return False
        if wait.mark is None or wait.watch is None or wait.watch is not self._finding.watch:
            return True
        if not wait.watch.is_alive():
            wait.mark = None
            self._dirty.add_subtree(ROOT)
            return False
        return wait.watch.is_past(wait.mark)

    @property
    def _is_judged(self) -> bool:
        return self._holds.is_judged and not self._holds.is_feeding
