"""Decides which messages wait: stream messages behind a hole, and answers ahead of the stream. Bounded in time, count and bytes.

A stream message waits unsettled; an answer is settled when it comes (it can be asked for again) and waits in memory alone.
Time comes in as monotonic seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.messages import Batch, Heartbeat
from consumer.merging import Answer, Merged

PATIENCE_SECONDS = 2.0
PARKED_LIMIT = 16
ANSWERS_LIMIT = 1024
ANSWERS_LIMIT_BYTES = 16 * 1024 * 1024

Held = TypeVar("Held")


@dataclass(frozen=True, slots=True)
class Parked(Generic[Held]):
    """A stream message behind a hole, with what the caller needs to settle it."""

    message: Batch | Heartbeat
    held: Held
    since: float

    @property
    def start(self) -> int:
        """The sequence that must be reached before this can be taken."""
        return self.message.first - 1 if isinstance(self.message, Batch) else self.message.sequence


@dataclass(slots=True)
class Parking(Generic[Held]):
    """The stream messages that wait for a hole to be filled, lowest first."""

    waiting: list[Parked[Held]] = field(default_factory=list)

    def park(self, message: Batch | Heartbeat, held: Held, now: float) -> None:
        """This one waits."""
        self.waiting.append(Parked(message, held, now))
        self.waiting.sort(key=lambda parked: (parked.message.lineage.epoch, parked.start))

    def reached(self, epoch: int, sequence: int) -> Parked[Held] | None:
        """The lowest that waits no more, taken out: its hole is filled, or its epoch is over."""
        return self._take(lambda p: p.message.lineage.epoch < epoch or p.start <= sequence)

    def expired(self, now: float) -> Parked[Held] | None:
        """The lowest, taken out, once one has waited too long or too many wait: the hole is a gap."""
        impatient = len(self.waiting) > PARKED_LIMIT or any(now - p.since >= PATIENCE_SECONDS for p in self.waiting)
        return self._take(lambda _: impatient)

    def due_at(self) -> float | None:
        """When patience ends."""
        return min((parked.since + PATIENCE_SECONDS for parked in self.waiting), default=None)

    def _take(self, may_go: Callable[[Parked[Held]], bool]) -> Parked[Held] | None:
        if self.waiting and may_go(self.waiting[0]):
            return self.waiting.pop(0)
        return None


@dataclass(slots=True)
class Answers:
    """Answers that have come: those to merge together now, and those ahead of the stream."""

    gathered: list[tuple[Merged, int]] = field(default_factory=list)
    gathered_bytes: int = 0
    gathered_at: float = 0.0
    """When the first of them came."""
    ahead: list[tuple[Answer, int]] = field(default_factory=list)
    ahead_bytes: int = 0

    def gather(self, answer: Merged, size_bytes: int, now: float) -> None:
        """This one can be merged."""
        if not self.gathered:
            self.gathered_at = now
        self.gathered.append((answer, size_bytes))
        self.gathered_bytes += size_bytes

    def is_full(self, limit: int, limit_bytes: int) -> bool:
        """Whether enough has come together for one step."""
        return len(self.gathered) >= limit or self.gathered_bytes >= limit_bytes

    def take(self) -> list[tuple[Merged, int]]:
        """Everything gathered, with sizes in bytes; nothing is gathered from here on."""
        taken, self.gathered, self.gathered_bytes = self.gathered, [], 0
        return taken

    def hold(self, answer: Answer, size_bytes: int) -> bool:
        """This one is ahead of the stream. False: there is no room, it must be asked for again."""
        if len(self.ahead) >= ANSWERS_LIMIT or self.ahead_bytes + size_bytes > ANSWERS_LIMIT_BYTES:
            return False
        self.ahead.append((answer, size_bytes))
        self.ahead_bytes += size_bytes
        return True

    def reached(self, sequence: int) -> list[tuple[Answer, int]]:
        """Answers that the stream has reached, taken out."""
        reached = [item for item in self.ahead if item[0].at <= sequence]
        if reached:
            self.ahead = [item for item in self.ahead if item[0].at > sequence]
            self.ahead_bytes = sum(size for _, size in self.ahead)
        return reached

    def forget(self) -> None:
        """Every question was closed: nothing that came is taken any more."""
        self.take()
        self.ahead, self.ahead_bytes = [], 0
