"""Does: takes the questions that wait in turn, and has each answered, a bundle of answers at a time. Knows no broker, no pipe."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from common.errors import NoRoomError, RefusedError
from common.messages import Question
from common.wire import codec
from producer.answerer import Made, Noted, Said
from producer.making import Answered, Making, Outcome
from producer.turns import Turns, Waiting

BUNDLE_BYTES = 256 * 1024
"""So much goes as one message: handing one to a broker, and taking it, costs more than a small answer does."""
BUNDLE_SECONDS = 0.05
"""And no longer is one made, so that others have their turn."""


class Answers:
    """The questions of all replicas. Owned by one thread; `clock`: steady seconds."""

    def __init__(self, making: Making, clock: Callable[[], float]) -> None:
        self._making = making
        self._clock = clock
        self._turns = Turns()
        self._open: dict[str, tuple[Waiting, Iterator[Outcome]]] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def ask(self, question: Question) -> None:
        """Queue a question."""
        self._turns.ask(question, self._clock())

    def forget(self, replica: str) -> None:
        """Drop what this replica asked."""
        self._turns.forget(replica)
        self._open.pop(replica, None)

    def held(self) -> AbstractContextManager[None]:
        """A short spell of making: what is made in it is of one position."""
        return self._making.held()

    def make(self, room_bytes: float = BUNDLE_BYTES) -> list[Said]:
        """The next answers, as one message, and what was doubted on the way to them; nothing when no question waits.

        They are answers to one question, as many as come to `room_bytes`, or to a moment: one answer too many at most. Raises
        StateError and HaltError when the journal cannot be read.
        """
        said: list[Said] = []
        while (waiting := self._turns.next()) is not None:
            bundle = self._bundle(waiting, min(room_bytes, BUNDLE_BYTES), said)
            if bundle is not None:
                said.append(bundle)
                break
        return said

    def _bundle(self, waiting: Waiting, room_bytes: float, said: list[Said]) -> Made | None:
        """None: nothing more comes of the question."""
        answers: list[Answered] = []
        messages: list[bytes] = []
        waited_seconds, until = 0.0, self._clock() + BUNDLE_SECONDS
        while (now := self._clock()) < until or not messages:
            outcome = self._next_of(waiting, said)
            if isinstance(outcome, Answered):
                answers.append(outcome)
                messages.append(codec.encode_closed(outcome.answer, outcome.closed))
                waited_seconds += now - waiting.heard_at
                room_bytes -= len(messages[-1])
                if room_bytes <= 0:
                    break
            elif outcome is not None:
                said.append(outcome)
            else:
                self._open.pop(waiting.question.replica, None)
                self._turns.done(waiting)
                break
        return _made(waiting, answers, waited_seconds, b"".join(messages)) if answers else None

    def _next_of(self, waiting: Waiting, said: list[Said]) -> Outcome | None:
        """What a question comes to next; None at its end. What cannot be answered is said, and is the end."""
        try:
            return next(self._outcomes(waiting), None)
        except (RefusedError, NoRoomError) as error:
            said.append(Noted(f"a question of {waiting.question.replica} is not answered: {error}"))
            return None

    def _outcomes(self, waiting: Waiting) -> Iterator[Outcome]:
        replica = waiting.question.replica
        if replica not in self._open or self._open[replica][0] is not waiting:
            self._open[replica] = (waiting, self._making.outcomes(waiting.question))
        return self._open[replica][1]


def _made(waiting: Waiting, answers: Sequence[Answered], waited_seconds: float, message: bytes) -> Made:
    question, at = waiting.question, max(answered.answer.at for answered in answers)
    kind = answers[0].kind
    return Made(kind, question.replica, question.epoch, at, question.unix_ns, waited_seconds, message, len(answers))
