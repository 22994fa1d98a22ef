"""Decides what must happen on the disk for what is wanted, and in which order. Knows no disk: the index is all it reads.

The order (a batch is applied as a set): removals that make room, deepest first; directories, shallow first; files and links;
all other removals, deepest first; directory modes last. New things are there before what points to them.

What is wanted is known to be true. Where the index only guesses, and the guess cannot be true together with what is wanted,
the plan corrects it (`corrections`); where the index knows, the wanted set contradicts the tree: `ContradictionError`.
What is held (`holds`) is left out: the disk keeps it, and what needs it gone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from common.digests import content_digest
from common.entries import Entry, directory_entry
from common.messages import INLINE_LIMIT_BYTES
from common.names import PATTERNS_PATH, ancestors, depth, escape
from common.patterns import Patterns, patterns_of
from consumer.holds import LET_GO, Chosen, Goal, Judge, choose
from consumer.values import (
    Drift,
    Keep,
    MakeDirectory,
    Plan,
    Put,
    Reason,
    Row,
    Standing,
    Told,
    Touch,
    Unmet,
    View,
)  # fmt: skip

GUESSED_DIRECTORY = directory_entry(0o755)
"""A directory that must be there because something is below it; its mode is not known."""

IsKnown = Callable[[bytes], bool]
NO_DRIFT: Mapping[bytes, Drift] = {}
_IS_FOREIGN = (Drift.ADDED, Drift.KIND)


class ContradictionError(Exception):
    """What is wanted and what is known cannot both be true of one tree. `path` is where."""

    def __init__(self, path: bytes) -> None:
        super().__init__(f"what is known contradicts what is wanted at {escape(path)}")
        self.path = path


@dataclass(slots=True)
class _Draft:
    """A plan being made."""

    want: Mapping[bytes, Told]
    rows: dict[bytes, Row]
    unmet_before: dict[bytes, Unmet]
    drift: Mapping[bytes, Drift]
    corrections: dict[bytes, Entry | None] = field(default_factory=dict)
    leaving: set[bytes] = field(default_factory=set)
    """Wrong guesses below an excluded directory: the index gives them up, the disk keeps them."""
    room_for: set[bytes] = field(default_factory=set)
    clear: list[bytes] = field(default_factory=list)
    directories: list[MakeDirectory] = field(default_factory=list)
    contents: list[Put | Touch] = field(default_factory=list)
    remove: list[bytes] = field(default_factory=list)
    unmet: dict[bytes, Unmet] = field(default_factory=dict)
    mismatched: list[bytes] = field(default_factory=list)
    above: set[bytes] = field(default_factory=set)
    chosen: Chosen = field(default_factory=Chosen)
    may_be_protected: bool = False
    """Whether the patterns are not known: what is guessed and goes may be excluded by now."""


@dataclass(frozen=True, slots=True)
class Brake:
    """Who says how many deletes are too many, and where the step brings the replica: up to where they are released there."""

    standing: Standing
    judge: Judge = LET_GO


def make_plan(
    want: Mapping[bytes, Told],
    view: View,
    is_known: IsKnown,
    drift: Mapping[bytes, Drift] = NO_DRIFT,
    brake: Brake | None = None,
) -> Plan:
    """The plan for these paths, which are known to be true together.

    `is_known(path)`: whether the index knows (rather than guesses) what it has at a path. `drift`: where the disk was seen to
    differ from the index. Raises ContradictionError.
    """
    told = want.get(PATTERNS_PATH)
    patterns = _patterns_with(told, view, is_known)
    rest = {path: told for path, told in want.items() if path != PATTERNS_PATH} if told is not None else want
    plan = _plan_on_disk(_keeping_only_excluded(rest, view, patterns), view, is_known, drift, brake)
    return _with_patterns(plan, told, view) if told is not None else plan


def _plan_on_disk(
    want: Mapping[bytes, Told], view: View, is_known: IsKnown, drift: Mapping[bytes, Drift], brake: Brake | None
) -> Plan:
    draft = _Draft(want, view.rows(want.keys() | _above(want)), view.unmet(want.keys()), drift)
    _correct_below(draft, view)
    _correct_above(draft)
    for path in (*draft.corrections, *draft.leaving):
        if is_known(path):
            raise ContradictionError(path)
    draft.rows |= view.rows(draft.corrections.keys() - draft.rows.keys())
    if any(entry is None for entry in draft.corrections.values()):
        draft.may_be_protected = not is_known(PATTERNS_PATH) or bool(view.unmet([PATTERNS_PATH]))
    if brake is not None:
        _park(draft, view, brake)
    _order_removals(draft)
    _order_directories(draft)
    for path, told in want.items():
        if told.entry is not None and not told.entry.is_directory and path not in draft.chosen.parked:
            _content(draft, path, told)
    return _finished(draft)


def _patterns_with(told: Told | None, view: View, is_known: IsKnown) -> Patterns | None:
    """The tree's patterns once this is taken in; None where they are not known then."""
    if told is not None and told.entry is None:
        return Patterns()
    if told is not None and told.entry is not None:
        return patterns_of(told.body) if told.body is not None and matches(told.entry, told.body) else None
    return view.patterns if is_known(PATTERNS_PATH) and not view.unmet([PATTERNS_PATH]) else None


def _keeping_only_excluded(want: Mapping[bytes, Told], view: View, patterns: Patterns | None) -> Mapping[bytes, Told]:
    """The same, but where a directory leaves the tree as excluded and something else is guessed here, or the reverse, and that is
    not excluded: it is nothing that anybody protects, and goes."""
    kept = [path for path, told in want.items() if told.keep]
    if not kept or not patterns:
        return want
    others = {
        path: want[path]._replace(keep=False)
        for path, row in view.rows(kept).items()
        if not patterns.excludes(path, row.entry.is_directory) and patterns.excludes(path, not row.entry.is_directory)
    }
    return {**want, **others} if others else want


def _with_patterns(plan: Plan, told: Told, view: View) -> Plan:
    """The patterns stand in the index and in the state: nothing of them is on the disk."""
    if told.entry is None:
        return replace(plan, patterns=b"")
    if told.body is not None and matches(told.entry, told.body):
        return replace(plan, patterns=told.body)
    row = view.rows([PATTERNS_PATH]).get(PATTERNS_PATH)
    if row is not None and told.entry.same_content(row.entry) and not view.unmet([PATTERNS_PATH]):
        return plan
    unmet = {**plan.unmet, PATTERNS_PATH: Unmet(Reason.BODY)}
    mismatched = (*plan.mismatched, PATTERNS_PATH) if told.body is not None else plan.mismatched
    return replace(plan, unmet=unmet, mismatched=mismatched)


def _park(draft: _Draft, view: View, brake: Brake) -> None:
    """What must not go now: the index takes it, the disk keeps it, and it is unmet."""
    draft.unmet_before |= view.unmet(draft.corrections.keys())
    goal = Goal(draft.want, draft.corrections, draft.rows, draft.unmet_before)
    draft.chosen = choose(goal, view, brake.standing, brake.judge)
    draft.room_for.difference_update(draft.chosen.parked)
    draft.unmet |= {path: Unmet(why) for path, why in draft.chosen.parked.items()}


def _above(want: Mapping[bytes, Told]) -> set[bytes]:
    above: set[bytes] = set()
    for path, told in want.items():
        if told.entry is not None:
            above.update(ancestors(path))
    return above


def _makes_no_directory(told: Told) -> bool:
    return told.entry is None or not told.entry.is_directory


def _correct_below(draft: _Draft, view: View) -> None:
    """Where no directory is, nothing can be below: what is indexed there and not wanted away was a wrong guess."""
    for path, told in draft.want.items():
        row = draft.rows.get(path)
        if row is None or not row.entry.is_directory or not _makes_no_directory(told):
            continue
        if told.entry is not None:
            draft.room_for.add(path)
        below = [found for found in view.below(path) if found not in draft.want]
        if told.keep:
            draft.leaving.update(below)
        else:
            draft.corrections.update(dict.fromkeys(below))
    for path in draft.leaving:
        draft.corrections.pop(path, None)


def _correct_above(draft: _Draft) -> None:
    """Where something is, all above are directories: an ancestor that is indexed as something else was a wrong guess."""
    for path, told in draft.want.items():
        if told.entry is None:
            continue
        for above in ancestors(path):
            if above in draft.above:
                continue
            draft.above.add(above)
            _correct_ancestor(draft, above)


def _correct_ancestor(draft: _Draft, above: bytes) -> None:
    wanted = draft.want.get(above)
    if wanted is not None:
        if wanted.entry is None or not wanted.entry.is_directory:
            raise ContradictionError(above)
        return
    row = draft.rows.get(above)
    if row is None or not row.entry.is_directory:
        draft.corrections[above] = GUESSED_DIRECTORY


def deepest_first(paths: Iterable[bytes]) -> list[bytes]:
    """Children before what holds them."""
    return sorted(paths, key=lambda path: (-depth(path), path))


def shallow_first(paths: Iterable[bytes]) -> list[bytes]:
    """What holds them before children."""
    return sorted(paths, key=lambda path: (depth(path), path))


def _order_removals(draft: _Draft) -> None:
    gone = [path for path, told in draft.want.items() if told.entry is None and not told.keep]
    gone += [path for path, entry in draft.corrections.items() if entry is None]
    gone = [path for path in gone if path not in draft.chosen.parked]
    for path in deepest_first([*gone, *draft.room_for]):
        makes_room = path in draft.room_for or any(above in draft.room_for for above in ancestors(path))
        (draft.clear if makes_room else draft.remove).append(path)


def _order_directories(draft: _Draft) -> None:
    wanted = {path: told.entry for path, told in draft.want.items() if told.entry and told.entry.is_directory}
    wanted |= {path: entry for path, entry in draft.corrections.items() if entry is not None}
    for path in shallow_first(wanted):
        row = draft.rows.get(path)
        if row is None or row.entry != wanted[path] or path in draft.unmet_before or path in draft.drift:
            draft.directories.append(MakeDirectory(path, wanted[path].mode, wanted[path].owner))


def matches(entry: Entry, body: bytes) -> bool:
    """Whether this is the content that the entry names. Nothing else is ever staged."""
    return len(body) == entry.size and content_digest(body) == entry.digest


def _content(draft: _Draft, path: bytes, told: Told) -> None:
    entry, body = told.entry, told.body
    assert entry is not None, "an absence has no content"
    row = draft.rows.get(path)
    drift = draft.drift.get(path)
    is_here = row is not None and entry.same_content(row.entry) and path not in draft.unmet_before
    if is_here and row is not None and (drift is None or drift.is_in_place):
        if row.entry != entry or drift:
            draft.contents.append(Touch(path, entry))
    elif told.is_stored:
        draft.contents.append(Put(path, entry, None))
    elif body is None:
        draft.unmet[path] = Unmet(Reason.BODY)
    elif not matches(entry, body):
        draft.mismatched.append(path)
        draft.unmet[path] = Unmet(Reason.BODY, "the content that came does not match its digest")
    else:
        draft.contents.append(Put(path, entry, body))


def _keeps(draft: _Draft) -> tuple[Keep, ...]:
    """Large contents that the disk shows and the index gives up."""
    keeps = []
    for path, told in draft.want.items():
        row = draft.rows.get(path)
        if row is None or row.entry.size <= INLINE_LIMIT_BYTES or row.found or told.keep or path in draft.unmet_before:
            continue
        if told.entry is None or not told.entry.same_content(row.entry):
            keeps.append(Keep(path, row.entry.digest, row.entry.size))
    return tuple(keeps)


def _foreign(draft: _Draft) -> frozenset[bytes]:
    """Paths whose old content was found on the disk, published by nobody that we know, and gives way; and what drifted there."""
    drifted = {path for path, drift in draft.drift.items() if drift in _IS_FOREIGN}
    gives_way = {*draft.clear, *draft.remove, *(put.path for put in draft.contents if isinstance(put, Put))}
    gives_way.update(made.path for made in draft.directories if not _was_directory(draft, made.path))
    unknown = {made.path for made in draft.directories if _is_fresh(draft, made.path)}
    # What came and went in one set: nothing of it was ever here.
    unknown.update(path for path in (*draft.clear, *draft.remove) if _is_fresh(draft, path))
    found = {path for path in gives_way if path in draft.rows and draft.rows[path].found}
    if draft.may_be_protected:
        found.update(path for path, entry in draft.corrections.items() if entry is None and path in gives_way)
    return frozenset(found) | drifted | unknown


def _is_fresh(draft: _Draft, path: bytes) -> bool:
    """Whether nothing of ours can stand there."""
    return path not in draft.rows and path not in draft.unmet_before


def _fresh(draft: _Draft) -> frozenset[bytes]:
    """Also what only comes later: nothing of it is on the disk until then."""
    missing = (path for path, unmet in draft.unmet.items() if unmet.reason is Reason.BODY)
    return frozenset(path for path in (*missing, *(put.path for put in draft.contents)) if _is_fresh(draft, path))


def _was_directory(draft: _Draft, path: bytes) -> bool:
    return path in draft.rows and draft.rows[path].entry.is_directory


def _directories_above(draft: _Draft) -> dict[bytes, MakeDirectory]:
    entries = {path: draft.rows[path].entry for path in draft.above if _was_directory(draft, path)}
    indexed = {path: MakeDirectory(path, entry.mode, entry.owner) for path, entry in entries.items()}
    return indexed | {made.path: made for made in draft.directories if made.path in draft.above}


def _touched(draft: _Draft) -> frozenset[bytes]:
    """Also what is above an absence: a disk that drifted may have it, and what is found below it needs it in the index."""
    parked = draft.chosen.parked
    wanted = [path for path, told in draft.want.items() if not told.keep and path not in parked]
    above_absent = {above for path in wanted if draft.want[path].entry is None for above in ancestors(path)}
    return frozenset({*wanted, *(draft.corrections.keys() - parked.keys()), *draft.above, *above_absent})


def _finished(draft: _Draft) -> Plan:
    return Plan(
        clear=tuple(draft.clear),
        directories=tuple(draft.directories),
        contents=tuple(draft.contents),
        remove=tuple(draft.remove),
        touched=_touched(draft),
        corrections=draft.corrections | dict.fromkeys(draft.leaving),
        unmet=draft.unmet,
        foreign=_foreign(draft),
        above=_directories_above(draft),
        keeps=_keeps(draft),
        mismatched=tuple(draft.mismatched),
        let_go=draft.chosen.let_go,
        fresh=_fresh(draft),
    )
