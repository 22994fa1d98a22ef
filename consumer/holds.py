"""Decides which removals a replica holds: published paths that would go, that no release covers, when they are too many.

The rule is docs/agreement.md's "judge". The index takes what is held; only the disk keeps it. Knows no disk and no database. How
many are too many is said by a `Judge`: `Holds`, or whoever else.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.departures import Departed, Departures, Difference
from common.entries import Entry, Position
from common.holds import HoldLimit, judge
from common.names import ancestors
from consumer.values import PARKED, Reason, Row, Standing, Told, Unmet, View


class Judge(Protocol):
    """Says how many deletes are too many."""

    def too_many(self, going: Sequence[Departed], coming: Iterable[Difference]) -> Collection[bytes]:
        """Those of these published paths, which nobody released, that must not go now. `coming`: what the same step brings; it
        may be where they moved to. Asked again for the same step, it says the same."""


class _LetsGo:
    def too_many(self, going: Sequence[Departed], coming: Iterable[Difference]) -> Collection[bytes]:
        return ()


LET_GO: Judge = _LetsGo()
"""Nothing is too many: on a first copy, or in an adoption, what goes was found here, and goes aside."""


def is_released(standing: Standing, at: Position | None) -> bool:
    """Whether a delete is released that was told at this position of our epoch; None: one that was found out here."""
    return standing.released > 0 and (at or standing.position) <= Position(standing.epoch, standing.released)


def is_all_released(standing: Standing) -> bool:
    """Whether all that was told up to our position is released: what is held here may go."""
    return is_released(standing, None)


def absences(paths: Iterable[bytes], on_disk: Collection[bytes], view: View) -> dict[bytes, Unmet]:
    """Those of the paths of a left plan that stay absent, though the disk has them: what was unmet as an absence, held for
    example, and what stands below such a path. With why they are unmet."""
    there = sorted(path for path in paths if path in on_disk)
    asked = {*there, *(above for path in there for above in ancestors(path))}
    rows, unmet = view.rows(asked), view.unmet(asked)
    absent: dict[bytes, Unmet] = {}
    for path in there if unmet else ():
        why = unmet.get(path)
        is_below = any(above in absent or (above in unmet and above not in rows) for above in ancestors(path))
        if path not in rows and (why is not None or is_below):
            absent[path] = why or Unmet(Reason.PROBLEM)
    return absent


@dataclass(frozen=True, slots=True)
class Goal:
    """What one step brings about: what is `want`ed, and the wrong guesses that go with it. `rows`: what is indexed at these
    paths now; `unmet`: which of them are."""

    want: Mapping[bytes, Told]
    corrections: Mapping[bytes, Entry | None]
    rows: Mapping[bytes, Row]
    unmet: Mapping[bytes, Unmet]

    def is_directory_there(self, path: bytes) -> bool:
        """Whether the index has a directory there."""
        return path in self.rows and self.rows[path].entry.is_directory

    def without_directory(self) -> Iterable[bytes]:
        """The paths at which no directory shall be."""
        yield from (path for path, told in self.want.items() if not told.keep and not _is_directory(told.entry))
        yield from (path for path, entry in self.corrections.items() if entry is None)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a step must leave on the disk as it is, and why; and what goes without a release, with what it was."""

    parked: Mapping[bytes, Reason] = field(default_factory=dict)
    let_go: Mapping[bytes, Entry] = field(default_factory=dict)


def choose(goal: Goal, view: View, standing: Standing, judge: Judge) -> Chosen:
    """Judge one step. `standing`: where it brings the replica, with what was stated as released."""
    going: dict[bytes, Entry] = {}
    many: Collection[bytes] = ()
    if judge is not LET_GO and not is_released(standing, standing.position):
        going = _going(goal, standing)
        many = judge.too_many([Departed(path, entry.digest) for path, entry in going.items()], _coming(goal))
    parked = dict.fromkeys([*many, *_held_still(goal, standing)], Reason.HELD)
    if parked or view.has_parked():
        parked = _needing(goal, view, parked) | parked
    return Chosen(parked, {path: entry for path, entry in going.items() if path not in parked})


def _is_directory(entry: Entry | None) -> bool:
    return entry is not None and entry.is_directory


def _going(goal: Goal, standing: Standing) -> dict[bytes, Entry]:
    """Published paths that would go, and no release covers it."""
    gone = [
        path
        for path, told in goal.want.items()
        if told.entry is None and not told.keep and not is_released(standing, told.at)
    ]
    gone += [path for path, entry in goal.corrections.items() if entry is None]
    return {path: goal.rows[path].entry for path in gone if path in goal.rows and not goal.rows[path].found}


def _coming(goal: Goal) -> Iterable[Difference]:
    """What the step brings. Its absences are judged, and written down when they are done."""
    for path, told in goal.want.items():
        if told.entry is not None:
            yield path, goal.rows[path].entry if path in goal.rows else None, told.entry


def _held_still(goal: Goal, standing: Standing) -> Iterable[bytes]:
    """What is held already, and was told again without a release."""
    for path, why in goal.unmet.items():
        told = goal.want.get(path)
        is_gone = told is not None and told.entry is None and not told.keep
        if is_gone and why.reason is Reason.HELD and not is_released(standing, told.at if told else None):
            yield path


def _needing(goal: Goal, view: View, parked: Mapping[bytes, Reason]) -> dict[bytes, Reason]:
    """What needs a parked path gone, whatever is released: a file where its directory stands, or the end of that directory."""
    above = {over for path in parked for over in ancestors(path)}
    needing = {}
    for path in goal.without_directory():
        if path in above:
            needing[path] = Reason.HELD
        elif goal.is_directory_there(path) or (path in goal.unmet and goal.unmet[path].reason in PARKED):
            why = _parked_below(path, goal, view, parked)
            if why is not None:
                needing[path] = why
    return needing


def _parked_below(path: bytes, goal: Goal, view: View, parked: Mapping[bytes, Reason]) -> Reason | None:
    """Why something below stays: held, or else released and left for a later step; None where nothing stays."""
    why = None
    for below, reason in view.parked_below(path):
        if not _is_removed(below, goal, parked):
            why = reason
            if reason is Reason.HELD:
                break
    return why


def _is_removed(path: bytes, goal: Goal, parked: Mapping[bytes, Reason]) -> bool:
    return path not in parked and (path in goal.want or path in goal.corrections)


@dataclass(frozen=True, slots=True)
class Size:
    """How much a replica has: indexed paths, and held ones."""

    entries: int
    held: int


class Holds:
    """The judge of one replica: its own limit, and what went within the window that nobody released. Owned by one thread."""

    def __init__(
        self, limit: HoldLimit, clock: Callable[[], float], size: Callable[[], Size], departed: Iterable[Departed] = ()
    ) -> None:
        """`departed`: what went shortly before a restart: it counts as gone just now. `size`: as it is now."""
        self._limit = limit
        self._clock = clock
        self._size = size
        self._departures = Departures(departed, entries=size().entries, now=clock())

    def too_many(self, going: Sequence[Departed], coming: Iterable[Difference]) -> Collection[bytes]:
        """See `Judge`. All of them, when there are too many; but no moves."""
        size, now = self._size(), self._clock()
        self._departures.is_frozen = size.held > 0
        self._departures.note(coming, size.entries, now)
        judgement = judge(self._limit, self._departures, going, now, held=size.held)
        return [departed.path for departed in judgement.held]

    def went(self, let_go: Mapping[bytes, Entry]) -> None:
        """These are gone now, without a release: they count for a while."""
        gone = ((path, entry, None) for path, entry in let_go.items())
        self._departures.note(gone, self._size().entries, self._clock())

    def see(self) -> None:
        """Remember how many entries there are: how many deletes are too many goes by how many there were."""
        self._departures.note((), self._size().entries, self._clock())

    def released(self) -> None:
        """What went until now was meant, and counts no more."""
        size = self._size()
        self._departures.forget(size.entries, self._clock())

    def is_quiet(self) -> bool:
        """Whether nothing that went counts any more."""
        return not self._size().held and not self._departures.at_most(self._clock())

    @property
    def entries(self) -> int:
        """How many entries the tree had when the window began."""
        return self._departures.entries_before(self._clock())

    @property
    def limit(self) -> int | None:
        """How many deletes are not too many just now; None: there is no limit."""
        return None if self._limit.is_off else self._limit.of(self.entries)
