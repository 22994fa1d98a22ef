"""Does: the stream of batches and heartbeats: the sacred order, the window of what is unconfirmed, what a crash left.

Knows the journal and the publisher; not where changes come from. What is numbered here is durable before it is published.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from common.board import Board
from common.messages import Call
from common.transport.ports import Outgoing, Publisher, Route
from common.wire import codec
from producer.epochs import new_lineage
from producer.journal import Journal
from producer.numbering import Numbered, number
from producer.outbox import Unconfirmed
from producer.proofs import RecentDigests
from producer.resting import InService
from producer.stages import Stages
from producer.values import Change

log = logging.getLogger("treecast")

WINDOW_BATCHES = 64
WINDOW_BYTES = 64 * 1024 * 1024
HEARTBEAT_SECONDS = 5.0
HEARTBEAT_SECONDS_AT_LEAST = 0.5
"""Whoever asks for one: all replicas hear each."""
FORGET_SECONDS = 1.0


def begin_epoch(journal: Journal) -> None:
    """A new epoch for this run, journaled before anything is published under it."""
    stand = journal.stand
    lineage = new_lineage(stand.lineage.tree, stand.lineage.salt, journal.highest_epoch, time.time())
    journal.begin_epoch(lineage)
    log.info("epoch %d, sequence %d, %d paths known", lineage.epoch, stand.sequence, stand.entries)


def _nobody(_: float) -> InService:
    return InService()


class Stream:
    """See the module. Owned by one thread; `now`: seconds of a steady clock. Journaling may raise NoRoomError."""

    def __init__(self, journal: Journal, publisher: Publisher, board: Board, *, leader: str) -> None:
        self._journal = journal
        self._publisher = publisher
        self._board = board
        self._leader = leader
        self.stages = Stages(board)
        """When the last batches were where."""
        self.recent = RecentDigests()
        self._left: Iterator[Unconfirmed] | None = journal.outbox.unconfirmed()
        self._next_heartbeat = self._last_heartbeat = float("-inf")
        self._counter = 0
        self._called = b""
        self._forget_at: float | None = None

    @property
    def is_caught_up(self) -> bool:
        """Whether what an earlier run left unconfirmed was handed over again: before that nothing else may be."""
        return self._left is None

    def has_room(self) -> bool:
        """Whether another batch may be numbered."""
        batches, batch_bytes = self._publisher.in_flight()
        return batches < WINDOW_BATCHES and batch_bytes < WINDOW_BYTES

    def exchange(self, changes: Sequence[Change], now: float, seen: Sequence[float | None] = ()) -> Numbered | None:
        """The sacred order: journal, publish, confirm, forget. Confirms come later: those of earlier batches are taken in.

        `seen`: when each of the paths was hinted at first, None: now."""
        numbered = number(self._journal.stand, changes, time.time_ns()) if changes else None
        if numbered is not None:
            self._journal.commit(numbered)
            self.stages.journaled(numbered, [now if one is None else one for one in seen] or [now] * len(changes))
            self._publish(numbered)
            self.stages.published(numbered.first)
        confirmed = self._publisher.confirmed()
        self.stages.confirmed(confirmed)
        self._forget(confirmed, now)
        return numbered

    def _publish(self, numbered: Numbered) -> None:
        self.recent.note(numbered.after.position, numbered.after.digest)
        self._publisher.publish(Outgoing(Route.EVENTS, numbered.message, token=numbered.first))
        self._board.count("events_published_total", len(numbered.changes))
        self._board.count("bytes_published_total", len(numbered.message))
        self._board.heartbeat_seen()

    def _forget(self, confirmed: Sequence[int], now: float) -> None:
        """With the next batch's transaction, or in one of its own when none comes for a moment."""
        if confirmed:
            self._journal.outbox.confirmed(confirmed)
            self._forget_at = now + FORGET_SECONDS
        if self._forget_at is not None and now >= self._forget_at:
            self._journal.outbox.forget()
            self._forget_at = None

    def catch_up(self) -> None:
        """Publish what an earlier run journaled and saw no confirm for: byte for byte, in its own epoch, in order.

        As far as there is room.
        """
        while self._left is not None and self.has_room():
            unconfirmed = next(self._left, None)
            if unconfirmed is None:
                self._left = None
            else:
                self._publisher.publish(Outgoing(Route.EVENTS, unconfirmed.message, token=unconfirmed.first))
                self.stages.published_again(unconfirmed.first)

    def beat(self, now: float, decide: Callable[[float], InService] = _nobody) -> None:
        """A heartbeat when one is due; at once when the broker is reached. It states what went the same way before it.

        `decide`: who is in service, and who may rest."""
        if not self._publisher.link.is_open:
            self._next_heartbeat = float("-inf")
        elif now >= self._next_heartbeat:
            self._last_heartbeat, self._next_heartbeat = now, now + HEARTBEAT_SECONDS
            self._counter += 1
            stand, service = self._journal.stand, decide(now)
            self.recent.note(stand.position, stand.digest)
            heartbeat = stand.heartbeat(self._counter, time.time_ns(), self._leader)
            said = replace(heartbeat, ready=service.ready, members=service.members, resting=service.resting)
            self._publisher.publish(Outgoing(Route.EVENTS, codec.encode(said)))
            self._board.heartbeat_seen()

    def beat_now(self) -> None:
        """The next heartbeat is due: there is a new epoch."""
        self._next_heartbeat = float("-inf")

    def call(self) -> bool:
        """Have all replicas report at once: once for each epoch, as soon as the broker is reached. Whether that was said."""
        lineage = self._journal.stand.lineage
        if self._called != lineage.instance and self._publisher.link.is_open:
            self._called = lineage.instance
            self._publisher.publish(Outgoing(Route.EVENTS, codec.encode(Call(lineage, time.time_ns()))))
        return self._called == lineage.instance

    def try_with(self, replica: str) -> None:
        """Ask one replica to compare with what would be announced."""
        self._counter += 1
        trial = self._journal.stand.trial(self._counter, time.time_ns(), self._leader)
        self._publisher.publish(Outgoing(Route.DIRECT, codec.encode(trial), replica))

    def beat_soon(self) -> None:
        """The next heartbeat is due, unless one has just gone: somebody does not know where the stream stands."""
        self._next_heartbeat = min(self._next_heartbeat, self._last_heartbeat + HEARTBEAT_SECONDS_AT_LEAST)

    def wait_seconds(self, now: float) -> float:
        """How long nothing here needs to be done, confirms aside."""
        due = self._next_heartbeat if self._publisher.link.is_open else now + HEARTBEAT_SECONDS
        return max(0.0, min(due, self._forget_at if self._forget_at is not None else due) - now)
