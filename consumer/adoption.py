"""Counts what an adoption would keep, fetch and set aside: the question that a refused target raises. Changes nothing on it.

The target is scanned into a state of its own that is thrown away; the producer is asked for its digests, and for the rows of the
buckets that differ. What changes on the master meanwhile makes the counts a little wrong, and nothing else.
"""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from common.board import Board
from common.entries import Entry, Event
from common.errors import RefusedError
from common.messages import (
    NONCE_BYTES,
    Batch,
    BucketRows,
    Downstream,
    Heartbeat,
    Lineage,
    Question,
    ReplicaState,
    Report,
    Same,
)
from common.names import PATTERNS_PATH
from common.patterns import Patterns, patterns_of
from common.settings import ConsumeSettings
from common.transport.ports import Broker, Delivery, Outgoing, Phase, Publisher, Route, Subscriber
from common.version import program_version
from common.wire.codec import decode_delivery, encode
from common.wire.versions import FORMAT
from consumer import agreement
from consumer.asking import Asking, Wants
from consumer.state import State
from consumer.values import Found, Outcome, Plan

SURVEY_NAME = "survey"
SILENCE_LIMIT_SECONDS = 15.0
"""So long no answer may come; then there are no counts."""
REPORT_SECONDS = 1.0
CLOSE_SECONDS = 1.0


@dataclass(slots=True)
class Counts:
    """Paths that adoption would keep, fetch from the master, and set aside (where another content gives way, both)."""

    keep: int = 0
    fetch: int = 0
    aside: int = 0

    def add_bucket(self, ours: Mapping[bytes, Entry], theirs: Iterable[Event], patterns: Patterns) -> None:
        """Count one bucket, ours on the disk, theirs on the master. What the tree excludes stays where it is."""
        left = dict(ours)
        for event in theirs:
            if event.path == PATTERNS_PATH:
                continue
            mine = left.pop(event.path, None)
            if event.entry is None:
                continue
            if event.entry.same_content(mine):
                self.keep += 1
            else:
                self.fetch += 1
                self.aside += mine is not None
        excluded = sum(patterns.excludes(path, entry.is_directory) for path, entry in left.items())
        self.keep += excluded
        self.aside += len(left) - excluded

    def __str__(self) -> str:
        return f"adopting it would keep {self.keep:,} paths, fetch {self.fetch:,} and set {self.aside:,} aside"


Scan = Callable[[], Iterator[Found]]


def count_adoption(
    settings: ConsumeSettings, scan: Scan, broker: Broker, stop: threading.Event, board: Board
) -> Counts | None:
    """The counts, or None where no producer answers. Takes as long as reading every file of the target does."""
    place = settings.state / SURVEY_NAME
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    with ExitStack() as parts:
        parts.callback(shutil.rmtree, place, ignore_errors=True)
        state = parts.enter_context(State.open(place / "state.db", settings.tree, settings.replica))
        state.adopt(scan(), first_copy_complete=False)
        publisher = broker.publisher(wake=_ignore, declare=False)
        parts.callback(publisher.close, CLOSE_SECONDS)
        subscriber = broker.replica_subscriber(settings.replica, wake=_ignore)
        parts.callback(subscriber.close, CLOSE_SECONDS)
        return _Survey(settings, state, publisher, subscriber).run(stop, board)


def _ignore() -> None:
    """Nobody waits to be woken."""


class _Survey:
    """One count in progress."""

    def __init__(self, settings: ConsumeSettings, state: State, publisher: Publisher, subscriber: Subscriber) -> None:
        self._settings = settings
        self._state = state
        self._publisher = publisher
        self._subscriber = subscriber
        self._asking = Asking(lambda: secrets.token_bytes(NONCE_BYTES))
        self._left = dict(state.standing().stale)
        self._counts = Counts()
        self._patterns = Patterns()
        self._reported_at = 0.0

    def run(self, stop: threading.Event, board: Board) -> Counts | None:
        news_at, left = time.monotonic(), -1
        while self._left:
            board.tick("consumer")
            if len(self._left) != left:
                news_at, left = time.monotonic(), len(self._left)
            if stop.is_set() or time.monotonic() - news_at > SILENCE_LIMIT_SECONDS:
                return None
            self._speak()
            delivery = self._subscriber.receive(0.2)
            if delivery is not None:
                self._take(delivery)
        return self._counts

    def _speak(self) -> None:
        standing, settings, now = self._state.standing(), self._settings, time.monotonic()
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            word = ReplicaState.NO_QUEUE if self._subscriber.link.phase is Phase.MISSING else ReplicaState.STARTING
            report = Report(
                settings.tree,
                settings.replica,
                standing.instance or bytes(16),
                standing.position,
                False,
                word,
                len(self._left),
                program_version(),
                FORMAT,
                time.time_ns(),
            )
            self._publisher.publish(Outgoing(Route.UPSTREAM, encode(report)))
        if standing.epoch:
            wants = Wants(
                self._left, self._state.bucket_digest, lambda limit, after: {}, with_contents=False, first=self._first()
            )
            for nonce, ask in self._asking.next(wants, now):
                question = Question(settings.tree, standing.epoch, settings.replica, nonce, ask, time.time_ns())
                self._publisher.publish(Outgoing(Route.UPSTREAM, encode(question)))

    def _first(self) -> int | None:
        """Where the patterns are, until that was counted: without them nothing is known of what would go."""
        bucket = self._state.bucket_of(PATTERNS_PATH)
        return bucket if bucket in self._left else None

    def _take(self, delivery: Delivery) -> None:
        with suppress(RefusedError):
            for message, _ in decode_delivery(delivery.body, self._settings.tree):
                self._take_one(message)
        self._subscriber.settle(delivery)

    def _take_one(self, message: Downstream) -> None:
        if isinstance(message, Batch | Heartbeat):
            self._hear(message.lineage, message)
        elif isinstance(message, Same | BucketRows) and self._asking.expects(message):
            self._asking.answered(message, time.monotonic())
            self._count(message)

    def _hear(self, lineage: Lineage, message: Batch | Heartbeat) -> None:
        """A newer epoch: from here on its salt decides which bucket a path is in, and counting begins anew."""
        standing = self._state.standing()
        if lineage.epoch <= standing.epoch:
            return
        step = agreement.follow(standing, self._state, agreement.as_run(message))
        self._state.commit(step, Plan(), Outcome())
        self._left = dict(self._state.standing().stale)
        self._counts = Counts()
        self._asking.close_all()

    def _count(self, answer: Same | BucketRows) -> None:
        if isinstance(answer, Same):
            for bucket in answer.buckets:
                if self._left.pop(bucket, None) is not None:
                    self._counts.keep += len(self._state.in_buckets([bucket]))
        elif self._left.pop(answer.bucket, None) is not None:
            told = next((event.body for event in answer.rows if event.path == PATTERNS_PATH), None)
            self._patterns = patterns_of(told) if told else self._patterns
            rows = self._state.rows_of_bucket(answer.bucket)
            self._counts.add_bucket({path: row.entry for path, row in rows.items()}, answer.rows, self._patterns)
