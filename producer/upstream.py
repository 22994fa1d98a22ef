"""Does: hears what replicas say on the upstream queue, and answers. Knows the ports and `answers`; not the source, not the loop.

What comes is untrusted: it is decoded strictly, counted when refused, and settled at once: a replica asks again.
"""

import logging
from time import perf_counter

from common.board import Board
from common.errors import AlreadyRunningError, RefusedError
from common.messages import Question
from common.transport.ports import Outgoing, Publisher, Route, Subscriber
from common.wire import codec
from producer.answers import Answers
from producer.fleet import Fleet, Reply
from producer.journal import Journal
from producer.stream import Stream

log = logging.getLogger("treecast")

HEARD_PER_ROUND = 200
ANSWERS_WAITING_BYTES = 4 * 1024 * 1024
"""Answers pause while so much is not written to the broker yet: batches go first."""
ANSWERING_SECONDS = 0.01


class Upstream:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(
        self,
        journal: Journal,
        stream: Stream,
        answers: Answers,
        board: Board,
        *,
        publisher: Publisher,
        subscriber: Subscriber,
    ) -> None:
        self._journal = journal
        self._stream = stream
        self._answers = answers
        self._board = board
        self._publisher = publisher
        self._subscriber = subscriber
        self.fleet = Fleet()

    def hear(self, now: float) -> None:
        """Take in what has come. Raises AlreadyRunningError at the proof that somebody published under a higher epoch."""
        for _ in range(HEARD_PER_ROUND):
            delivery = self._subscriber.receive(0)
            if delivery is None:
                break
            self._hear_one(delivery.body, now)
            self._subscriber.settle(delivery)
        for replica in self._publisher.returned():
            self.fleet.lost_queue(replica)
            self._answers.forget(replica)
        for replica in self.fleet.take_queueless():
            self._publisher.make_queue(replica)
            self._stream.beat_soon()

    def _hear_one(self, body: bytes, now: float) -> None:
        stand = self._journal.stand
        try:
            message = codec.decode_upstream(body, stand.lineage.tree)
        except RefusedError as error:
            self._board.count("refused_total", label=error.reason)
            return
        reply = self.fleet.hear(message, stand.lineage, now)
        if reply is Reply.HEARTBEAT:
            self._stream.beat_soon()
        elif reply is Reply.ANSWER and isinstance(message, Question):
            self._answers.ask(message)
        elif reply is Reply.STEP_DOWN and not isinstance(message, Question):
            self._step_down(message.replica, message.position.epoch)
        elif not stand.released and not isinstance(message, Question) and self.fleet.vouches(stand.lineage):
            self._journal.release()
            self._stream.beat_soon()

    def _step_down(self, replica: str, epoch: int) -> None:
        self._journal.note_epoch(epoch)
        raise AlreadyRunningError(
            f"replica {replica} follows epoch {epoch} of another producer, and not ours ({self._journal.stand.lineage.epoch}):"
            " see that the other one is stopped, then start this one again: treecast produce"
        )

    def answer(self) -> None:
        """Answer for a moment, one bucket at a time, while the broker takes it. Call it between batches only."""
        began = perf_counter()
        while len(self._answers) and not self.is_paced:
            answer = self._answers.next(self.fleet.is_old)
            if answer is None:
                return
            try:
                message = codec.encode(answer)
            except RefusedError as error:
                log.warning("an answer to %s is more than a message holds: %s", answer.replica, error)
                continue
            self._publisher.publish(Outgoing(Route.DIRECT, message, answer.replica))
            if perf_counter() - began >= ANSWERING_SECONDS:
                return

    @property
    def is_paced(self) -> bool:
        """Whether the broker has enough to write: answers pause, batches do not."""
        return self._publisher.waiting_bytes() >= ANSWERS_WAITING_BYTES

    @property
    def has_questions(self) -> bool:
        """Whether questions wait to be answered."""
        return len(self._answers) > 0
