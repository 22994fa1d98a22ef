"""What comes of questions: answers are expected, parked while they are ahead of the stream, gathered, and merged.

Decisions are `asking`'s, `gathering`'s and `merging`'s; steps are carried out by the follower that owns this. An answer is never
settled late: it can be asked for again. Used from one thread.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from common.messages import AskSince, Since, TooOld
from consumer import merging
from consumer.agreement import Decision, Drop, Wait
from consumer.asking import Asking
from consumer.gathering import Came, Gathering
from consumer.holds import Judge
from consumer.merging import Answer
from consumer.parking import Answers
from consumer.room import Room
from consumer.state import State

MERGE_LIMIT = 512
MERGE_LIMIT_BYTES = 2 * 1024 * 1024
COMPANY_SECONDS = 0.2
"""So long an answer waits for others that are expected: each step has costs of its own, and barriers on the disk."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What the follower does for it: carry a decision out, tell of what is dropped, count what came, by its size in bytes, and
    name who says how many deletes are too many."""

    decided: Callable[[Decision], None]
    dropped: Callable[[Drop], None]
    came: Callable[[Answer, int], None]
    judge: Callable[[], Judge]


class Syncing:
    """The open questions of one replica and what has come of them. Not thread-safe."""

    def __init__(
        self, state: State, asking: Asking, gathering: Gathering, room: Room, clock: Callable[[], float], owner: Owner
    ) -> None:
        self._state = state
        self._asking = asking
        self._gathering = gathering
        self._room = room
        self._clock = clock
        self._owner = owner
        self._answers = Answers()
        self.has_no_room_for_contents = False
        """Whether only rows are taken, so that what goes makes room for what comes."""

    @property
    def is_merging(self) -> bool:
        """Whether a since answer is whole, and not merged to its end: `merge` has something to do."""
        return self._gathering.is_merging

    @property
    def received_share(self) -> float:
        """How much of a since answer has come, 0 to 1."""
        return self._gathering.received_share

    def take(self, answer: Answer, size_bytes: int) -> None:
        """An answer to this replica has come. What no open question expects is nothing."""
        self._owner.came(answer, size_bytes)
        self._take(answer, size_bytes)

    def _take(self, answer: Answer, size_bytes: int) -> None:
        if not self._asking.expects(answer):
            return
        self._asking.heard(answer, self._clock())
        refused = merging.refuses(self._state.standing(), answer)
        if isinstance(refused, Wait):
            self._answers.hold(answer, size_bytes)
        elif isinstance(refused, Drop):
            self._owner.dropped(refused)
            if not refused.alarm:
                # A broken answer leaves its question open: it is asked again after its time, and not as fast as it goes.
                self._asking.answered(answer, self._clock())
        elif isinstance(answer, Since):
            self._on_part(answer, size_bytes)
        elif isinstance(answer, TooOld):
            self._on_too_old(answer)
        else:
            self._answers.gather(answer, size_bytes, self._clock())
            if self._answers.is_full(MERGE_LIMIT, MERGE_LIMIT_BYTES):
                self.merge()

    def reached(self, sequence: int) -> None:
        """The stream is at this sequence: answers that were ahead of it are taken now."""
        for answer, size_bytes in self._answers.reached(sequence):
            self._take(answer, size_bytes)

    def due_at(self) -> float | None:
        """When there is something to merge: at once where a since answer is whole, or no other answer is expected."""
        gathered = len(self._answers.gathered)
        if self.is_merging or gathered >= max(1, self._asking.expected):
            return -math.inf
        return self._answers.gathered_at + COMPANY_SECONDS if gathered else None

    def merge_due(self) -> None:
        """Merge what is due now."""
        due_at = self.due_at()
        if due_at is not None and self._clock() >= due_at:
            self.merge()

    def merge(self) -> None:
        """Merge what has come together, in one step; and of a since answer that is whole the next slice, in another."""
        self._merge_gathered()
        part = self._gathering.next_slice(self._state.standing().stale)
        if part is not None:
            self._owner.decided(merging.merge_slice(self._state.standing(), self._state, part, self._owner.judge()))

    def close(self) -> None:
        """What questions ask was true of before: no answer is taken any more, and none that was begun is ended."""
        self._asking.close_all()
        self._answers.forget()
        self._gathering.forget()

    def _merge_gathered(self) -> None:
        taken = [(answer, size) for answer, size in self._answers.take() if self._asking.expects(answer)]
        if not taken:
            return
        for answer, size in taken:
            self._asking.answered(answer, self._clock(), size)
        answers = [answer for answer, _ in taken]
        self._owner.decided(merging.merge(self._state.standing(), self._state, answers, self._owner.judge()))

    def _on_part(self, part: Since, size_bytes: int) -> None:
        """It waits in the spool until all parts are there; then the answer is merged, slice by slice."""
        self._asking.heard(part, self._clock())
        self._gathering.keep(self._asking.open)
        came = Came.PART

        def gather() -> None:
            nonlocal came
            with_contents = not self.has_no_room_for_contents
            came = self._gathering.gather(part, self._state.bucket_of, with_contents=with_contents)

        self._room.patiently(gather, math.inf)
        if came is Came.WHOLE:
            self._asking.answered(part, self._clock(), size_bytes)
        elif came is Came.BROKEN:
            self._owner.dropped(Drop("torn-answer", "the rows of a since answer do not hash to its digest"))

    def _on_too_old(self, answer: TooOld) -> None:
        """The log does not go back so far: what was asked from there is compared bucket by bucket."""
        question = self._asking.open[answer.nonce].ask
        self._asking.answered(answer, self._clock())
        asked = question.base + 1 if isinstance(question, AskSince) else 0
        self._owner.decided(merging.forget_bases(self._state.standing(), max(answer.reach, asked)))
