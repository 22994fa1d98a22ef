"""Decides when an epoch may be announced: from what the journal knows of itself, and from what replicas report. Pure.

All replicas are called first, and who answers has taken what was published to it before. A journal that was announced before is
believed, unless a replica is beyond it: then it is older than what was published (it was restored, or copied), and its index is
made anew from the source. An index that nobody vouches for is compared with a replica
first, if there is one: within the limit of a hold the epoch is announced, beyond it a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from common.entries import Position
from common.holds import HoldLimit
from common.messages import Lineage, Report
from producer.fleet import EPOCHS_BELIEVED, Heard

REPLICAS_SPEAK_SECONDS = 6.0
"""In so long every replica that is there has reported once, whether it heard a call or not."""
CALL_SECONDS = 2.0
"""In so long every replica that is there has answered a call."""
TRIAL_SECONDS = 5.0
TRIAL_SILENCE_SECONDS = 30.0
"""A replica that says nothing of the trial for so long is not asked any more, as long as there is another."""
GONE_SECONDS = 60.0
"""A replica that was not heard of for so long is not waited for."""


class Compared(NamedTuple):
    """What a comparison came to: so many paths would be created, modified and deleted on this replica, which has `entries`."""

    replica: str
    creates: int
    modifies: int
    deletes: int
    entries: int

    @property
    def paths(self) -> int:
        """How many paths differ."""
        return self.creates + self.modifies + self.deletes


class Act(Enum):
    """What is to be done now."""

    WAIT = "wait"
    REOPEN = "reopen"
    """Make the index anew from the source."""
    ANNOUNCE = "announce"
    TRY = "try"
    """Send a trial."""
    DOUBT = "doubt"
    """Say what was found, and wait for a person."""


class Verdict(NamedTuple):
    """`is_released`: whether all deletes up to here are released with the announcement; None: what the journal says stands.
    `replica`: whom a trial is for. `compared`: what raises a doubt, with the limit that it is beyond."""

    act: Act
    is_released: bool | None = None
    replica: str = ""
    compared: Compared | None = None
    limit: int = 0


_WAIT = Verdict(Act.WAIT)


@dataclass(frozen=True, slots=True)
class Seen:
    """How things stand. `published`: where the journal stood under the last epoch that it announced, drawn by `instance`.
    `is_base_whole`: the whole source is in the index. `is_approved`: a person said that it is right. `is_doubted`: a comparison
    was beyond the limit, perhaps in an earlier run. `takes_over`: another producer hears the replicas, and this one publishes all
    the same. `members`: the replicas that the journal knows."""

    lineage: Lineage
    digest: bytes
    published: Position
    instance: bytes
    is_vouched: bool
    is_base_whole: bool
    is_approved: bool = False
    is_doubted: bool = False
    takes_over: bool = False
    members: frozenset[str] = frozenset()
    heard: Sequence[Heard] = ()

    @property
    def have_all_answered(self) -> bool:
        """Whether all that the journal knows have answered the call, and one of them at least follows the stream."""
        answered = [heard.report for heard in self.heard if heard.answers(self.lineage)]
        return self.members <= {one.replica for one in answered} and any(one.position.epoch for one in answered)


@dataclass(slots=True)
class _Trial:
    epoch: int
    digest: bytes
    replica: str
    alive_at: float
    sent_at: float = float("-inf")
    judged_at: float | None = None


@dataclass(slots=True)
class Vouching:
    """One run of a producer until its epoch is announced. `now`: seconds of a steady clock; begins when replicas are called."""

    limit: HoldLimit
    _since: float | None = None
    _trial: _Trial | None = None
    _silent: set[str] = field(default_factory=set)

    @property
    def is_comparing(self) -> bool:
        """Whether a replica compares just now: the index must stay as it is."""
        return self._trial is not None and self._trial.judged_at is None

    def begin_anew(self) -> None:
        """The lead was lost, or the index is made anew."""
        self._since, self._trial = None, None
        self._silent.clear()

    def judge(self, seen: Seen, now: float) -> Verdict:
        """What is to be done. Call it after hearing what has come, from when on the replicas are called."""
        if self._since is None:
            self._since = now
        if seen.is_vouched:
            return self._judge_vouched(seen, now - self._since)
        if not seen.is_base_whole:
            return _WAIT
        if seen.is_approved:
            return Verdict(Act.ANNOUNCE, is_released=True)
        if seen.takes_over:
            return Verdict(Act.ANNOUNCE, is_released=False)
        followers = [heard for heard in seen.heard if _holds_something(heard.report)]
        if not [heard for heard in followers if now - heard.at < GONE_SECONDS]:
            return self._judge_alone(seen, now - self._since)
        if now - self._since < CALL_SECONDS:
            return _WAIT
        return self._try(seen, followers, now)

    def _judge_vouched(self, seen: Seen, called_seconds: float) -> Verdict:
        if any(is_beyond(heard.report, seen.published, seen.instance) for heard in seen.heard):
            return Verdict(Act.REOPEN)
        return Verdict(Act.ANNOUNCE) if seen.have_all_answered or called_seconds >= CALL_SECONDS else _WAIT

    def _judge_alone(self, seen: Seen, called_seconds: float) -> Verdict:
        """No replica holds anything of this tree, as far as one is there."""
        limit_seconds = CALL_SECONDS if seen.heard else REPLICAS_SPEAK_SECONDS
        if seen.is_doubted or called_seconds < limit_seconds:
            return _WAIT
        return Verdict(Act.ANNOUNCE, is_released=False)

    # -- the trial

    def _try(self, seen: Seen, followers: Sequence[Heard], now: float) -> Verdict:
        trial = self._trial
        if trial is None or self._is_over(trial, seen, now):
            trial = self._trial = self._begin(seen, followers, now)
        answers = [heard for heard in followers if _is_about(heard.report, trial)]
        done = next((found for heard in answers if (found := compared_in(heard.report)) is not None), None)
        if done is not None and trial.judged_at is None:
            trial.judged_at = now
            return self._judge_compared(done)
        trial.alive_at = max([trial.alive_at, *(heard.at for heard in answers)])
        if trial.judged_at is None and now - trial.alive_at >= TRIAL_SILENCE_SECONDS:
            self._silent.add(trial.replica)
            trial = self._trial = self._begin(seen, followers, now)
        if now - trial.sent_at < TRIAL_SECONDS:
            return _WAIT
        trial.sent_at = now
        return Verdict(Act.TRY, replica=trial.replica)

    def _is_over(self, trial: _Trial, seen: Seen, now: float) -> bool:
        """Another epoch; or the source has changed since it was doubted: perhaps the files are back."""
        if trial.epoch != seen.lineage.epoch:
            return True
        is_due = trial.judged_at is not None and now - trial.judged_at >= TRIAL_SECONDS
        return is_due and trial.digest != seen.digest

    def _begin(self, seen: Seen, followers: Sequence[Heard], now: float) -> _Trial:
        """With the most advanced replica; one that was silent comes last."""
        if all(heard.report.replica in self._silent for heard in followers):
            self._silent.clear()

        def rank(heard: Heard) -> tuple[bool, bool, Position, bool, str]:
            report, is_here = heard.report, now - heard.at < TRIAL_SILENCE_SECONDS
            return (is_here, report.replica not in self._silent, report.position, report.agreed, report.replica)

        return _Trial(seen.lineage.epoch, seen.digest, max(followers, key=rank).report.replica, now)

    def _judge_compared(self, found: Compared) -> Verdict:
        limit = self.limit.of(found.entries)
        if self.limit.is_off or found.paths <= limit:
            return Verdict(Act.ANNOUNCE, is_released=True, compared=found)
        return Verdict(Act.DOUBT, compared=found, limit=limit)


def is_beyond(report: Report, published: Position, instance: bytes) -> bool:
    """Whether a replica holds what the journal does not know to have published: a later position, or another's."""
    epoch = report.position.epoch
    if not 0 < epoch < EPOCHS_BELIEVED:
        return False
    is_another = epoch == published.epoch and report.instance != instance
    return is_another or report.position > published


def _holds_something(report: Report) -> bool:
    """Whether it follows an epoch, and has paths of it: otherwise there is nothing to lose there."""
    return report.position.epoch > 0 and report.details.get("entries") != 0


def _is_about(report: Report, trial: _Trial) -> bool:
    told = report.details
    return told.get("trial_epoch") == trial.epoch and told.get("trial_digest") == trial.digest.hex()


def compared_in(report: Report) -> Compared | None:
    """What a report says that a comparison came to; None while it is not done."""
    told: Mapping[str, Any] = report.details
    counts = [told.get(f"trial_{what}") for what in ("creates", "modifies", "deletes")] + [told.get("entries")]
    numbers = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    return Compared(report.replica, *numbers) if len(numbers) == len(counts) else None
