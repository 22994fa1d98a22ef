"""What replicas say, what the watch loses and what is slow must not hurt a producer."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from common.entries import Position
from common.errors import SettingError
from common.messages import AskBodies, AskBuckets, AskDigests, Batch, Heartbeat, Question, ReplicaState, Report
from common.wire import codec
from producer import comparing
from producer.watch.choice import NoWatch
from producer.watch.port import Watch
from tests import running_producer
from tests.running_producer import TREE, RunningProducer
from tests.twins import MemoryBroker, MemoryWatch


class World:
    """A source with some files, and its producer, whose watch says nothing."""

    def __init__(self, base: Path) -> None:
        self.root = base / "source"
        self.root.mkdir()
        for number in range(5):
            (self.root / f"{number}").write_text("old")
        self.broker = MemoryBroker()
        self.producer = RunningProducer(self.root, base / "state", self.broker, watch=MemoryWatch())

    def ask(self, question: AskDigests | AskBuckets | AskBodies, epoch: int) -> None:
        self.broker.say(codec.encode(Question(TREE, epoch, "paris", os.urandom(16), question, 0)))

    def report(self, epoch: int) -> None:
        self.broker.say(
            codec.encode(Report(TREE, "paris", bytes(16), Position(epoch, 0), False, ReplicaState.FOLLOWING, 0, "1", 1))
        )

    def batches(self) -> list[Batch]:
        messages = [codec.decode_downstream(data, TREE) for data in self.broker.events]
        return [message for message in messages if isinstance(message, Batch)]

    def heartbeats(self) -> int:
        return sum(isinstance(codec.decode_downstream(data, TREE), Heartbeat) for data in self.broker.events)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.producer.crash()


def change_unseen(path: Path) -> bytes:
    """Another content of the same size and time, which no watch tells of. Returns what it was before."""
    before, times = path.read_bytes(), path.stat()
    path.write_text("new")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return before


def test_a_content_that_is_asked_for_and_is_no_more_is_looked_at_again(world: World) -> None:
    world.producer.settle()
    change_unseen(world.root / "3")
    stand = world.producer.journal.stand
    entry = world.producer.journal.entry(b"3")
    assert entry is not None
    world.ask(AskBodies(((b"3", entry.digest),)), stand.lineage.epoch)
    world.producer.run_until(lambda: bool(world.batches()), "published")
    assert [(event.path, event.body) for event in world.batches()[0].events] == [(b"3", b"new")]
    assert not world.broker.direct


def test_a_bucket_that_is_asked_for_shows_that_a_content_is_no_more(world: World) -> None:
    world.producer.settle()
    change_unseen(world.root / "3")
    world.ask(AskBuckets(tuple(range(4096)), bodies=True), world.producer.journal.stand.lineage.epoch)
    world.producer.run_until(lambda: bool(world.batches()), "published")
    assert [event.path for event in world.batches()[0].events] == [b"3"]


def test_a_source_that_is_gone_makes_nobody_read_it_all_when_it_is_back(world: World) -> None:
    world.producer.settle()
    world.root.rename(world.root.with_name("moved"))
    world.producer.skip(10)
    world.producer.run_until(lambda: "source-missing" in world.producer.alarms(), "alarmed")
    world.ask(AskBuckets(tuple(range(4096)), bodies=True), world.producer.journal.stand.lineage.epoch)
    world.producer.run_until(lambda: len(world.broker.direct) == 4096, "answered")
    assert world.producer.board.status()["dirty"] == 0


def test_a_round_ends_after_a_time_whatever_it_has(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "ROUND_SECONDS", 0.0)
    taken = [0]
    while not world.producer.journal.is_base_complete:
        world.producer.step()
        taken.append(world.producer.journal.stand.entries)
    assert taken[-1] == 5
    assert max(after - before for before, after in pairwise(taken)) == 1


def test_what_can_be_no_epoch_stops_nobody(world: World) -> None:
    world.producer.settle()
    world.report((1 << 63) - 1)
    world.producer.settle()
    assert world.producer.journal.highest_epoch < 1 << 62


def test_a_replica_that_asks_and_asks_makes_no_storm_of_heartbeats(world: World) -> None:
    world.producer.settle()
    before = world.heartbeats()
    now = world.producer.now()
    for _ in range(100):
        world.ask(AskDigests(()), 1)
        world.producer.pipeline.step(now)
    world.producer.pipeline.step(now + 1)
    assert world.heartbeats() - before <= 2


def test_a_journal_and_a_source_that_are_lost_together_empty_no_replica(tmp_path: Path) -> None:
    """As where a container starts before its volumes are mounted: a tree of nothing, but replicas know better."""
    root, state, broker = tmp_path / "mount", tmp_path / "state", MemoryBroker()
    root.mkdir()
    producer = RunningProducer(root, state, broker)
    try:
        producer.step()
        broker.say(codec.encode(full_replica(entries=100)))
        producer.skip(5)
        producer.run_until(lambda: "source-empty" in producer.alarms(), "alarmed")
        producer.skip(3600)
        for _ in range(20):
            producer.step()
        assert not broker.events
        (root / "file").write_text("mounted now")
        producer.skip(5)
        producer.run_until(lambda: bool(broker.events), "announced")
        assert producer.alarms() <= {"replicas-gone"}, "nobody was there for an hour"
        heartbeat = codec.decode_downstream(broker.events[0], TREE)
        assert isinstance(heartbeat, Heartbeat)
        assert heartbeat.digest == producer.journal.stand.digest
        assert producer.journal.stand.entries == 1
    finally:
        producer.crash()


def test_a_new_tree_of_nothing_is_announced_once_replicas_had_time_to_speak(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    broker = MemoryBroker()
    producer = RunningProducer(tmp_path / "source", tmp_path / "state", broker)
    try:
        for _ in range(20):
            producer.step()
        broker.say(codec.encode(full_replica(entries=0)))
        assert not broker.events
        producer.skip(6)
        producer.run_until(lambda: bool(broker.events), "announced")
    finally:
        producer.crash()


def full_replica(entries: int) -> Report:
    details = {"entries": entries}
    return Report(TREE, "paris", b"i" * 16, Position(7, 3), True, ReplicaState.FOLLOWING, 0, "1", 1, 0, details)


def test_a_watch_that_could_not_be_had_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("there")
    watches: list[Watch] = [NoWatch(lambda: None, "too many"), NoWatch(lambda: None, "too many"), MemoryWatch()]
    monkeypatch.setattr(running_producer, "choose_watch", lambda *_, **__: watches.pop(0))
    producer = RunningProducer(tmp_path / "source", tmp_path / "state", MemoryBroker())
    try:
        producer.settle()
        for _ in range(3):
            producer.skip(700)
            producer.settle()
        assert not watches
        producer.skip(700)
        producer.settle()
    finally:
        producer.crash()


def test_a_watch_by_name_that_cannot_be_had_any_more_ends_no_producer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start it is a wrong setting; later it is the system's fault, and scans go on."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("there")
    first = MemoryWatch()
    watches: list[Watch] = [first]

    def choose(*_: object, **__: object) -> Watch:
        if not watches:
            raise SettingError("TREECAST_WATCH", "inotify", "auto here")
        return watches.pop()

    monkeypatch.setattr(running_producer, "choose_watch", choose)
    broker = MemoryBroker()
    producer = RunningProducer(tmp_path / "source", tmp_path / "state", broker)
    try:
        producer.settle()
        first.alive = False
        producer.run_until(lambda: "watch-lost" in producer.alarms(), "alarmed")
        (tmp_path / "source" / "new").write_text("seen by a scan")
        for _ in range(5):
            producer.skip(700)
            producer.settle()
        assert producer.journal.entry(b"new") is not None
        watches.append(MemoryWatch())
        producer.skip(700)
        producer.settle()
        assert not producer.alarms()
    finally:
        producer.crash()
