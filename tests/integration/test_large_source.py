"""Large files on the master's side: hashed beside the loop, told without their content, read in parts."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.digests import content_digest
from common.messages import INLINE_LIMIT_BYTES, PART_BYTES, AskBodies, AskBuckets, AskParts, BucketRows, PartAnswer
from producer import hashing, numbering
from producer.values import Change, Identity
from producer.watch.choice import NoWatch
from tests.integration.test_pipeline import World
from tests.running_producer import PlainTree, RunningProducer, base_on_disk

LARGE = os.urandom(INLINE_LIMIT_BYTES + PART_BYTES + 5)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.crash()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The hashing thread stands before each file until this is set."""
    gate = threading.Event()
    hashed = hashing.HashingThread._hash

    def wait(self: hashing.HashingThread, path: bytes, file: int) -> hashing.Finished:
        gate.wait(30)
        return hashed(self, path, file)

    monkeypatch.setattr(hashing.HashingThread, "_hash", wait)
    yield gate
    gate.set()


def parts_of(world: World, path: bytes, digest: bytes) -> bytes:
    """What the producer answers when all parts of a content are asked for."""
    world.broker.direct.clear()
    world.ask(AskParts(path, digest, 0, 100))
    size = len(LARGE)
    world.producer.run_until(lambda: len(world.broker.direct) * PART_BYTES >= size, "answered")
    answers = [answer for answer in world.answers() if isinstance(answer, PartAnswer)]
    assert [answer.offset for answer in answers] == list(range(0, size, PART_BYTES))
    return b"".join(answer.content for answer in answers)


def test_a_large_file_is_told_without_its_content_and_answered_in_parts(world: World) -> None:
    world.start()
    (world.root / "large").write_bytes(LARGE)
    world.level()
    (event,) = [event for batch in world.batches() for event in batch.events]
    assert event.entry is not None
    assert event.body is None
    assert event.entry.digest == content_digest(LARGE)
    assert parts_of(world, b"large", event.entry.digest) == LARGE


def test_small_changes_do_not_wait_for_a_file_that_is_hashed(world: World, gate: threading.Event) -> None:
    """While a large file is being hashed, what comes after it is published; it follows when its digest is known."""
    world.start()
    (world.root / "large").write_bytes(LARGE)
    world.producer.run_until(lambda: len(world.producer.pipeline._comparer.unhashed) > 0, "found")
    (world.root / "small").write_text("small")
    world.producer.run_until(lambda: world.followed() == {b"small"}, "published")
    assert not world.producer.board.status()["quiet"]
    gate.set()
    world.level()


def test_the_base_is_complete_only_when_its_large_files_are_hashed(world: World, gate: threading.Event) -> None:
    """Many large files in a new tree are part of its base: no event tells them, and nothing is announced before."""
    for number in range(20):
        (world.root / f"large{number}").write_bytes(LARGE + bytes([number]))
    (world.root / "small").write_text("small")
    world.has_started, world.plain = True, PlainTree(base_on_disk(world.root))
    producer = world.running = RunningProducer(world.root, world.state, world.broker)
    producer.run_until(lambda: producer.journal.stand.entries == 1, "the small one is in it")
    for _ in range(20):
        producer.step()
    assert not producer.journal.is_base_complete
    gate.set()
    world.level()
    assert producer.journal.stand.entries == 21
    assert not world.batches()


def test_a_file_that_changes_while_it_is_hashed_ends_as_it_is(world: World, gate: threading.Event) -> None:
    """What was hashed and then changed is not told: only states that the file really had, and the last one in the end."""
    world.start()
    (world.root / "large").write_bytes(LARGE)
    world.producer.run_until(lambda: len(world.producer.pipeline._comparer.unhashed) > 0, "found")
    with (world.root / "large").open("r+b") as file:
        file.write(b"other")
    gate.set()
    world.level()
    digests = {event.entry.digest for batch in world.batches() for event in batch.events if event.entry}
    assert digests == {content_digest(b"other" + LARGE[5:])}


def test_a_new_mode_time_or_name_carries_no_content(world: World) -> None:
    """chmod, touch and rename of large files are told in a few bytes."""
    (world.root / "d").mkdir()
    for number in range(3):
        (world.root / "d" / f"large{number}").write_bytes(LARGE + bytes([number]))
    world.start()
    (world.root / "d" / "large0").chmod(0o600)
    os.utime(world.root / "d" / "large1", (1, 1))
    (world.root / "d").rename(world.root / "e")
    world.level()
    assert sum(map(len, world.broker.events)) < 20_000
    assert all(event.body is None for batch in world.batches() for event in batch.events)


def test_bucket_and_body_answers_never_carry_a_large_content(world: World) -> None:
    (world.root / "large").write_bytes(LARGE)
    (world.root / "small").write_text("small")
    producer = world.start()
    stand = producer.journal.stand
    buckets = tuple(bucket for bucket in range(4096) if stand.digests.of(bucket) != bytes(32))
    digest = content_digest(LARGE)
    world.ask(AskBodies(((b"large", digest), (b"small", content_digest(b"small")))))
    world.ask(AskBuckets(buckets, True))
    producer.run_until(lambda: len(world.broker.direct) == 1 + len(buckets), "answered")
    rows = {row.path: row.body for answer in world.answers() if isinstance(answer, BucketRows) for row in answer.rows}
    assert rows == {b"large": None, b"small": b"small"}


def test_a_doubted_content_is_hashed_again_and_told_as_it_is(world: World) -> None:
    """A file whose bytes changed under its times (a bad disk) is found when a replica says that the whole does not match."""
    (world.root / "large").write_bytes(LARGE)
    producer = world.start(watch=NoWatch(lambda: None, "as told"), scan_interval_seconds=3600)
    other = b"other" + LARGE[5:]
    (world.root / "large").write_bytes(other)
    # As a bad disk would have it: the identity and the times that the index knows, and other bytes.
    found = os.lstat(world.root / "large")
    row = producer.journal.entries([b"large"])[b"large"]
    numbered = numbering.apply(
        producer.journal.stand,
        [
            Change(
                b"large",
                row.entry,
                row.entry._replace(mtime_ns=found.st_mtime_ns),
                None,
                Identity(found.st_ino, found.st_ctime_ns),
            )
        ],
    )
    producer.journal.commit_base(numbered)
    world.ask(AskParts(b"large", row.entry.digest, 0, 1, is_doubted=True))
    producer.run_until(lambda: bool(world.batches()), "told")
    (event,) = world.batches()[0].events
    assert event.entry is not None
    assert event.entry.digest == content_digest(other)
