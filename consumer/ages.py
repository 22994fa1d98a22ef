"""Decides how long each thing has stood aside, and which of it goes. Two clocks tell the time, and either may be wrong.

A clock that was wrong when something was set aside must neither let it go at once nor keep it for ever. So what counts is the
time that went by since it was first seen standing there: between two looks, the lesser of what the two clocks say; a clock that
was set back says nothing for once. What stands aside is called `<unix seconds>-<number>`, or that and one more number; the time
in it is for people; with 0 it is condemned: it goes as soon as there is a moment for it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_LABEL = re.compile(rb"[0-9]{1,20}(-[0-9]{1,20}){1,2}")
NOTHING_BORN: Mapping[bytes, float] = {}


class Clocks(NamedTuple):
    """Unix seconds by this machine's clock, and by the master's."""

    here: float
    master: float


class Ages(NamedTuple):
    """`lived`: the seconds that both clocks granted until they were `seen` last. `born`: by label, what `lived` was when it was
    first seen."""

    lived: float = 0.0
    seen: Clocks | None = None
    born: Mapping[bytes, float] = NOTHING_BORN


def label_of(unix_seconds: float, number: int, more: int = 0) -> bytes:
    """What a place is called where things stand aside. `number`: of the commit; `more`: of several places of one commit."""
    return b"%d-%d" % (unix_seconds, number) + (b"-%d" % more if more else b"")


def is_condemned(label: bytes) -> bool:
    """Whether it only stands aside because to remove it at once would have taken long."""
    return label.startswith(b"0-")


def is_label(name: bytes) -> bool:
    """Whether it is ours: what is named otherwise is nobody's, and stays."""
    return _LABEL.fullmatch(name) is not None


def look(ages: Ages, labels: Iterable[bytes], clocks: Clocks) -> Ages:
    """These stand aside now."""
    passed = 0.0 if ages.seen is None else min(clocks.here - ages.seen.here, clocks.master - ages.seen.master)
    lived = ages.lived + max(0.0, passed)
    return Ages(lived, clocks, {label: ages.born.get(label, lived) for label in labels})


def oldest_first(ages: Ages) -> list[bytes]:
    """All that stand aside; of those that were first seen together, the one of the earlier commit."""
    return sorted(ages.born, key=lambda label: (ages.born[label], [int(part) for part in label.split(b"-")[1:]], label))


def is_too_old(ages: Ages, label: bytes, limit_seconds: float) -> bool:
    """Whether it has stood there long enough."""
    return is_condemned(label) or ages.lived - ages.born[label] >= limit_seconds


def is_too_much(total_bytes: int, free_bytes: int, share: float) -> bool:
    """Whether all that stands aside takes more than its share of the room that would be free without it."""
    return total_bytes > share * (free_bytes + total_bytes)
