import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import producer.answers
from common.entries import Event, Kind, Position
from common.errors import AlreadyRunningError
from common.messages import (
    INLINE_LIMIT_BYTES,
    Ask,
    AskBodies,
    AskBuckets,
    AskDigests,
    Batch,
    BodyAnswer,
    BucketRows,
    Downstream,
    Heartbeat,
    Question,
    ReplicaState,
    Report,
    Same,
)
from common.names import PATTERNS_PATH
from common.patterns import row_of
from common.wire import codec
from producer.differences import Found
from producer.finding import Finding
from producer.source import Source
from producer.values import Unreadable
from producer.vouching import CALL_SECONDS
from producer.watch.choice import NoWatch
from tests.running_producer import TREE, PlainTree, RunningProducer, base_on_disk, entries_on_disk
from tests.twins import MemoryBroker, MemoryWatch


class World:
    """A source, its producer, and a plain tree that follows."""

    def __init__(self, base: Path) -> None:
        self.root = base / "source"
        self.root.mkdir()
        self.state = base / "state"
        self.broker = MemoryBroker()
        self.plain = PlainTree()
        self.has_started = False
        self.running: RunningProducer | None = None

    @property
    def producer(self) -> RunningProducer:
        assert self.running is not None
        return self.running

    def start(self, **options: object) -> RunningProducer:
        """Start a producer, and wait until its base is complete."""
        if not self.has_started:
            self.has_started = True
            row = row_of(options.get("exclude", ()))  # type: ignore[arg-type]
            self.plain = PlainTree(base_on_disk(self.root) | ({PATTERNS_PATH: row} if row is not None else {}))
        self.running = RunningProducer(self.root, self.state, self.broker, **options)  # type: ignore[arg-type]
        self.running.settle()
        return self.running

    def crash(self) -> None:
        """The producer dies, where one runs."""
        if self.running is not None:
            self.running.crash()
            self.running = None

    def restart(self, **options: object) -> RunningProducer:
        self.producer.stop()
        self.running = None
        return self.start(**options)

    def level(self) -> None:
        """Wait until what was published is what is on the disk."""

        def is_level() -> bool:
            self.plain.follow(self.broker)
            # The disk is read only where it may be equal: what is large takes its time.
            is_quiet = bool(self.producer.board.status()["quiet"])
            return is_quiet and self.plain.entries() == entries_on_disk(self.root)

        self.producer.run_until(is_level, "level")

    def followed(self) -> set[bytes]:
        """The paths that are published by now."""
        self.plain.follow(self.broker)
        return set(self.plain.tree)

    def batches(self) -> list[Batch]:
        return [message for message in self.messages() if isinstance(message, Batch)]

    def messages(self) -> list[Downstream]:
        return [codec.decode_downstream(data, TREE) for data in self.broker.events]

    def ask(self, question: Ask, epoch: int = 0, replica: str = "paris") -> None:
        epoch = epoch or self.producer.journal.stand.lineage.epoch
        self.broker.say(codec.encode(Question(TREE, epoch, replica, os.urandom(16), question, 0)))

    def answers(self) -> list[Downstream]:
        return [codec.decode_downstream(data, TREE) for _, data in self.broker.direct]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.crash()


def _write(path: Path, text: str = "text") -> None:
    path.write_text(text)


def test_a_new_tree_is_a_base_without_events_and_then_announced(world: World) -> None:
    (world.root / "d").mkdir()
    _write(world.root / "d" / "a")
    producer = world.start()
    producer.step()
    (first,) = world.messages()
    assert isinstance(first, Heartbeat)
    assert first.sequence == 0
    assert first.digest == world.plain.digest(first.lineage.salt)
    assert producer.board.is_ready
    assert producer.board.status()["entries"] == 2


def test_what_happens_to_files_is_published(world: World) -> None:
    _write(world.root / "stays")
    _write(world.root / "goes")
    world.start()
    _write(world.root / "comes", "new")
    _write(world.root / "stays", "changed")
    (world.root / "goes").unlink()
    os.symlink("nowhere/at all", world.root / "link")
    world.level()
    (world.root / "stays").chmod(0o600)
    os.utime(world.root / "comes", ns=(1, 1))
    world.level()
    last = world.batches()[-1]
    assert {event.path for event in last.events} <= {b"stays", b"comes"}
    assert all(event.body is None for event in last.events), "a change of mode or time carries no body"


def test_directories_come_with_what_is_in_them_and_go_with_it(world: World) -> None:
    world.start()
    (world.root / "a" / "b" / "c").mkdir(parents=True)
    (world.root / "empty").mkdir(mode=0o700)
    for number in range(30):
        _write(world.root / "a" / "b" / f"{number}")
    world.level()
    (world.root / "a").rename(world.root / "moved")
    world.level()
    shutil.rmtree(world.root / "moved")
    world.level()
    assert set(world.plain.tree) == {b"empty"}


def test_a_path_changes_its_kind_in_one_event(world: World) -> None:
    (world.root / "d" / "e").mkdir(parents=True)
    _write(world.root / "d" / "e" / "x")
    _write(world.root / "f")
    world.start()
    shutil.rmtree(world.root / "d")
    _write(world.root / "d")
    (world.root / "f").unlink()
    (world.root / "f").mkdir()
    _write(world.root / "f" / "x")
    world.level()
    (world.root / "d").unlink()
    os.symlink("f", world.root / "d")
    world.level()
    assert world.plain.tree[b"d"][0].kind is Kind.SYMLINK


def test_names_that_are_no_text_are_names(world: World) -> None:
    world.start()
    for name in (b"\xff\xfe", b"new\nline", b"-rf", b"%s{0}", "é".encode(), b"e\xcc\x81"):
        with open(os.path.join(os.fsencode(world.root), name), "wb") as file:
            file.write(name)
    world.level()
    assert b"\xff\xfe" in world.plain.tree


def test_what_changed_while_it_was_down_is_found_deletions_included(world: World) -> None:
    (world.root / "d").mkdir()
    for number in range(50):
        _write(world.root / "d" / f"{number}")
    _write(world.root / "other")
    world.start()
    epoch = world.producer.journal.stand.lineage.epoch
    world.crash()
    for number in range(40):
        (world.root / "d" / f"{number}").unlink()
    _write(world.root / "d" / "45", "changed")
    _write(world.root / "new")
    world.start()
    assert world.producer.journal.stand.lineage.epoch > epoch
    world.level()
    assert sum(event.entry is None for batch in world.batches() for event in batch.events) == 40


def test_a_restart_without_changes_publishes_no_event(world: World) -> None:
    _write(world.root / "a")
    world.start()
    _write(world.root / "b")
    world.level()
    count = len(world.batches())
    world.restart()
    world.level()
    assert len(world.batches()) == count


def test_a_base_that_was_cut_off_is_completed_by_the_next_run(world: World) -> None:
    for number in range(40):
        _write(world.root / f"{number}")
    world.running = RunningProducer(world.root, world.state, world.broker)
    world.running.journal.whole_compared = lambda root: None  # type: ignore[method-assign]
    for _ in range(5):
        world.running.step()
    assert not world.broker.events
    world.crash()
    (world.root / "3").unlink()
    world.start()
    world.level()
    assert not world.batches()


def test_what_was_journaled_and_not_confirmed_goes_first_byte_for_byte_in_its_own_epoch(world: World) -> None:
    world.start()
    world.broker.confirms = False
    _write(world.root / "a")
    _write(world.root / "b")
    world.producer.run_until(lambda: len(world.batches()) > 0, "published")
    sent = [data for data in world.broker.events if isinstance(codec.decode_downstream(data, TREE), Batch)]
    world.crash()
    world.broker.events.clear()
    world.plain.seen = 0
    world.broker.confirms = True
    world.start()
    assert world.broker.events[: len(sent)] == sent
    after = codec.decode_downstream(world.broker.events[len(sent)], TREE)
    assert isinstance(after, Heartbeat)
    assert after.lineage.epoch > codec.peek(sent[0]).epoch
    world.level()
    world.restart()
    assert not any(data in world.broker.events[len(sent) + 1 :] for data in sent), "confirmed, so forgotten"


def test_an_epoch_and_sequence_never_mean_two_things_not_even_with_a_restored_journal(world: World) -> None:
    world.start()
    _write(world.root / "a")
    world.level()
    world.crash()
    shutil.copytree(world.state, world.state.with_name("backup"))
    world.start()
    _write(world.root / "b", "one")
    world.level()
    world.crash()
    shutil.rmtree(world.state)
    world.state.with_name("backup").rename(world.state)
    _write(world.root / "b", "two")
    world.running = RunningProducer(world.root, world.state, world.broker)
    world.running.settle()
    lineages = [message.lineage for message in world.messages() if isinstance(message, Batch | Heartbeat)]
    told: dict[tuple[int, bytes, int], bytes] = {}
    for batch in world.batches():
        key = (batch.lineage.epoch, batch.lineage.instance, batch.last)
        assert told.setdefault(key, batch.hash) == batch.hash
    assert len({lineage.instance for lineage in lineages}) == 3


def test_a_missing_source_publishes_nothing_and_clears_by_itself(world: World) -> None:
    (world.root / "d").mkdir()
    _write(world.root / "d" / "a")
    world.start()
    away = world.root.with_name("away")
    world.root.rename(away)
    world.producer.skip(10)
    world.producer.run_until(lambda: "source-missing" in world.producer.alarms(), "alarmed")
    for _ in range(5):
        world.producer.skip(2)
        world.producer.step()
    assert not world.batches()
    away.rename(world.root)
    world.producer.skip(2)
    _write(world.root / "d" / "b")
    world.level()
    assert not world.producer.alarms()
    assert len(world.plain.tree) == 3


def test_an_emptied_source_deletes_nothing(world: World) -> None:
    for number in range(20):
        _write(world.root / f"{number}")
    watch = MemoryWatch()
    world.start(watch=watch)
    for path in list(world.root.iterdir()):
        path.unlink()
        watch.hint(path.name.encode())
    world.producer.run_until(lambda: "source-empty" in world.producer.alarms(), "alarmed")
    assert not world.batches()
    _write(world.root / "3")
    world.producer.skip(2)
    world.level()
    assert not world.producer.alarms()
    assert set(world.plain.tree) == {b"3"}


def test_another_directory_in_the_sources_place_is_compared_whole_and_followed(world: World) -> None:
    for number in range(20):
        _write(world.root / f"{number}")
    world.start()
    world.root.rename(world.root.with_name("before"))
    world.root.mkdir()
    _write(world.root / "3", "other")
    world.producer.skip(10)
    world.level()
    _write(world.root / "watched too")
    world.level()


def test_an_unreadable_directory_is_a_problem_and_deletes_nothing_beneath(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.root / "d").mkdir()
    _write(world.root / "d" / "a")
    world.start()
    walk, locked = Source.walk, [b"d"]

    def walk_in_part(source: Source, start: bytes) -> Iterator[Found]:
        for found in walk(source, start):
            if found.path.rpartition(b"/")[0] not in locked:
                yield found
            else:
                yield Unreadable(b"d", "permission denied")

    monkeypatch.setattr(Source, "walk", walk_in_part)
    world.restart()
    assert world.producer.problems() == {b"d"}
    assert not world.batches()
    locked.clear()
    world.producer.skip(4000)
    world.producer.run_until(lambda: not world.producer.problems(), "solved")
    world.level()


def test_what_cannot_be_carried_is_a_shown_problem_until_it_is_gone(world: World, tmp_path: Path) -> None:
    _write(world.root / "large")
    world.start(large_limit_bytes=5_000_000)
    with open(world.root / "large", "wb") as file:
        file.truncate(5_000_001)
    os.mkfifo(world.root / "fifo")
    world.producer.run_until(lambda: len(world.producer.problems()) == 2, "shown")
    assert not world.batches(), "what was published before stays published"
    os.truncate(world.root / "large", 5_000_000)
    (world.root / "fifo").unlink()
    world.producer.run_until(lambda: not world.producer.problems(), "solved")
    world.level()


def test_a_problem_in_a_directory_that_goes_is_gone_with_it(world: World) -> None:
    (world.root / "d").mkdir()
    _write(world.root / "stays")
    world.start()
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(world.root / "d")
        one.bind("s")
        os.chdir("/")
    world.producer.run_until(lambda: world.producer.problems() == {b"d/s"}, "shown")
    (world.root / "d").rename(world.root.parent / "elsewhere")
    world.level()
    assert not world.producer.problems()


def test_a_file_travels_with_its_event_up_to_the_inline_limit(world: World) -> None:
    """A batch is never much longer than the largest file that travels in one; what is larger takes no part of it."""
    world.start()
    (world.root / "inline").write_bytes(os.urandom(INLINE_LIMIT_BYTES))
    (world.root / "large").write_bytes(os.urandom(INLINE_LIMIT_BYTES + 1))
    _write(world.root / "small")
    world.level()
    assert max(map(len, world.broker.events)) < INLINE_LIMIT_BYTES + 4096
    told = {event.path: event for batch in world.batches() for event in batch.events}
    assert told[b"inline"].body is not None
    assert told[b"large"].body is None


def test_excluded_paths_are_no_part_of_the_tree_and_leave_it_without_being_deleted(world: World) -> None:
    (world.root / "cache").mkdir()
    _write(world.root / "cache" / "x")
    _write(world.root / "a.tmp")
    _write(world.root / "a")
    world.start(exclude=("*.bak",))
    world.restart(exclude=("/cache/", "*.tmp"))
    world.plain.follow(world.broker)
    assert set(world.plain.tree) == {b"a", PATTERNS_PATH}
    patterns, *left = world.batches()
    assert patterns.events == (Event(PATTERNS_PATH, *(row_of(["/cache/", "*.tmp"]) or ())),)
    assert all(event.keep for batch in left for event in batch.events)
    _write(world.root / "cache" / "y")
    _write(world.root / "b.tmp")
    _write(world.root / "b")
    world.producer.run_until(lambda: b"b" in world.followed(), "published")
    assert set(world.plain.tree) == {b"a", b"b", PATTERNS_PATH}
    world.restart()
    assert PATTERNS_PATH not in world.followed()
    world.level()


def test_patterns_are_published_once_and_asked_for_like_any_content(world: World) -> None:
    _write(world.root / "a")
    world.start(exclude=("*.tmp",))
    world.restart(exclude=("*.tmp",))
    assert not world.batches()
    entry, content = row_of(["*.tmp"]) or pytest.fail("no row")
    assert world.producer.journal.entry(PATTERNS_PATH) == entry
    assert world.producer.journal.stand.entries == 1
    world.ask(AskBodies(((PATTERNS_PATH, entry.digest),)))
    world.producer.run_until(lambda: bool(world.answers()), "answered")
    assert [answer.content for answer in world.answers() if isinstance(answer, BodyAnswer)] == [content]


def test_a_tree_that_only_scans_see_is_followed_too(world: World) -> None:
    _write(world.root / "a")
    watch = NoWatch(lambda: None, "as told")
    world.start(watch=watch)
    _write(world.root / "b")
    (world.root / "a").unlink()
    for _ in range(3):
        world.producer.skip(60)
        world.producer.step()
    world.level()


def test_an_overflow_and_a_dead_watch_are_answered_by_a_scan(world: World) -> None:
    watch = MemoryWatch()
    world.start(watch=watch)
    _write(world.root / "lost")
    watch.lost = 1
    watch.hint(b"", subtree=True)
    world.level()
    assert world.producer.board.figures()["watch_overflows_total", ""] == 1
    _write(world.root / "lost too")
    watch.alive = False
    world.level()
    assert watch.starts == 2
    world.producer.step()
    assert not world.producer.alarms()


def test_a_hint_at_a_child_whose_directory_nobody_named_brings_both(world: World) -> None:
    watch = MemoryWatch()
    world.start(watch=watch)
    (world.root / "d" / "e").mkdir(parents=True)
    _write(world.root / "d" / "e" / "x")
    watch.hint(b"d/e/x")
    world.producer.run_until(lambda: b"d/e/x" in world.followed(), "published")


def test_through_an_outage_each_path_is_kept_once_and_all_arrive(world: World) -> None:
    world.start()
    world.broker.is_reachable = False
    for round_number in range(3):
        for number in range(200):
            _write(world.root / f"{number}", f"{round_number}")
        world.producer.run_until(lambda: world.producer.board.status()["dirty"] == 200, "dirty")
    assert not world.batches()
    assert world.producer.board.status()["state"] == "connecting"
    world.broker.reconnect()
    world.level()
    assert sum(len(batch.events) for batch in world.batches()) <= 400


def test_no_more_is_numbered_than_the_window_holds(world: World) -> None:
    world.start()
    world.broker.confirms = False
    for number in range(70):
        (world.root / f"{number}").write_bytes(os.urandom(1024 * 1024))
    world.producer.run_until(lambda: not world.producer.publisher_has_room(), "full")
    for _ in range(20):
        world.producer.skip(0.1)
        world.producer.step()
    count, size = world.producer.publisher.in_flight()
    assert count <= 64
    assert size <= 66 * 1024 * 1024
    assert world.producer.board.status()["dirty"] > 0
    world.broker.confirms = True
    world.broker.confirm_all()
    world.level()


def test_a_full_disk_under_the_journal_is_alarmed_loses_nothing_and_clears(world: World) -> None:
    watch = MemoryWatch()
    world.start(watch=watch)
    database = world.producer.journal._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(200):
        _write(world.root / (f"{number}" * 20))
        watch.hint((f"{number}" * 20).encode())
    world.producer.run_until(lambda: "no-room" in world.producer.alarms(), "alarmed")
    assert not world.batches()
    world.producer.step()
    assert "no-room" in world.producer.alarms()
    database.execute("PRAGMA max_page_count = 1000000")
    world.producer.skip(1)
    world.level()
    assert not world.producer.alarms()


def test_nothing_is_published_while_another_leads_and_after_a_minute_it_is_named(world: World) -> None:
    _write(world.root / "a")
    world.broker.holder = "there:42"
    world.running = RunningProducer(world.root, world.state, world.broker)
    for _ in range(10):
        world.running.step()
    assert world.running.board.status()["state"] == "waiting"
    assert not world.running.board.is_ready
    world.running.skip(59)
    world.running.step()
    world.running.skip(2)
    with pytest.raises(AlreadyRunningError, match="there:42"):
        world.running.step()
    assert not world.broker.events
    world.broker.holder = ""


def test_while_another_leads_the_loop_rests(world: World) -> None:
    """A wait of nothing would burn a core for a minute."""
    world.broker.holder = "there:42"
    world.running = RunningProducer(world.root, world.state, world.broker)
    assert any(world.running.step() > 0.1 for _ in range(50))
    world.broker.holder = ""


def test_a_freed_lead_is_taken_at_once(world: World) -> None:
    _write(world.root / "a")
    world.broker.holder = "there:42"
    world.running = RunningProducer(world.root, world.state, world.broker)
    world.running.step()
    drawn_at_start = world.running.journal.stand.lineage.epoch
    world.broker.holder = ""
    world.running.settle()
    assert len(world.broker.events) == 1
    assert world.running.journal.stand.lineage.epoch > drawn_at_start, "the other may have drawn the same"


def test_who_lost_the_lead_publishes_nothing_more(world: World) -> None:
    world.start()
    world.broker.holder = "there:42"
    _write(world.root / "a")
    world.producer.skip(30)
    count = len(world.broker.events)
    world.producer.run_until(lambda: world.producer.board.status()["dirty"] > 0, "dirty")
    assert len(world.broker.events) == count


def test_proof_of_a_higher_epoch_stops_it_and_the_next_run_goes_above(world: World) -> None:
    world.start()
    epoch = world.producer.journal.stand.lineage.epoch + 1000
    report = Report(TREE, "paris", bytes(16), Position(epoch, 1), True, ReplicaState.FOLLOWING, 0, "1", 1)
    world.broker.say(codec.encode(report))
    with pytest.raises(AlreadyRunningError, match="paris"):
        world.producer.step()
    world.restart()
    assert world.producer.journal.stand.lineage.epoch == epoch + 1


def test_heartbeats_come_at_once_and_every_five_seconds_and_state_what_went_before(world: World) -> None:
    world.start()
    _write(world.root / "a")
    world.level()
    for _ in range(3):
        world.producer.skip(5)
        world.producer.step()
    beats = [message for message in world.messages() if isinstance(message, Heartbeat)]
    assert [beat.sequence for beat in beats] == [0, 1, 1, 1]
    assert [beat.counter for beat in beats] == [1, 2, 3, 4]
    assert beats[-1].leader == "here:1"
    assert beats[-1].head == world.batches()[-1].hash


def test_nothing_happens_where_nothing_changes(world: World) -> None:
    world.start()
    assert world.producer.step() > 0.5


def test_the_queue_of_who_speaks_is_made_and_the_position_told(world: World) -> None:
    world.start()
    world.producer.skip(1)
    world.broker.say(
        codec.encode(Report(TREE, "paris", bytes(16), Position(0, 0), False, ReplicaState.NO_QUEUE, 9, "1", 1))
    )
    world.producer.step()
    assert len(world.broker.queues["paris"]) == 1
    del world.broker.queues["paris"]
    world.ask(AskDigests(()))
    world.producer.step()
    world.producer.step()
    assert "paris" in world.broker.queues
    world.producer.skip(1)
    world.producer.step()
    assert world.producer.board.status()["replicas"]["paris"]["state"] == "no-queue"


def test_a_digests_question_is_answered_with_equal_buckets_those_empty_on_both_sides_included(world: World) -> None:
    for number in range(30):
        _write(world.root / f"{number}")
    world.start()
    digests = world.producer.journal.stand.digests
    full = [bucket for bucket in range(4096) if digests.of(bucket) != bytes(32)]
    empty = next(bucket for bucket in range(4096) if bucket not in full)
    named = {bucket: digests.of(bucket) for bucket in full[1:]}
    named[full[1]], named[empty] = bytes([1]) * 32, bytes([1]) * 32
    world.ask(AskDigests(tuple(named.items())))
    world.producer.step()
    (same,) = world.answers()
    assert isinstance(same, Same)
    assert set(range(4096)) - set(same.buckets) == {full[0], full[1], empty}


def test_after_a_restart_changes_flow_at_once_and_questions_wait_until_the_source_was_compared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index may be older than what was published; a scan of a million files takes a while."""
    for number in range(30):
        _write(world.root / f"{number}")
    world.start()
    world.crash()
    (world.root / "7").unlink()
    monkeypatch.setattr(Finding, "scan", lambda finding, now: None)
    watch = MemoryWatch()
    world.running = producer = RunningProducer(world.root, world.state, world.broker, watch=watch)
    producer.step()
    producer.skip(CALL_SECONDS)
    producer.run_until(lambda: producer.pipeline.leading.is_live, "live")
    world.ask(AskDigests(()))
    _write(world.root / "live")
    watch.hint(b"live")
    producer.run_until(lambda: b"live" in world.followed(), "published")
    producer.skip(10)
    for _ in range(10):
        producer.step()
    assert not world.answers()
    monkeypatch.undo()
    producer.run_until(lambda: len(world.answers()) > 0, "answered")
    (same,) = world.answers()
    assert isinstance(same, Same)
    assert same.at == world.batches()[-1].last
    assert b"7" not in world.followed()


def test_buckets_and_bodies_are_answered_with_what_the_index_has_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer.answers, "BUNDLE_BYTES", 1)
    for number in range(30):
        _write(world.root / f"{number}", f"text {number}")
    world.start()
    stand = world.producer.journal.stand
    full = tuple(bucket for bucket in range(4096) if stand.digests.of(bucket) != bytes(32))
    world.ask(AskBuckets(full, True))
    world.ask(AskBuckets(full, True), replica="rome")
    world.producer.run_until(lambda: len(world.broker.direct) == 2 * len(full), "answered")
    assert [name for name, _ in world.broker.direct[:4]] == ["paris", "rome", "paris", "rome"]
    rows = {}
    for answer in world.answers():
        assert isinstance(answer, BucketRows)
        assert answer.at == stand.sequence
        rows.update({row.path: row for row in answer.rows})
    assert {path: row.entry for path, row in rows.items()} == world.plain.entries()
    assert rows[b"7"].body == b"text 7"
    entry = rows[b"7"].entry
    assert entry is not None
    world.broker.direct.clear()
    world.ask(AskBodies(((b"7", entry.digest), (b"8", entry.digest), (b"none", entry.digest))))
    world.producer.step()
    (body,) = world.answers()
    assert isinstance(body, BodyAnswer)
    assert (body.path, body.content) == (b"7", b"text 7")


def test_a_question_of_another_epoch_is_answered_with_a_heartbeat_and_rubbish_with_nothing(world: World) -> None:
    world.start()
    world.producer.skip(1)
    count = len(world.broker.events)
    world.ask(AskDigests(()), epoch=3)
    world.broker.say(b"rubbish")
    world.producer.step()
    assert len(world.broker.events) == count + 1
    assert not world.broker.direct
    assert sum(n for (name, _), n in world.producer.board.figures().items() if name == "refused_total") == 1


def test_answers_wait_while_the_broker_has_enough_to_write(world: World) -> None:
    _write(world.root / "a")
    world.start()
    world.producer.publisher.queued_bytes = 5_000_000
    world.ask(AskDigests(()))
    assert world.producer.step() <= 0.05
    assert not world.broker.direct
    world.producer.publisher.queued_bytes = 0
    world.producer.step()
    assert len(world.broker.direct) == 1


def test_nobody_vouches_for_a_new_tree_until_a_replica_is_proved_equal_and_then_all_deletes_are_released(
    world: World,
) -> None:
    _write(world.root / "a")
    producer = world.start()
    world.ask(AskDigests(()))
    producer.run_until(lambda: bool(world.answers()), "answered")
    _write(world.root / "b")
    world.level()
    assert {message.released for message in _that_take_away(world)} == {0}
    seen = len(world.broker.events)
    lineage = producer.journal.stand.lineage
    position = Position(lineage.epoch, 1)
    report = Report(TREE, "paris", lineage.instance, position, True, ReplicaState.FOLLOWING, 0, "1", 1)
    world.broker.say(codec.encode(report))
    producer.run_until(lambda: bool(producer.journal.stand.released), "vouched for")
    _write(world.root / "c")
    world.level()
    world.restart()
    world.ask(AskBuckets((0,), False))
    world.producer.run_until(lambda: len(world.answers()) == 2, "answered")
    later = [message for message in _that_take_away(world, seen)[1:] if getattr(message, "sequence", 2) == 2]
    assert later
    assert {message.released for message in later} == {2}


def _that_take_away(world: World, seen: int = 0) -> list[Batch | Heartbeat | Same | BucketRows]:
    found = world.messages()[seen:] + world.answers()[min(seen, 1) :]
    return [message for message in found if isinstance(message, Batch | Heartbeat | Same | BucketRows)]
