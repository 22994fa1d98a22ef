"""Decides what follows from the words of replicas: who is there, whose queue is to be made, which questions are to be answered.

Knows no broker and no journal. A replica's clock is compared with itself alone: a question is old when the same replica's last
word was sent a minute after it.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from common.messages import Lineage, Question, ReplicaState, Report, Upstream

QUESTION_LIFE_SECONDS = 60.0
REPLICAS_LIMIT = 10_000
EPOCHS_BELIEVED = 1 << 62
"""An epoch is unix seconds, or one more than the last. What claims to be from here on is no epoch: nothing could go above it."""


class Reply(Enum):
    """What an upstream message asks for at once."""

    NOTHING = "nothing"
    HEARTBEAT = "heartbeat"
    ANSWER = "answer"
    STEP_DOWN = "step down"
    """Somebody else published, under a higher epoch than ours or under the same one."""


class Heard(NamedTuple):
    """The last report of a replica, and when it came, in seconds of the loop's clock."""

    report: Report
    at: float

    def answers(self, lineage: Lineage) -> bool:
        """Whether it was sent after the replica took the call of this epoch, and all that was published to it before that."""
        return bool(self.report.details.get("called") == lineage.instance.hex())


@dataclass(slots=True)
class _Replica:
    heard_at: float
    reported_at: float = 0.0
    sent_ns: int = 0


@dataclass(slots=True)
class Fleet:
    """The replicas that were heard of. Times are seconds of one steady clock."""

    _replicas: dict[str, _Replica] = field(default_factory=dict)
    _reports: dict[str, Report] = field(default_factory=dict)
    _queueless: dict[str, None] = field(default_factory=dict)

    def hear(self, message: Upstream, lineage: Lineage, now: float) -> Reply:
        """Take a message in. `lineage`: ours."""
        replica = self._replicas.get(message.replica)
        if replica is None:
            if len(self._replicas) >= REPLICAS_LIMIT:
                return Reply.NOTHING
            replica = self._replicas[message.replica] = _Replica(now)
            self._queueless[message.replica] = None
        replica.heard_at, replica.sent_ns = now, message.unix_ns
        if isinstance(message, Question):
            return Reply.ANSWER if message.epoch == lineage.epoch else Reply.HEARTBEAT
        self._reports[message.replica], replica.reported_at = message, now
        if message.state is ReplicaState.NO_QUEUE:
            self._queueless[message.replica] = None
        return Reply.STEP_DOWN if _follows_another(message, lineage) else Reply.NOTHING

    def is_old(self, name: str, asked_ns: int) -> bool:
        """Whether the replica has said something else over a minute after it asked, by its own clock."""
        replica = self._replicas.get(name)
        return replica is not None and replica.sent_ns - asked_ns > QUESTION_LIFE_SECONDS * 1e9

    def forget(self, replica: str) -> None:
        """It belongs to the fleet no more: when it speaks again, it is a new one. Idempotent."""
        for known in (self._replicas, self._reports, self._queueless):
            known.pop(replica, None)

    def report_of(self, replica: str) -> Report | None:
        """What it reported last, since this process began to listen."""
        return self._reports.get(replica)

    def last_reports(self) -> dict[str, Report]:
        """What each reported last, by name, as it is now."""
        return self._reports.copy()

    def lost_queue(self, replica: str) -> None:
        """A message for it came back: its queue is not there."""
        if replica in self._replicas:
            self._queueless[replica] = None

    def take_queueless(self) -> list[str]:
        """Replicas whose queue must be made now. Each is named once, until its queue is lost again."""
        names, self._queueless = list(self._queueless), {}
        return names

    def reports(self) -> list[Heard]:
        """What each replica reported last."""
        return [Heard(report, self._replicas[name].reported_at) for name, report in self._reports.items()]

    def forked(self, lineage: Lineage, sequence: int) -> list[str]:
        """The replicas that tell of a fork: see `tells_of_fork`."""
        return sorted(report.replica for report, _ in self.reports() if tells_of_fork(report, lineage, sequence))

    def highest_epoch(self) -> int:
        """The highest epoch that a replica follows; 0: none."""
        epochs = [report.position.epoch for report, _ in self.reports()]
        return max((epoch for epoch in epochs if epoch < EPOCHS_BELIEVED), default=0)

    def most_entries(self) -> int:
        """How many paths the fullest of the replicas holds that follow an epoch of this tree."""
        counts = [report.details.get("entries") for report in self._reports.values() if report.position.epoch]
        return max((count for count in counts if isinstance(count, int)), default=0)

    def vouches(self, lineage: Lineage, sequence: int) -> bool:
        """Whether a replica is proved equal under this lineage, and all that follow any have taken what it holds at this
        sequence, and kept nothing: then the tree of a new journal is no surprise to anybody."""
        reports = [report for report, _ in self.reports() if report.position.epoch]
        is_taken = all(_has_taken_all(report, lineage, sequence) for report in reports)
        return is_taken and any(report.agreed for report in reports)


def _follows_another(report: Report, lineage: Lineage) -> bool:
    """Whether what we publish is fenced or dropped there: it follows a higher epoch, or the same one of another instance."""
    epoch = report.position.epoch
    if epoch >= EPOCHS_BELIEVED:
        return False
    return epoch > lineage.epoch or (epoch == lineage.epoch and report.instance != lineage.instance)


def tells_of_fork(report: Report, lineage: Lineage, sequence: int) -> bool:
    """Whether two histories stand under our lineage: the replica saw that, or it stands where we were never. Of our next epoch it
    follows one again."""
    return _is_of(report, lineage) and (report.details.get("forked") is True or report.position.sequence > sequence)


def _is_of(report: Report, lineage: Lineage) -> bool:
    return (report.position.epoch, report.instance) == (lineage.epoch, lineage.instance)


def _has_taken_all(report: Report, lineage: Lineage, sequence: int) -> bool:
    """What is stale may still be too much to delete unasked; what is held was."""
    if not _is_of(report, lineage) or tells_of_fork(report, lineage, sequence):
        return False
    return not report.stale_buckets and not report.details.get("unmet_held")
