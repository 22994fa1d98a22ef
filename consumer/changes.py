"""Decides what a step changed on the disk: which paths, and in what. Knows no disk: what was planned, and what came of it."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from common.entries import Entry, Kind, Position
from consumer.values import Outcome, Plan, Row, Step, Unmet


class Via(StrEnum):
    """How a change came."""

    STREAM = "stream"
    SYNC = "sync"
    """An answer, a large content that came whole, or another try at a path that had a problem."""
    REPAIR = "repair"


class What(StrEnum):
    """What became of a path. Of an entry that changed in several ways: the first that holds."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    MODE = "mode"
    MTIME = "mtime"
    OWNER = "owner"
    PLACE = "place"
    """The index had it so before: its content came later, or was put right."""


class Change(NamedTuple):
    """What became of one path. `kind` and `size`: what is there now, of a deleted path what was; None where nobody knows."""

    path: bytes
    what: What
    kind: Kind | None
    size: int
    at: Position


def changed_paths(plan: Plan, outcome: Outcome) -> list[bytes]:
    """The paths that a plan created, changed or removed, each once. What failed there, or stayed, has not changed."""
    made = (made.path for made in plan.directories)
    contents = (content.path for content in plan.contents)
    paths = dict.fromkeys(chain(plan.clear, made, contents, plan.remove))
    if not outcome.unmet and not outcome.kept:
        return list(paths)
    kept = set(outcome.kept)
    return [path for path in paths if path not in outcome.unmet and path not in kept]


def in_doubt(
    rows: Mapping[bytes, Row], unmet: Mapping[bytes, Unmet], on_disk: Mapping[bytes, Entry], paths: Iterable[bytes]
) -> list[bytes]:
    """Of the paths of a plan that a crash left: those that it may have changed. `rows`, `unmet`: what the index had of them."""
    return [path for path in paths if path in unmet or _entry_of(rows, path) != on_disk.get(path)]


def changes_in(step: Step, plan: Plan, outcome: Outcome, before: Mapping[bytes, Row]) -> list[Change]:
    """What a step changed on the disk. `before`: what the index had at the wanted and corrected paths."""
    return [_change(path, step, plan, _entry_of(before, path)) for path in changed_paths(plan, outcome)]


def via(step: Step) -> Via:
    """How the changes of a step came."""
    if step.drift:
        return Via.REPAIR
    return Via.STREAM if step.recent else Via.SYNC


def _entry_of(rows: Mapping[bytes, Row], path: bytes) -> Entry | None:
    row = rows.get(path)
    return row.entry if row is not None else None


def _change(path: bytes, step: Step, plan: Plan, before: Entry | None) -> Change:
    told = step.want.get(path)
    entry = told.entry if told is not None else plan.corrections.get(path)
    at = told.at if told is not None and told.at is not None else step.standing.position
    shown = entry or before
    return Change(path, _what(before, entry), shown.kind if shown else None, shown.size if shown else 0, at)


def _what(before: Entry | None, entry: Entry | None) -> What:
    if entry is None:
        return What.DELETE
    if before is None:
        return What.CREATE
    if not entry.same_content(before):
        return What.MODIFY
    if entry.mode != before.mode:
        return What.MODE
    if entry.mtime_ns != before.mtime_ns:
        return What.MTIME
    return What.OWNER if entry.owner != before.owner else What.PLACE
