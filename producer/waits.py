"""Decides whether those who are waited for have what is waited for, and whether it is any use to wait on. Knows the view of the
fleet; asks nobody.
"""

from dataclasses import dataclass, field, replace

from common.entries import Position
from common.labels import Selector
from producer.fleet_view import NEEDS_PERSON, FleetView, ReplicaView, Word

_SILENT = frozenset({Word.GONE, Word.NEW})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who is to have it: of those with these names (None: anybody), picked by the selector, so many (None: all).

    `is_patient`: wait also for those that are gone, and for a person who is needed there."""

    names: frozenset[str] | None = None
    selector: Selector = field(default_factory=Selector)
    count: int | None = None
    is_patient: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it stands. `missing`: who has not agreed there yet."""

    have: int
    of: int
    missing: tuple[ReplicaView, ...]
    is_done: bool
    why_hopeless: str = ""
    """Why it cannot come true by waiting; "" while it can."""
    needs_person: bool = False


def judge(view: FleetView, wanted: Wanted, position: Position) -> Verdict:
    """Whether those who are wanted agree, durably, at this position or beyond. Nobody knows what one has that is gone."""
    picked = view.selected(wanted.selector)
    asked = picked if wanted.names is None else picked.named(wanted.names)
    unknown = sorted((wanted.names or frozenset()) - {one.name for one in asked.replicas})
    missing = tuple(one for one in asked.replicas if one.word in _SILENT or not one.has(position))
    have = len(asked.replicas) - len(missing)
    of = len(asked.replicas) + len(unknown)
    needed = of if wanted.count is None else wanted.count
    if have >= needed and of:
        return Verdict(have, of, missing, is_done=True)
    if not of:
        return Verdict(0, 0, (), False, "no replica is waited for: the fleet has none, or none with these labels")
    if unknown:
        return Verdict(have, of, missing, False, f"{', '.join(unknown)}: no replica of this fleet")
    if needed > of:
        return Verdict(have, of, missing, False, f"{needed} are wanted, and there are {of}")
    return _or_hopeless(Verdict(have, of, missing, False), wanted, needed)


def _or_hopeless(verdict: Verdict, wanted: Wanted, needed: int) -> Verdict:
    silent = [one for one in verdict.missing if one.word in _SILENT]
    stopped = [one for one in verdict.missing if one.word in NEEDS_PERSON]
    can_come = verdict.of - len(silent) - len(stopped)
    if can_come >= needed:
        return verdict
    why = ", ".join(f"{one.name} is {_state(one)}" for one in (*stopped, *silent)[:10])
    return replace(verdict, why_hopeless="" if wanted.is_patient else why, needs_person=bool(stopped))


def _state(one: ReplicaView) -> str:
    words = {Word.NEW: "never heard of", Word.HELD: "holding deletes"}
    return words.get(one.word, str(one.word))
