"""Decides whose question is answered next: replicas take turns. Knows no journal and no pipe.

What is asked again replaces what was asked before; what is too much or too old is dropped: a replica asks again by itself.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

from common.messages import AskBodies, AskBuckets, Question
from producer.fleet import QUESTION_LIFE_SECONDS, REPLICAS_LIMIT

QUESTIONS_PER_REPLICA = 32


class Waiting(NamedTuple):
    """A question, and when it was heard (seconds of a steady clock)."""

    question: Question
    heard_at: float


class Turns:
    """The questions that wait, one queue for each replica."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Waiting]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def ask(self, question: Question, now: float) -> None:
        """Queue a question. Those of the same replica that are a minute older go, and the oldest of too many."""
        queue = self._queues.get(question.replica, deque())
        if not queue and len(self._queues) >= REPLICAS_LIMIT:
            return
        kept = [waiting for waiting in queue if not _is_replaced(waiting.question, question)]
        kept.append(Waiting(question, now))
        self._queues[question.replica] = deque(kept, maxlen=QUESTIONS_PER_REPLICA)

    def forget(self, replica: str) -> None:
        """Drop what this replica asked. Idempotent."""
        self._queues.pop(replica, None)

    def next(self) -> Waiting | None:
        """The question whose turn it is. It stays until it is `done`; the next turn is another replica's."""
        if not self._queues:
            return None
        replica = next(iter(self._queues))
        self._queues.move_to_end(replica)
        return self._queues[replica][0]

    def done(self, waiting: Waiting) -> None:
        """Nothing more is to be said to this one. Idempotent."""
        queue = self._queues.get(waiting.question.replica, deque())
        if waiting in queue:
            queue.remove(waiting)
        if not queue:
            self._queues.pop(waiting.question.replica, None)


def _is_replaced(older: Question, newer: Question) -> bool:
    """A replica asks for a thing again only when it expects no answer to what it asked before. By the clock of the replica that
    asked, alone."""
    is_again = older.ask == newer.ask or not _things_in(older).isdisjoint(_things_in(newer))
    return is_again or newer.unix_ns - older.unix_ns > QUESTION_LIFE_SECONDS * 1e9


def _things_in(question: Question) -> frozenset[object]:
    match question.ask:
        case AskBuckets(buckets):
            return frozenset(buckets)
        case AskBodies(wanted):
            return frozenset(wanted)
    return frozenset()
