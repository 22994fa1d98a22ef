"""A consumer's loop under a test's hand: real state, real target, real bytes; the broker, the clock and the master are twins.

`Master` holds a tree, publishes batches of it and answers questions, by none of the producer's code. `Running` turns the loop,
and lets time pass only as it is told.
"""

import os
import sys
import threading
import time as real_time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from common.board import Board
from common.digests import BUCKETS, EMPTY_BUCKET, BucketDigests, bucket_of, content_digest, rows_digest
from common.entries import Entry, Event, directory_entry, file_entry, symlink_entry
from common.messages import (
    INLINE_LIMIT_BYTES,
    PART_BYTES,
    Answer,
    AskBodies,
    AskBuckets,
    AskDigests,
    AskParts,
    AskSince,
    Batch,
    BodyAnswer,
    BucketRows,
    Heartbeat,
    Lineage,
    PartAnswer,
    Question,
    Report,
    Same,
    Since,
    TooOld,
)
from common.names import PATTERNS_PATH
from common.orders import Orders
from common.patterns import Patterns, row_of
from common.settings import ConsumeSettings
from common.transport.ports import Delivery
from common.wire.codec import decode_upstream, encode, encode_batch
from consumer import questions, service
from consumer.apply import Applier
from consumer.opening import open_replica
from consumer.service import Replica
from consumer.state import State
from consumer.target import Target
from tests.disk import as_read, read_tree
from tests.twins import MemoryBroker, MemorySubscriber

TREE, REPLICA = "tree", "one"
SALT = bytes(range(32))
MTIME_NS = 1_700_000_000_000_000_000
ROUND_SECONDS = 0.01
Content = bytes | int | str | None
"""What a test says of a path: bytes a file, a number a directory's mode, a text a symlink's target, None: absent."""


def event_of(path: bytes, content: Content) -> Event:
    """Such a path as an event with its body."""
    if content is None:
        return Event(path, None)
    if isinstance(content, int):
        return Event(path, directory_entry(content))
    if isinstance(content, str):
        target = os.fsencode(content)
        return Event(path, symlink_entry(len(target), content_digest(target)), target)
    return Event(path, file_entry(0o644, MTIME_NS, len(content), content_digest(content)), content)


class Master:
    """A tree, the stream of its batches, and true answers. Every message is given as bytes."""

    def __init__(self, epoch: int = 5) -> None:
        self.events: dict[bytes, Event] = {}
        self._in_bucket: defaultdict[int, set[bytes]] = defaultdict(set)
        self.digests = BucketDigests(SALT)
        self.sequence = 0
        self.sent: list[bytes] = []
        """Every batch, as bytes."""
        self.counter = 0
        self.part_rows = 4096
        """How many rows a part of a since answer has."""
        self.is_vouched = True
        """Whether all that it deletes is released."""
        self.start_epoch(epoch)

    def start_epoch(self, epoch: int) -> None:
        """Another run of the producer."""
        self.lineage = Lineage(TREE, epoch, epoch.to_bytes(16, "big"), SALT)
        self.log: list[tuple[int, bytes]] = []
        self.reach = self.sequence
        self.head = content_digest(b"start of %d" % epoch)

    def rekey(self, epoch: int, patch: pytest.MonkeyPatch) -> None:
        """Another run of the producer, whose journal was lost: its buckets have other numbers."""
        patch.setattr(sys.modules[__name__], "SALT", SALT[::-1])
        self.digests, self._in_bucket = BucketDigests(SALT), defaultdict(set)
        for path, event in self.events.items():
            self.digests.replace(path, None, event.entry)
            self._in_bucket[bucket_of(SALT, path)].add(path)
        self.start_epoch(epoch)

    @property
    def released(self) -> int:
        """Up to where deletes are released."""
        return self.sequence if self.is_vouched else 0

    def batch(self, tree: dict[bytes, Content], *, bodies: bool = True) -> bytes:
        """These paths become so: the next batch."""
        return self.publish(tuple(event_of(path, content) for path, content in tree.items()), bodies=bodies)

    def exclude(self, *lines: str) -> bytes:
        """The tree has these patterns from now on; what they exclude of it leaves with the same batch."""
        row, patterns = row_of(lines), Patterns(lines)
        left = [
            path
            for path, event in self.events.items()
            if path != PATTERNS_PATH and patterns.excludes(path, entry_in(event).is_directory)
        ]
        change = Event(PATTERNS_PATH, *row) if row is not None else Event(PATTERNS_PATH, None)
        return self.publish((change, *(Event(path, None, keep=True) for path in left)))

    def publish(self, events: tuple[Event, ...], *, bodies: bool = True) -> bytes:
        """These events: the next batch."""
        before = self.digests.tree_digest()
        self.log += [(number, event.path) for number, event in enumerate(events, self.sequence + 1)]
        for event in events:
            old = self.events.pop(event.path, None)
            self.digests.replace(event.path, old.entry if old else None, event.entry)
            self._in_bucket[bucket_of(SALT, event.path)].discard(event.path)
            if event.entry is not None:
                is_same = old is not None and event.entry.same_content(old.entry)
                body = old.body if event.body is None and old is not None and is_same else event.body
                self.events[event.path] = event._replace(body=body)
                self._in_bucket[bucket_of(SALT, event.path)].add(event.path)
        sent = tuple(_inline(event) if bodies else event._replace(body=None) for event in events)
        batch = Batch(self.lineage, self.sequence + 1, sent, self.head, before, self.digests.tree_digest())
        self.sequence = batch.last
        batch = replace(batch, released=self.released)
        data, self.head = encode_batch(batch)
        self.sent.append(data)
        return data

    def heartbeat(self, unix_ns: int = 0) -> bytes:
        """Where the stream stands, and what the master's clock says."""
        self.counter += 1
        return encode(
            Heartbeat(
                self.lineage,
                self.sequence,
                self.head,
                self.digests.tree_digest(),
                self.counter,
                unix_ns,
                "here:1",
                self.released,
            )
        )

    def forget_log(self) -> None:
        """What changed until now is not in the log any more."""
        self.log, self.reach = [], self.sequence

    def answers(self, question: Question) -> list[Answer]:
        """What is true, as messages that are not encoded yet."""
        about = (self.lineage, question.replica, question.nonce, self.sequence)
        match question.ask:
            case AskDigests(named):
                theirs = dict(named)
                same = tuple(b for b in range(BUCKETS) if theirs.get(b, EMPTY_BUCKET) == self.digests.of(b))
                return [Same(*about, same, self.released)]
            case AskBuckets(buckets, bodies):
                return [
                    BucketRows(*about, b, self.digests.of(b), self._rows(b, bodies), self.released) for b in buckets
                ]
            case AskBodies(wanted):
                return [BodyAnswer(*about, path, digest, self._body(path)) for path, digest in wanted]
            case AskParts(path, digest, offset, count):
                whole = self._body(path) if path in self.events else b""
                end = min(len(whole), offset + count * PART_BYTES)
                offsets = range(offset, end, PART_BYTES) if content_digest(whole) == digest else ()
                return [PartAnswer(*about, digest, at, whole[at : at + PART_BYTES]) for at in offsets]
            case AskSince(base):
                return [TooOld(*about, self.reach)] if base < self.reach else self._since(about, base)

    def _since(self, about: tuple[Lineage, str, bytes, int], base: int) -> list[Answer]:
        changed = sorted({path for sequence, path in self.log if sequence > base})
        rows = [_inline(self.events.get(path, Event(path, None))) for path in changed]
        parts = [tuple(rows[i : i + self.part_rows]) for i in range(0, len(rows), self.part_rows)] or [()]
        digest = rows_digest(SALT, ((row.path, row.entry) for row in rows))
        return [
            Since(*about, base, number, len(parts), digest, part, self.released) for number, part in enumerate(parts)
        ]

    def _rows(self, bucket: int, bodies: bool) -> tuple[Event, ...]:
        inside = (self.events[path] for path in sorted(self._in_bucket[bucket]))
        return tuple(_inline(event) if bodies else event._replace(body=None) for event in inside)

    def _body(self, path: bytes) -> bytes:
        body = self.events[path].body
        assert body is not None
        return body

    def as_read(self) -> dict[bytes, tuple[object, ...]]:
        """What a directory that equals the tree shows: the patterns are on no disk."""
        shown = {path: event for path, event in self.events.items() if path != PATTERNS_PATH}
        return {path: as_read(entry_in(event), event.body or b"") for path, event in shown.items()}


def _inline(event: Event) -> Event:
    """As it travels: a large content does not."""
    is_large = event.entry is not None and event.entry.size > INLINE_LIMIT_BYTES
    return event._replace(body=None) if is_large else event


def entry_in(event: Event) -> Entry:
    """The entry of a path that is there."""
    assert event.entry is not None
    return event.entry


class Clock:
    """Stands in for `time`, and goes only when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    def time_ns(self) -> int:
        return int(self.time() * 1e9)


class Stop(threading.Event):
    """Waiting lets the clock go; `on_wait` is called for each wait."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.on_wait: Callable[[float], None] = lambda seconds: None

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.now += timeout
        self.on_wait(timeout)
        return self.is_set()


class Subscription(MemorySubscriber):
    """The twin, which remembers what was settled and whether it was given up; `pauses`: how long the loop was ready to wait."""

    def __init__(self, broker: MemoryBroker, queue: str) -> None:
        super().__init__(broker, queue)
        self.settled: list[bytes] = []
        self.pauses: list[float] = []
        self.is_closed = False

    def receive(self, timeout_seconds: float) -> Delivery | None:
        self.pauses.append(timeout_seconds)
        return super().receive(timeout_seconds)

    def settle(self, delivery: Delivery) -> None:
        self.settled.append(delivery.body)

    def close(self, timeout_seconds: float) -> None:
        self.is_closed = True


@dataclass
class Running:
    """One replica's loop. A context; `restart` is a new process on the same disk and the same queue."""

    place: Path
    patch: pytest.MonkeyPatch
    master: Master = field(default_factory=Master)
    answer: Callable[[Question], Iterable[bytes]] | None = None
    """What answers questions; the master does unless told."""
    target_place: Path | None = None
    """Where the target lies, if not beside the state."""

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.patch.setattr(service, "time", self.clock)
        self.patch.setattr(questions, "time", self.clock)
        self.broker = MemoryBroker()
        self.broker.publisher().make_queue(REPLICA)
        self.root = self.target_place or self.place / "target"
        self.root.mkdir(exist_ok=True)
        self.settings = ConsumeSettings(
            tree=TREE,
            broker="sqlite:////unused/queue.db",
            target=self.root,
            state=self.place / "state",
            replica=REPLICA,
        )
        self.settings.state.mkdir(exist_ok=True)
        self.reports: list[tuple[float, Report]] = []
        self.questions: list[Question] = []
        self._parts = ExitStack()

    def __enter__(self) -> "Running":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """The process ends."""
        self._parts.close()

    def start(self, **settings: Any) -> None:
        """The process starts."""
        self.settings = self.settings.model_copy(update=settings)
        self.board = Board("consumer", TREE, REPLICA)
        self.stop = Stop(self.clock)
        self.state: State
        self.target: Target
        self.state, self.target = open_replica(self.settings, self.stop, self.board, self._parts, lambda: self.broker)
        self.subscriber = Subscription(self.broker, REPLICA)
        publisher = self.broker.publisher()
        self.broker.publishers = [publisher]
        applier = Applier(self.target, self.state, self.board)
        self.replica = Replica(
            self.settings, self.state, applier, publisher, self.subscriber, self.board, stop=self.stop, orders=Orders()
        )
        self._parts.callback(self.replica._large.close)
        self.replica._telling.show_old_problems()

    def restart(self, **settings: Any) -> None:
        """The process ends, and the next one starts."""
        self.end()
        self.start(**settings)

    # -- the world
    def say(self, *messages: bytes) -> None:
        """These come to the replica's queue."""
        self.broker.queues[REPLICA].extend(messages)

    def hear(self) -> None:
        """What the replica said: reports are kept, questions are answered."""
        while self.broker.upstream:
            message = decode_upstream(self.broker.upstream.popleft(), TREE)
            if isinstance(message, Report):
                self.reports.append((self.clock.now, message))
                continue
            self.questions.append(message)
            self.say(*(self.answer(message) if self.answer else map(encode, self.master.answers(message))))

    def turn(self, rounds: int = 1) -> None:
        """So many rounds of the loop, each a hundredth of a second."""
        for _ in range(rounds):
            self.replica._round()
            if self.replica._large.is_busy:
                real_time.sleep(0.001)  # its threads live in real time
            self.clock.now += ROUND_SECONDS
            self.hear()

    def until(self, condition: Callable[[], object], rounds: int = 2000, what: str = "") -> None:
        """Rounds until it is true."""
        for _ in range(rounds):
            if condition():
                return
            self.turn()
        raise AssertionError(f"not within {rounds} rounds: {what or condition}; {self.board.status()}")

    def pass_by(self, seconds: float) -> None:
        """Time passes, with heartbeats as the producer sends them."""
        for _ in range(int(seconds / 5)):
            self.clock.now += 5
            self.say(self.master.heartbeat(self.clock.time_ns()))
            self.turn(3)

    # -- looking
    @property
    def is_level(self) -> bool:
        """Whether it says to agree at the master's position."""
        here = self.state.standing().position == (self.master.lineage.epoch, self.master.sequence)
        return here and self.replica._follower.is_agreed()

    def check_equal(self) -> None:
        """The directory is the master's tree, and the stage holds no content."""
        assert read_tree(self.root) == self.master.as_read()
        assert os.listdir(self.root / ".treecast" / "stage") == []

    def level(self) -> None:
        """A heartbeat, and rounds until it agrees and is equal."""
        self.say(self.master.heartbeat())
        self.until(lambda: self.is_level, what="level")
        self.check_equal()

    @property
    def alarms(self) -> set[str]:
        """The kinds that are on."""
        return set(self.board.alarms())

    def counted(self, name: str, label: str = "") -> int:
        """A counter of the board."""
        return int(self.board.figures().get((name, label), 0))


def many(count: int, content: bytes = b"content") -> dict[bytes, Content]:
    """A directory with so many files."""
    return {b"d": 0o755} | {b"d/%04d" % n: content + b" %d" % n for n in range(count)}
