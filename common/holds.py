"""Decides how many deletes are too many: the limit of a hold, and what becomes of deletes that wait to be let through.

The producer asks before it publishes, a replica before it removes what no release covers. Knows neither of them; which paths
went lately is `departures`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.departures import Departed, Departures

HOLD_ALLOWED = "off, or a count and two percentages, as in 5000,10%,50%"
SMALL_TREE_ENTRIES = 100
"""In a tree of up to so many entries, half of it is not many."""

_HOLD = re.compile(
    r"\s*([0-9]{1,15})\s*,\s*([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%\s*,\s*([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%\s*"
)


@dataclass(frozen=True, slots=True)
class HoldLimit:
    """At most `paths` deletes within the window, or `percent` of the tree where that is more; never more than `most_percent` of
    a tree of over 100 entries. `is_off`: there is no limit."""

    paths: int = 5000
    percent: float = 10.0
    most_percent: float = 50.0
    is_off: bool = False

    def __str__(self) -> str:
        return "off" if self.is_off else f"{self.paths},{self.percent:g}%,{self.most_percent:g}%"

    def of(self, entries: int) -> int:
        """How many deletes are not too many in a tree that had so many entries when the window began."""
        many = max(self.paths, int(entries * self.percent / 100))
        return many if entries <= SMALL_TREE_ENTRIES else min(many, int(entries * self.most_percent / 100))


NO_HOLD = HoldLimit(is_off=True)


def parse_hold(given: object) -> HoldLimit:
    """What `TREECAST_HOLD` says: "5000,10%,50%" or "off". Raises ValueError with what is allowed."""
    if isinstance(given, HoldLimit):
        return given
    text = str(given).strip().lower()
    if text == "off":
        return NO_HOLD
    match = _HOLD.fullmatch(text)
    if match is None or max(float(match[2]), float(match[3])) > 100:
        raise ValueError(HOLD_ALLOWED)
    return HoldLimit(int(match[1]), float(match[2]), float(match[3]))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of deletes that wait. `count`: how many count, those that went and those that are held already among them; at
    most so many where nobody had to look. `limit`: how many may (None: off), in a tree that had `entries`. `held`: those that
    must wait, `free`: those that may go."""

    count: int = 0
    limit: int | None = None
    entries: int = 0
    held: Sequence[Departed] = ()
    free: Sequence[Departed] = ()

    @property
    def is_over(self) -> bool:
        """Whether there are too many."""
        return self.limit is not None and self.count > self.limit


def judge(
    limit: HoldLimit, departures: Departures, pending: Sequence[Departed], now: float, *, held: int = 0
) -> Judgement:
    """Judge deletes that wait, all of them together: when there are too many, each that counts must wait. `held`: how many are
    held already.

    What does not count goes: content that came elsewhere lately, and what came itself lately. Costs next to nothing while there
    are few; only when there might be too many are they looked at one by one.
    """
    entries = departures.entries_before(now)
    if limit.is_off:
        return Judgement(entries=entries, free=pending)
    most = limit.of(entries)
    if (at_most := departures.at_most(now) + held + len(pending)) <= most:
        return Judgement(at_most, most, entries, free=pending)
    departures.settle(now)
    return _divided(departures.counted(pending, now), departures.gone + held, most, entries)


def judge_again(limit: HoldLimit, departures: Departures, held: Iterable[Departed], now: float) -> Judgement:
    """Judge anew all that is held: files may be back, or turn out to have moved. Looks at each."""
    departures.settle(now)
    entries = departures.entries_before(now)
    if limit.is_off:
        return Judgement(entries=entries, free=list(held))
    return _divided(departures.counted(held, now), departures.gone, limit.of(entries), entries)


def _divided(counted: Iterable[tuple[Departed, bool]], already: int, most: int, entries: int) -> Judgement:
    counting: list[Departed] = []
    free: list[Departed] = []
    for departed, counts in counted:
        (counting if counts else free).append(departed)
    count = already + len(counting)
    if count <= most:
        return Judgement(count, most, entries, free=[*counting, *free])
    return Judgement(count, most, entries, counting, free)
