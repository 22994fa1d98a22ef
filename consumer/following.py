"""The consumer's loop over messages: takes deliveries, asks the deciding rooms, has their steps carried out, settles.

A stream message is settled after its step is durable. An answer is settled when it comes: it can be asked for again.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.board import Board
from common.errors import NoRoomError
from common.messages import Batch, Downstream, Heartbeat, PartAnswer
from common.transport.ports import Delivery, Subscriber
from consumer import agreement, merging
from consumer.agreement import Decided, Decision, Drop, Wait
from consumer.apply import Applier
from consumer.asking import Asking
from consumer.complaints import Complaints
from consumer.first_copy import FirstCopy
from consumer.gathering import Gathering
from consumer.heeding import Heeding
from consumer.incoming import Came, Incoming
from consumer.large import Large
from consumer.merging import Answer
from consumer.parking import Parking
from consumer.progress import KINDS, Progress, paths_in
from consumer.questions import Identity
from consumer.retrying import Retrying
from consumer.room import Patience, Room
from consumer.stages import Stages
from consumer.state import State
from consumer.syncing import Owner, Syncing
from consumer.trying import Trying
from consumer.values import Reason
from consumer.withholding import Withholding

log = logging.getLogger("treecast")

RETRY_SECONDS = 30.0
RETRIES_AT_ONCE = 500
NO_ROOM_LIMIT_SECONDS = 300.0
"""So long a step without room is tried; then it is given up, and a sync removes before it adds."""
NO_ROOM_AGAIN_SECONDS = 5.0
"""And so long each further one until there is room: what removes must not wait behind each that adds."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a follower works with; all of it belongs to its thread."""

    state: State
    applier: Applier
    large: Large
    subscriber: Subscriber
    asking: Asking
    gathering: Gathering
    trying: Trying
    withholding: Withholding
    heeding: Heeding
    board: Board


class Follower:
    """One replica following its stream. Not thread-safe: everything happens in the thread that calls it."""

    def __init__(self, identity: Identity, parts: Parts, patience: Patience) -> None:
        self._identity = identity
        self._state = parts.state
        self._applier = parts.applier
        self._large = parts.large
        self._trying = parts.trying
        self._subscriber = parts.subscriber
        self._board = parts.board
        self._complaints = Complaints(parts.board, patience.clock)
        self._incoming = Incoming(parts.subscriber, identity.tree, self._complaints.refused)
        self._room = Room(parts.board, patience)
        self._stages = Stages(parts.board)
        self._clock = patience.clock
        self._withholding = parts.withholding
        self._heeding = parts.heeding
        owner = Owner(self._try_if, self._complaints.dropped, self._came, lambda: parts.withholding.judge)
        self.progress = Progress()
        self._syncing = Syncing(parts.state, parts.asking, parts.gathering, self._room, self._clock, owner)
        self._parking: Parking[Delivery] = Parking()
        self._retry_at = 0.0
        self._first_copy = FirstCopy(parts.state, parts.large, self._room, parts.board)
        self._retried_to = b""
        self._retrying = Retrying()
        self.master_unix_seconds = 0.0
        """The master's clock, at its last heartbeat."""

    @property
    def ask_from(self) -> float:
        """When the next question may be asked, in seconds of the clock."""
        return self._complaints.ask_from

    @property
    def is_merging(self) -> bool:
        """Whether a since answer is whole, and not merged to its end."""
        return self._syncing.is_merging

    @property
    def received_share(self) -> float:
        """How much of a since answer has come, 0 to 1."""
        return self._syncing.received_share

    @property
    def has_no_room_for_contents(self) -> bool:
        """Whether only rows are asked for, so that what goes makes room for what comes."""
        return self._syncing.has_no_room_for_contents

    def merge(self) -> None:
        """Merge what has come of questions and is due, as far as one step goes."""
        self._syncing.merge_due()

    @property
    def is_short_of_room(self) -> bool:
        """Whether it waits for room on the disk just now."""
        return self._room.is_short

    # -- one delivery
    def take(self, delivery: Delivery) -> None:
        """Handle one message, and those taken with it; whatever it is, it never stops the consumer.

        Raises Stopping and HaltError only.
        """
        came = self._incoming.decode(delivery)
        while came is not None:
            self._take(came)
            came = self._incoming.left()
        self._board.count("bytes_received_total", self._incoming.take_received_bytes())

    def _take(self, came: Came) -> None:
        message, delivery = came.first, came.delivery
        self._stages.begin()
        self._heeding.take(message, self._state.standing())
        if isinstance(message, Heartbeat):
            self.master_unix_seconds = message.unix_ns / 1e9
        if isinstance(message, Batch) and agreement.is_next(self._state.standing(), message):
            self._syncing.merge()
            self._on_batches(self._incoming.together(message, delivery))
        elif isinstance(message, Batch | Heartbeat):
            self._syncing.merge()
            self._on_stream(message, delivery, patient=True)
        else:
            self._subscriber.settle(delivery)
            for one, size_bytes in came.messages:
                self._take_answer(one, size_bytes)

    def _take_answer(self, message: Downstream, size_bytes: int) -> None:
        if self._trying.take(message, self._clock()):
            return
        if isinstance(message, PartAnswer):
            self._on_part(message)
        elif isinstance(message, Answer) and message.replica == self._identity.replica:
            self._syncing.take(message, size_bytes)

    def _on_batches(self, together: Sequence[tuple[Batch, Delivery]]) -> None:
        """The next batch and what continues it: one set, one step, then each is settled."""
        batches = [batch for batch, _ in together]
        decision = agreement.apply(self._state.standing(), self._state, batches, self._withholding.judge)
        self._board.heartbeat_seen()
        if isinstance(decision, Decided):
            if self._try(decision):
                self._stages.applied(batches, self._applier.visible_at)
            else:
                self._skip(batches[-1])
        for _, delivery in together:
            self._subscriber.settle(delivery)
        self._after_stream()

    def _skip(self, message: Batch | Heartbeat) -> None:
        skipped = agreement.skip(self._state.standing(), agreement.as_run(message))
        self.carry_out(Decided(skipped), limit_seconds=math.inf)

    # -- the stream
    def _on_stream(self, message: Batch | Heartbeat, delivery: Delivery, *, patient: bool) -> None:
        if self._decide_stream(message, delivery, patient):
            self._subscriber.settle(delivery)
            self._after_stream()

    def _decide_stream(self, message: Batch | Heartbeat, delivery: Delivery, patient: bool) -> bool:
        """Until there is nothing more to do for this message. False: it is parked, and not settled."""
        while True:
            standing = self._state.standing()
            judge = self._withholding.judge
            decision = agreement.on_stream(standing, self._state, message, patient=patient, judge=judge)
            if isinstance(decision, Wait):
                self._parking.park(message, delivery, self._clock())
                return False
            if isinstance(decision, Drop):
                self._complaints.dropped(decision)
                self._after_drop(decision)
                return True
            self._board.heartbeat_seen()
            if not self._try(decision):
                self._skip(message)
                return True
            if isinstance(message, Batch) and decision.step.want:
                self._stages.applied([message], self._applier.visible_at)
            if not decision.again:
                return True

    def _after_drop(self, drop: Drop) -> None:
        if drop.reason in {"heard", "duplicate", "fork"}:
            self._board.heartbeat_seen()
        if drop.reason == "fork":
            # It lasts over a restart, and so does its alarm.
            self._complaints.forked(self._state.standing().position, is_new=False)
        if drop.reason == "heard" and self._is_whole():
            self._on_whole()

    def _after_stream(self) -> None:
        """What waited for this position: messages behind the hole that is filled, answers that were ahead."""
        standing = self._state.standing()
        parked = self._parking.reached(standing.epoch, standing.sequence)
        if parked is not None:
            self._on_stream(parked.message, parked.held, patient=True)
            return
        self._syncing.reached(standing.sequence)

    def _on_part(self, answer: PartAnswer) -> None:
        """One part of a large content: no place in the stream, and nothing is believed before the whole is proved."""
        standing = self._state.standing()
        is_ours = answer.lineage.epoch == standing.epoch and not agreement.is_of_another_lineage(
            standing, answer.lineage
        )
        if answer.replica == self._identity.replica and is_ours:
            self._large.take_part(answer, self._clock())

    # -- steps
    def place(self, decided: Decided) -> None:
        """Place a large content that came whole."""
        self._try(decided)

    def _try_if(self, decision: Decision) -> None:
        """Carry out what was decided; what was dropped is not worth a word here."""
        if isinstance(decision, Decided):
            self._try(decision)

    def _try(self, decided: Decided) -> bool:
        """Carry out a step that can be given up: False when there was no room for it, for five minutes.

        One that touches no disk is not given up: there is nothing in it that a sync could do with less room.
        """
        limit = NO_ROOM_AGAIN_SECONDS if self.has_no_room_for_contents else NO_ROOM_LIMIT_SECONDS
        try:
            self.carry_out(decided, math.inf if decided.plan.is_empty else limit)
        except NoRoomError:
            self._syncing.has_no_room_for_contents = True
            self._room.patiently(self._applier.give_up, math.inf)
            self._syncing.close()
            return False
        return True

    def put_right(self, decided: Decided) -> bool:
        """What a scrub found, as one step between two others. False when there was no room for it."""
        return self._try(decided)

    def carry_out(self, decided: Decided, limit_seconds: float) -> None:
        """Make one step durable, waiting for room. Raises NoRoomError when there was none for as long as the limit."""
        self._room.patiently(lambda: self._applier.carry_out(decided), limit_seconds)
        self._after_step(decided)

    def patiently(self, act: Callable[[], object]) -> None:
        """Act, however long that waits for room. Raises Stopping."""
        self._room.patiently(act, math.inf)

    def _after_step(self, decided: Decided) -> None:
        step = decided.step
        self._withholding.after_step(decided.plan)
        self.patiently(self._withholding.heed_release)
        tried = self._retrying.among(step.want.keys())
        if tried:
            self._retrying.solved(set(tried).difference(self._state.unmet(tried)))
        if step.closes_questions:
            self._syncing.close()
        standing = self._state.standing()
        if step.alarm == "diverged":
            self._complaints.diverged(standing.position)
        elif step.alarm:
            self._complaints.forked(standing.position, is_new=True)
        if not standing.is_forked:
            self._board.clear("fork")
        if not standing.stale and not self._state.count_unmet().get(Reason.BODY):
            # What had to go is gone, and what had to come is here; what has a problem is none of room's.
            self._syncing.has_no_room_for_contents = False
        if self._is_whole():
            self._on_whole()

    def _is_whole(self) -> bool:
        """Agreed but for what a path's own problem or a hold keeps off the disk: that has a word of its own."""
        return agreement.is_agreed(self._state.standing(), self._state.count_unmet().get(Reason.BODY, 0))

    def _on_whole(self) -> None:
        self._syncing.has_no_room_for_contents = False
        self._complaints.is_whole()

    def is_agreed(self) -> bool:
        """Nothing stale, nothing unmet, proved at exactly this position."""
        return agreement.is_agreed(self._state.standing(), sum(self._state.count_unmet().values()))

    def _came(self, answer: Answer, size_bytes: int) -> None:
        self.progress.came(answer, size_bytes)
        self._board.count("sync_bytes_total", size_bytes, label=KINDS[type(answer)])
        self._board.count("sync_paths_total", paths_in(answer), label=KINDS[type(answer)])

    # -- time
    def tick(self, now: float) -> None:
        """What time brings: patience that ends, problems to try again, a first copy that is complete."""
        parked = self._parking.expired(now)
        if parked is not None:
            self._board.count("gaps_total")
            self._on_stream(parked.message, parked.held, patient=False)
        if now >= self._retry_at:
            self._retry_at = now + RETRY_SECONDS
            self._retry_problems(now)
        self.patiently(self._withholding.turn)
        released = self._withholding.next_released()
        if released:
            self._try_if(merging.retry(self._state.standing(), self._state, released))
        self._first_copy.turn(now)

    def due_at(self) -> float | None:
        """When `tick` or `merge` has something to do at the latest."""
        if self._withholding.is_draining:
            return -math.inf
        return min((due for due in (self._syncing.due_at(), self._parking.due_at()) if due is not None), default=None)

    def retry_at_once(self) -> None:
        """What has a problem is tried again now: a person may have seen to it."""
        self._retrying.at_once()
        self._retry_at, self._retried_to = -math.inf, b""

    def _retry_problems(self, now: float) -> None:
        paths = self._state.unmet_paths(RETRIES_AT_ONCE, Reason.PROBLEM, after=self._retried_to)
        self._retried_to = max(paths) if len(paths) == RETRIES_AT_ONCE else b""
        due = self._retrying.due([path for path in paths if not self._is_protected(path)], now)
        if due:
            self._try_if(merging.retry(self._state.standing(), self._state, due))

    def _is_protected(self, path: bytes) -> bool:
        """Whether it is protected here: then nothing would come of it, and its content would be fetched for nothing."""
        protects = self._applier.target.protects
        if protects is None:
            return False
        row = self._state.rows([path]).get(path)
        return protects(path, row is not None and row.entry.is_directory)
