"""Does: hears what replicas say on the upstream queue, hands their questions on and publishes what is answered. Knows the ports;
not how answers are made, not the source, not the loop.

What comes is untrusted: it is decoded strictly, counted when refused, and settled at once: a replica asks again.
"""

import logging
import shlex
from collections.abc import Callable

from common.board import Board
from common.errors import AlreadyRunningError, RefusedError
from common.messages import Question, Report
from common.transport.ports import Outgoing, Publisher, Route, Subscriber
from common.wire import codec
from producer.answerer import Alarming, Answerer, Doubted, Made, may_publish
from producer.commanding import Commanding
from producer.fleet import Fleet, Reply, tells_of_fork
from producer.journal import Journal
from producer.membership import READY_FLOOR, Membership
from producer.pacing import TokenBucket, Window
from producer.stream import Stream

log = logging.getLogger("treecast")

HEARD_PER_ROUND = 200
FORK_ALARM = "fork"

Doubt = Callable[[bytes], None]
"""Told each path whose content in the source is not the one that the index names."""


class Upstream:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(  # noqa: PLR0913 - what it stands between
        self,
        journal: Journal,
        stream: Stream,
        answerer: Answerer,
        board: Board,
        *,
        publisher: Publisher,
        subscriber: Subscriber,
        doubt: Doubt,
        bandwidth_bytes: int | None = None,
        ready_floor: float = READY_FLOOR,
    ) -> None:
        """`bandwidth_bytes`: what answers may take of the way to the broker in a second; None: all that batches leave."""
        self._journal = journal
        self._stream = stream
        self._answerer = answerer
        self._board = board
        self._publisher = publisher
        self._subscriber = subscriber
        self._doubt = doubt
        self._tokens = TokenBucket(bandwidth_bytes)
        self._window = Window()
        self.fleet = Fleet()
        self.members = Membership(
            journal, self.fleet, board, publisher=publisher, subscriber=subscriber, ready_floor=ready_floor
        )
        self.commanding = Commanding(journal, stream.recent, publisher)
        self._has_fork = False
        self.is_outdone = False
        """Whether a replica follows an epoch that ours is not above: before it is announced, a higher one is drawn."""

    def hear(self, now: float, *, may_vouch: bool) -> None:
        """Take in what has come. `may_vouch`: whoever is there has had time to speak, so that what they hold may release all
        deletes up to here. Raises AlreadyRunningError at the proof that somebody published under a higher epoch than the
        one that we announced."""
        for _ in range(HEARD_PER_ROUND):
            delivery = self._subscriber.receive(0)
            if delivery is None:
                break
            self._hear_one(delivery.body, now, may_vouch)
            self._subscriber.settle(delivery)
        for replica in self._publisher.returned():
            self.fleet.lost_queue(replica)
            self._answerer.forget(replica, now)
        for replica in self.fleet.take_queueless():
            self._publisher.make_queue(replica)
            self._stream.beat_soon()

    def _hear_one(self, body: bytes, now: float, may_vouch: bool) -> None:
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
            self._answerer.ask(body, now)
        elif not isinstance(message, Question):
            if self.members.hear(message, now):
                self._stream.beat_soon()
            self.commanding.hear(message, now)
            self._take_report(message, reply, may_vouch)

    def _take_report(self, report: Report, reply: Reply, may_vouch: bool) -> None:
        stand = self._journal.stand
        self._look_for_forks(report)
        if reply is Reply.STEP_DOWN:
            self._step_down(report.replica, report.position.epoch)
        elif may_vouch and not stand.released and self.fleet.vouches(stand.lineage, stand.sequence):
            self._journal.release()
            self._stream.beat_soon()

    def _look_for_forks(self, report: Report) -> None:
        """Keep the alarm: with the first report that tells of a fork, until none does."""
        lineage, sequence = self._journal.stand.lineage, self._journal.stand.sequence
        if not self._has_fork and not tells_of_fork(report, lineage, sequence):
            return
        forked = self.fleet.forked(lineage, sequence)
        self._has_fork = bool(forked)
        if not forked:
            self._board.clear(FORK_ALARM)
            return
        self._board.alarm(
            FORK_ALARM,
            f"two histories were published under epoch {lineage.epoch}, as replica {forked[0]} shows: two producers, or a copied"
            " journal. See that one producer is left, then: treecast epoch start"
            f" --state {shlex.quote(str(self._journal.path.parent))}",
        )

    def _step_down(self, replica: str, epoch: int) -> None:
        self._journal.note_epoch(epoch)
        if not self._journal.is_announced:
            self.is_outdone = True
            return
        raise AlreadyRunningError(
            f"replica {replica} follows epoch {epoch} of another producer, and not ours ({self._journal.stand.lineage.epoch}):"
            " that one has taken over. To go on here, stop it first, then: treecast produce"
        )

    def answer(self, now: float) -> None:
        """Publish what was answered, as far as the broker and the set rate take it. Call it between batches only, when every
        batch that is in the journal was handed over: so an answer is behind the batch that it speaks of."""
        for said in self._answerer.take(self._room_bytes(now), now):
            if isinstance(said, Made):
                self._publish(said)
            elif isinstance(said, Doubted):
                self._doubt(said.path)
            elif isinstance(said, Alarming):
                self._board.alarm(said.kind, said.text)
            else:
                log.warning("%s", said.text)

    def _room_bytes(self, now: float) -> float:
        waiting_bytes, taken = self._publisher.waiting_bytes(), self._publisher.taken()
        return min(self._window.room_bytes(waiting_bytes, taken, now), self._tokens.room_bytes(now))

    def _publish(self, made: Made) -> None:
        stand = self._journal.stand
        if not may_publish(made, stand.lineage, stand.sequence) or self.fleet.is_old(made.replica, made.asked_ns):
            return
        self._publisher.publish(Outgoing(Route.DIRECT, made.message, made.replica))
        self._tokens.spent(len(made.message))
        self._window.sent(len(made.message))
        self._board.count("answers_total", made.answers, label=made.kind)
        self._board.count("answer_bytes_total", len(made.message), label=made.kind)
        self._board.count("answer_wait_seconds_total", made.waited_seconds, label=made.kind)

    def wait_seconds(self) -> float | None:
        """In how many seconds to call `answer` although nothing wakes the loop; None: a wake comes."""
        return self._answerer.wait_seconds()
