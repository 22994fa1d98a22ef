"""Decides what is told of one path: what became of it, who has that, and how it stands now. Knows no journal and no clock.

Who has a change is told by the last position at which nothing was stale there: from then on it has that change, or a later one of
the same path. What fails there, or is held there, may be this path: its report tells the first ones by name.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from common.entries import Entry, Position
from common.names import escape
from producer.fleet_view import FleetView, ReplicaView
from producer.values import Logged

UNMET = (("unmet_held", "deletes are held there"), ("unmet_problem", "paths fail there"))


class Times(NamedTuple):
    """Of one change, in seconds from the moment in which it was journaled: the first hint before it; the rest after it, None:
    not yet."""

    seen_seconds: float
    published_seconds: float | None
    confirmed_seconds: float | None


TimesOf = Callable[[int], Times | None]
"""The times of the change with a sequence; None: they are not remembered."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a path stands at one moment: what is published of it, and in words what waits; `excluded`: by which pattern. "" where
    that is not so."""

    entry: Entry | None
    pending: str = ""
    hashing: str = ""
    held: str = ""
    problem: str = ""
    excluded: str = ""
    is_scanning: bool = False


def told(path: bytes, changes: Iterable[dict[str, Any]], read_back_to: int | None) -> dict[str, Any]:
    """What the journal tells of a path, as JSON. `read_back_to`: milliseconds since 1970, None: all of it was read."""
    return {
        "path": escape(path),
        "changes": list(changes),
        "read_back_to": None if read_back_to is None else read_back_to / 1000,
    }


def told_of_change(row: Logged, times: Times | None = None) -> dict[str, Any]:
    """One change, as JSON; times are unix seconds."""
    numbered = row.unix_ms / 1000
    return {
        "epoch": row.epoch,
        "sequence": row.sequence,
        "what": row.what,
        "kind": row.kind_word(row.kind),
        "size": row.size,
        "old_kind": row.kind_word(row.old_kind),
        "old_size": row.old_size,
        "is_remembered": times is not None,
        "seen": None if times is None else round(numbered - times.seen_seconds, 3),
        "numbered": numbered,
        "published": None if times is None else _moment(numbered, times.published_seconds),
        "confirmed": None if times is None else _moment(numbered, times.confirmed_seconds),
    }


def _moment(numbered: float, seconds: float | None) -> float | None:
    return None if seconds is None else round(numbered + seconds, 3)


def told_of_fleet(row: Logged, view: FleetView) -> dict[str, Any]:
    """Who has a change, and who has not, as JSON: name to word, the last word, and why."""
    why = {one.name: (one, _why_not(one, row)) for one in view.replicas}
    return {
        "has": [name for name, (_, reason) in why.items() if reason is None],
        "lacks": {
            name: {"word": str(one.word), "heard": one.since, "why": reason}
            for name, (one, reason) in why.items()
            if reason is not None
        },
    }


def _why_not(one: ReplicaView, row: Logged) -> str | None:
    """Why it cannot be said that this replica has it; None: it has."""
    if one.level < Position(row.epoch, row.sequence):
        return ""
    name = f"{escape(row.path)}: "
    named = [text for text in one.problems if text.startswith(name)]
    if named:
        return named[0].removeprefix(name)
    counts = ((one.details.get(reason), words) for reason, words in UNMET)
    unmet = [f"{count:,} {words}" for count, words in counts if isinstance(count, int) and count]
    is_all_named = not one.details.get("unmet_held") and len(one.problems) == one.details.get("unmet_problem")
    return f"{' and '.join(unmet)}, perhaps this" if unmet and not is_all_named else None


def told_of_standing(standing: Standing) -> dict[str, Any]:
    """How it stands now, as JSON."""
    return {
        "entry": told_of_entry(standing.entry),
        "pending": standing.pending,
        "hashing": standing.hashing,
        "held": standing.held,
        "problem": standing.problem,
        "excluded": standing.excluded,
        "scanning": standing.is_scanning,
    }


def told_of_entry(entry: Entry | None) -> dict[str, Any] | None:
    """What is published of it, as JSON; None: nothing."""
    if entry is None:
        return None
    return {
        "kind": entry.kind.name.lower(),
        "mode": f"{entry.mode:o}",
        "mtime": entry.mtime_ns / 1e9,
        "size": entry.size,
        "digest": entry.digest.hex(),
    }


def told_of_all(rows: Sequence[Logged], times_of: TimesOf, view: FleetView) -> list[dict[str, Any]]:
    """Each change with its times and with who has it, as JSON."""
    return [told_of_change(row, times_of(row.sequence)) | told_of_fleet(row, view) for row in rows]
