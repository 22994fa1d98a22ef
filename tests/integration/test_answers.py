"""What answers are made of: frames that are kept, contents that are not there, a rate that is set."""

import math
import os
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import producer.answers
from common.digests import EMPTY_BUCKET
from common.messages import Answer, Ask, AskBuckets, AskSince, BucketRows, Downstream, Question, Since
from common.wire import codec
from producer.answerer import Made, may_publish
from producer.answers import BUNDLE_BYTES
from producer.contents import Contents, Pass
from producer.pacing import BURST_MINIMUM_BYTES
from tests.running_producer import TREE, RunningProducer
from tests.twins import MemoryBroker

FILES = 40


class World:
    """A source and its producer."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "source"
        self.root.mkdir()
        for number in range(FILES):
            (self.root / f"file-{number}").write_bytes(os.urandom(10_000))
        self.broker = MemoryBroker()
        self.producer = self.start()

    def start(self, bandwidth_bytes: int | None = None) -> RunningProducer:
        self.producer = RunningProducer(self.root, self.base / "state", self.broker, bandwidth_bytes=bandwidth_bytes)
        self.producer.settle()
        digests = self.producer.journal.stand.digests
        self.full = tuple(bucket for bucket in range(4096) if digests.of(bucket) != EMPTY_BUCKET)
        return self.producer

    def ask(self, ask: Ask, replica: str = "paris") -> None:
        epoch = self.producer.journal.stand.lineage.epoch
        self.broker.say(codec.encode(Question(TREE, epoch, replica, os.urandom(16), ask, unix_ns=0)))

    def answered(self, ask: Ask, count: int, replica: str = "paris") -> list[Downstream]:
        """Ask and wait for so many answers."""
        self.broker.direct.clear()
        self.ask(ask, replica)
        self.producer.run_until(lambda: len(self.broker.direct) == count, "answered")
        return [codec.decode_downstream(body, TREE) for _, body in self.broker.direct]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.producer.crash()


def bodies(answers: list[Downstream]) -> dict[bytes, bytes | None]:
    return {row.path: row.body for one in answers if isinstance(one, BucketRows | Since) for row in one.rows}


def on_disk(root: Path) -> dict[bytes, bytes | None]:
    return {os.fsencode(file.name): file.read_bytes() for file in root.iterdir()}


def test_who_asks_for_the_same_buckets_next_costs_no_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.answered(AskBuckets(world.full, True), len(world.full))
    assert bodies(first) == on_disk(world.root)
    monkeypatch.setattr(Contents, "reading", None)
    again = world.answered(AskBuckets(world.full, True), len(world.full), replica="rome")
    assert bodies(again) == on_disk(world.root)
    assert {one.replica for one in again if isinstance(one, BucketRows)} == {"rome"}


def test_ten_that_ask_at_once_cost_the_reading_of_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take turns, so each is somewhere else in the tree."""
    reading, passes = Contents.reading, 0

    def counted(contents: Contents) -> AbstractContextManager[Pass | None]:
        nonlocal passes
        passes += 1
        return reading(contents)

    monkeypatch.setattr(Contents, "reading", counted)
    monkeypatch.setattr(producer.answers, "BUNDLE_BYTES", 30_000)
    for number in range(9):
        world.ask(AskBuckets(world.full, True), replica=f"r{number}")
    answers = world.answered(AskBuckets(world.full, True), 10 * len(world.full))
    assert passes == len(world.full)
    assert world.producer.board.figures()["answers_total", "bucket"] == len(answers)
    assert len({(one.replica, one.bucket) for one in answers if isinstance(one, BucketRows)}) == len(answers)


def test_answers_to_one_replica_go_in_bundles_of_which_no_answer_is_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To hand a message to a broker costs more than to make a small answer that was made before."""
    monkeypatch.setattr(producer.answers, "BUNDLE_SECONDS", math.inf)
    world.broker.queues |= {"paris": deque(), "rome": deque()}
    world.ask(AskBuckets(world.full, True))
    answers = world.answered(AskBuckets(world.full, True), 2 * len(world.full), replica="rome")
    assert bodies(answers) == on_disk(world.root)
    assert world.producer.board.figures()["answers_total", "bucket"] == 2 * len(world.full)
    size_bytes = sum(len(body) for name, body in world.broker.direct if name == "rome")
    for replica in ("paris", "rome"):
        bundles = [body for body in world.broker.queues[replica] if is_of_answers(body)]
        assert sum(map(len, bundles)) == size_bytes
        assert len(bundles) <= size_bytes // BUNDLE_BYTES + 2


def is_of_answers(body: bytes) -> bool:
    return all(isinstance(message, Answer) for message, _ in codec.decode_delivery(body, TREE))


def test_what_changed_since_the_same_position_is_read_once_for_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = world.producer.journal.stand.sequence
    (world.root / "file-1").write_text("changed")
    world.producer.run_until(lambda: world.producer.journal.stand.sequence > base, "published")
    assert bodies(world.answered(AskSince(base), 1)) == {b"file-1": b"changed"}
    monkeypatch.setattr(Contents, "reading", None)
    assert bodies(world.answered(AskSince(base), 1, replica="rome")) == {b"file-1": b"changed"}


def test_while_the_root_is_away_rows_come_without_contents_and_with_them_when_it_is_back(world: World) -> None:
    """What could not be read then is not remembered, and no path is doubted for it."""
    away = world.base / "away"
    world.root.rename(away)
    without = world.answered(AskBuckets(world.full, True), len(world.full))
    assert set(bodies(without)) == set(on_disk(away))
    assert set(bodies(without).values()) == {None}
    away.rename(world.root)
    world.producer.run_until(lambda: not world.producer.alarms(), "believed")
    assert bodies(world.answered(AskBuckets(world.full, True), len(world.full))) == on_disk(world.root)
    assert world.producer.journal.stand.sequence == 0


def test_contents_are_read_from_the_directory_that_took_the_roots_place(world: World) -> None:
    copy = world.base / "copy"
    shutil.copytree(world.root, copy)
    world.root.rename(world.base / "before")
    copy.rename(world.root)
    assert bodies(world.answered(AskBuckets(world.full, True), len(world.full))) == on_disk(world.root)


def test_a_set_rate_holds_answers_back_and_never_a_live_change(tmp_path: Path) -> None:
    """By the producer's clock: a burst at once, then so much in a second, and one message too many at most."""
    world = World(tmp_path)
    world.producer.crash()
    world.start(bandwidth_bytes=50_000)
    world.ask(AskBuckets(world.full, True))
    for _ in range(5):
        world.producer.step()
    at_once = sum(len(body) for _, body in world.broker.direct)
    assert BURST_MINIMUM_BYTES <= at_once < BURST_MINIMUM_BYTES + 25_000 + 50_000 * 0.5
    (world.root / "live").write_text("live")
    published = len(world.broker.events)
    world.producer.run_until(lambda: world.producer.journal.stand.sequence == 1, "published")
    assert len(world.broker.events) > published
    before = sum(len(body) for _, body in world.broker.direct)
    for _ in range(4):
        world.producer.skip(0.5)
        world.producer.step()
    sent = sum(len(body) for _, body in world.broker.direct) - before
    assert 50_000 < sent < 150_000
    world.producer.crash()


def test_an_answer_is_published_only_in_its_epoch_and_behind_its_batch(world: World) -> None:
    stand = world.producer.journal.stand
    epoch, sequence = stand.lineage.epoch, stand.sequence

    def made(epoch: int, at: int) -> Made:
        return Made("same", "paris", epoch, at, 0, 0.0, b"")

    assert may_publish(made(epoch, sequence), stand.lineage, sequence)
    assert not may_publish(made(epoch, sequence + 1), stand.lineage, sequence)
    assert not may_publish(made(epoch - 1, sequence), stand.lineage, sequence)
