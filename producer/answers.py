"""Does: takes the questions that wait in turn, and has each answered, one message at a time. Knows no broker, pipe or process."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from common.errors import NoRoomError, RefusedError
from common.messages import Question
from common.wire import codec
from producer.answerer import Made, Noted, Said
from producer.making import Answered, Making, Outcome
from producer.turns import Turns, Waiting


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

    def make(self) -> list[Said]:
        """The next answer and what was doubted on the way to it; nothing when no question waits.

        Raises StateError and HaltError when the journal cannot be read.
        """
        said: list[Said] = []
        while (waiting := self._turns.next()) is not None:
            outcome = self._next_of(waiting, said)
            if isinstance(outcome, Answered):
                said.append(self._made(waiting, outcome))
                break
            if outcome is None:
                self._open.pop(waiting.question.replica, None)
                self._turns.done(waiting)
            else:
                said.append(outcome)
        return said

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

    def _made(self, waiting: Waiting, answered: Answered) -> Made:
        kind, answer, closed = answered
        waited_seconds = self._clock() - waiting.heard_at
        message = codec.encode_closed(answer, closed)
        asked_ns = waiting.question.unix_ns
        return Made(kind, answer.replica, answer.lineage.epoch, answer.at, asked_ns, waited_seconds, message)
