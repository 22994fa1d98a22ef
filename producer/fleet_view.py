"""Decides how the fleet stands: one word and one lag for each replica, and the sum. Knows no broker, no clock and no words of a
sentence.

What is equal is exact: the replica reported that its tree digest is the published one at its position, with nothing stale and
nothing unmet, and it lacks nothing that is older than a second. The lag is by the producer's clock alone: the age of the oldest
event that the replica has not reported durable; so no clock of a replica can make it look better.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from common.entries import BEFORE_ALL, Position
from common.labels import Labels, Selector
from common.messages import Lineage, ReplicaState, Report
from producer.fleet import tells_of_fork
from producer.roster import Member

GONE_SECONDS = 30.0
"""No report for so long: gone. A replica reports every 5 s at least."""
EQUAL_LAG_SECONDS = 1.0
"""While changes come without a pause nobody is ever at the last one; who is nearer than this is up to date."""
TEXTS_SHOWN = 20
TEXT_LIMIT_CHARACTERS = 500


class Word(StrEnum):
    """How a replica stands, in one word; the first that fits, in this order."""

    NEW = "new"
    """Was added, and never reported."""
    GONE = "gone"
    """Has not reported for 30 s."""
    HALTED = "halted"
    """Its disk or its state cannot be trusted: a person is needed."""
    FORKED = "forked"
    """It has another batch at a position of ours, or stands where we were never: the next epoch heals it."""
    COPYING = "copying"
    """Compares buckets: a first copy, or what it missed."""
    WAITING = "waiting"
    """Has no room on its disk."""
    HELD = "held"
    """Holds deletes until a person releases them."""
    PROBLEM = "problem"
    """Has all but some paths that fail there."""
    BEHIND = "behind"
    """Has not everything yet."""
    EQUAL = "equal"


NEEDS_PERSON = frozenset({Word.HALTED, Word.FORKED, Word.HELD})


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of one member at this moment. `report`: its last one since this process began; `silent_seconds`: since then,
    or since this process began to listen; time in which nobody could be heard does not count."""

    member: Member
    report: Report | None
    silent_seconds: float


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica. `level`: the last position at which nothing was stale; `since`: unix time of its last word, 0: none ever.

    `lag_seconds` None: it cannot be told (it follows what was never published here). `details`: open, as it reported them.
    """

    name: str
    word: Word
    position: Position
    level: Position
    lag_seconds: float | None
    silent_seconds: float
    since: float
    agreed: bool
    state: str
    stale_buckets: int
    member: Member
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> Labels:
        return self.member.labels

    @property
    def problems(self) -> list[str]:
        """The paths that fail there, one line each."""
        told = self.details.get("problems")
        texts = [text for text in told if isinstance(text, str)] if isinstance(told, list) else []
        return [text[:TEXT_LIMIT_CHARACTERS] for text in texts[:TEXTS_SHOWN]]

    def is_behind(self, limit_seconds: float) -> bool:
        """Whether it is behind the limit; one that is not heard of is."""
        return self.word in (Word.GONE, Word.NEW) or self.lag_seconds is None or self.lag_seconds > limit_seconds

    def has(self, position: Position) -> bool:
        """Whether it agrees, durably, at this position or beyond: a later epoch of the tree begins with all that was before."""
        return self.agreed and self.position >= position


@dataclass(frozen=True, slots=True)
class Deaf:
    """Why nobody can be heard. `since`: unix time, None: since this process began; `phase`, `detail`: of the link in the way."""

    since: float | None
    phase: str
    detail: str


@dataclass(frozen=True, slots=True)
class FleetView:
    """All replicas that count, by name, and where the stream stands. `deaf`: None while replicas can be heard; else they are as
    they were heard last, and their lags grow."""

    here: Position
    replicas: tuple[ReplicaView, ...]
    deaf: Deaf | None = None

    @property
    def equal(self) -> tuple[ReplicaView, ...]:
        return tuple(one for one in self.replicas if one.word is Word.EQUAL)

    @property
    def equal_at(self) -> int:
        """The sequence up to which every equal one has everything; where nobody is, that of the stream."""
        return min((one.position.sequence for one in self.equal), default=self.here.sequence)

    def selected(self, selector: Selector) -> "FleetView":
        """The part of the fleet that a selector picks."""
        return replace(self, replicas=tuple(one for one in self.replicas if selector.picks(one.labels)))

    def named(self, names: Iterable[str]) -> "FleetView":
        """The part of the fleet with these names; those that are not in it are left out."""
        wanted = frozenset(names)
        return replace(self, replicas=tuple(one for one in self.replicas if one.name in wanted))


LagOf = Callable[[Position], float | None]
"""Seconds since the oldest event after a position was published; 0: there is none; None: the position is none of ours."""


def see(
    heard: Iterable[Heard], lineage: Lineage, here: Position, lag_of: LagOf, unix: float, deaf: Deaf | None = None
) -> FleetView:
    """The fleet as it stands. An ephemeral replica counts only while it speaks."""
    views = (_view(one, lineage, here, lag_of, unix) for one in heard)
    counted = (one for one in views if not (one.member.is_ephemeral and one.word in (Word.GONE, Word.NEW)))
    return FleetView(here, tuple(sorted(counted, key=lambda one: one.name)), deaf)


def _view(heard: Heard, lineage: Lineage, here: Position, lag_of: LagOf, unix: float) -> ReplicaView:
    member, report = heard.member, heard.report
    is_forked = report is not None and tells_of_fork(report, lineage, here.sequence)
    lag = lag_of(member.level) if member.level.epoch else max(0.0, unix - member.added)
    return ReplicaView(
        member.name,
        _word(heard, lag, lineage, is_forked=is_forked),
        report.position if report is not None else BEFORE_ALL,
        member.level,
        lag,
        heard.silent_seconds,
        member.heard,
        report is not None and report.agreed and _is_ours(report, lineage) and not is_forked,
        str(report.state) if report is not None else "",
        report.stale_buckets if report is not None else 0,
        member,
        report.details if report is not None else {},
    )


def _word(heard: Heard, lag: float | None, lineage: Lineage, *, is_forked: bool) -> Word:  # noqa: PLR0911 - a table
    report = heard.report
    if not heard.member.heard:
        return Word.NEW
    if heard.silent_seconds >= GONE_SECONDS:
        return Word.GONE
    if report is None:
        return Word.BEHIND
    if report.state is ReplicaState.HALTED:
        return Word.HALTED
    if is_forked:
        return Word.FORKED
    if report.state is ReplicaState.WAITING:
        return Word.WAITING
    if report.stale_buckets or not report.position.epoch:
        return Word.COPYING
    for reason, word in (("unmet_held", Word.HELD), ("unmet_problem", Word.PROBLEM)):
        if report.details.get(reason):
            return word
    is_near = lag is not None and lag < EQUAL_LAG_SECONDS
    return Word.EQUAL if report.agreed and is_near and _is_ours(report, lineage) else Word.BEHIND


def _is_ours(report: Report, lineage: Lineage) -> bool:
    return (report.position.epoch, report.instance) == (lineage.epoch, lineage.instance)


def told(view: FleetView) -> dict[str, Any]:
    """For `status`, as JSON."""
    return {
        "equal": len(view.equal),
        "of": len(view.replicas),
        "equal_at": view.equal_at,
        "deaf": None if view.deaf is None else asdict(view.deaf),
        "replicas": {one.name: told_of(one) for one in view.replicas},
    }


def told_of(one: ReplicaView) -> dict[str, Any]:
    """For `status`, as JSON: one replica."""
    return {
        "word": str(one.word),
        "position": {"epoch": one.position.epoch, "sequence": one.position.sequence} if one.state else None,
        "agreed": one.agreed,
        "lag_seconds": None if one.lag_seconds is None else round(one.lag_seconds, 3),
        "age_seconds": round(one.silent_seconds, 1),
        "heard": one.since,
        "labels": dict(one.labels),
        "ephemeral": one.member.is_ephemeral,
        "version": one.member.version,
        "wire": one.member.wire,
        "state": one.state,
        "stale_buckets": one.stale_buckets,
        "problems": one.problems,
        "details": dict(one.details),
    }
