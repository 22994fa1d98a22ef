"""The rules of docs/agreement.md that are the producer's, each kept and each left out: the story must tell the difference.

`deletes-by-name`: a batch names every path below a removed one. `one-read`: an answer's rows are those of the position it states.
`too-old`: a base that the change log does not reach back to is not answered. Nor is one beyond the journal's position.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.digests import bucket_of
from common.entries import Entry
from common.messages import Answer, AskBuckets, AskSince, Batch, BucketRows, Question, Since, TooOld
from common.wire import codec
from common.wire.frame import Closed
from producer import changelog
from producer.journal import Journal
from tests.running_producer import TREE, PlainTree, RunningProducer, base_on_disk, entries_on_disk
from tests.twins import MemoryBroker


class Story:
    """A source with one directory, its producer, and a plain tree that follows."""

    def __init__(self, base: Path) -> None:
        self.root = base / "source"
        (self.root / "d").mkdir(parents=True)
        for name in ("a", "b"):
            (self.root / "d" / name).write_text(name)
        (self.root / "stays").write_text("the source is never empty")
        self.broker = MemoryBroker()
        self.plain = PlainTree(base_on_disk(self.root))
        self.state = base / "state"
        self.producer = RunningProducer(self.root, self.state, self.broker)
        self.producer.settle()

    def publish(self, change: Callable[[], object]) -> None:
        """Make a change on the master and wait until something was published for it."""
        before = len(self.broker.events)
        change()
        self.producer.run_until(lambda: len(self.broker.events) > before and self.is_quiet(), "published")

    def is_quiet(self) -> bool:
        return bool(self.producer.board.status()["quiet"])

    def ask_since(self, base: int) -> list[Answer]:
        """What is said to a replica that asks what changed since; it waits a little when nothing is."""
        stand = self.producer.journal.stand
        question = Question(TREE, stand.lineage.epoch, "paris", os.urandom(16), AskSince(base), 0)
        self.broker.say(codec.encode(question))
        self.producer.run_until(self.has_answered, "answered")
        answers = [codec.decode_downstream(body, TREE) for _, body in self.broker.direct]
        self.broker.direct.clear()
        return [one for one in answers if isinstance(one, Since | TooOld)]

    def has_answered(self) -> bool:
        return not self.broker.upstream and self.producer.answerer.wait_seconds() is None

    def ask(self, path: bytes) -> BucketRows:
        """The rows of the bucket that the path is in."""
        stand = self.producer.journal.stand
        question = AskBuckets((bucket_of(stand.lineage.salt, path),), False)
        self.broker.say(codec.encode(Question(TREE, stand.lineage.epoch, "paris", os.urandom(16), question, 0)))
        self.producer.run_until(lambda: bool(self.broker.direct), "answered")
        _, body = self.broker.direct.pop()
        answer = codec.decode_downstream(body, TREE)
        assert isinstance(answer, BucketRows)
        return answer


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    story = Story(tmp_path)
    yield story
    story.producer.crash()


def removal(story: Story) -> None:
    """A directory goes, and the tree that follows the stream is the tree on the disk."""
    story.publish(lambda: shutil.rmtree(story.root / "d"))
    story.plain.follow(story.broker)
    assert story.plain.entries() == entries_on_disk(story.root)


def answers_after_changes(story: Story) -> None:
    """Rows asked for after each change are those of the position that the answer states."""
    path, at = b"d/a", {}
    for text in ("one", "two", "three"):
        story.publish(lambda text=text: (story.root / "d" / "a").write_text(text))  # type: ignore[misc]
        story.plain.follow(story.broker)
        at[story.producer.journal.stand.sequence] = story.plain.entries()[path]
        answer = story.ask(path)
        rows: dict[bytes, Entry | None] = {row.path: row.entry for row in answer.rows}
        assert rows[path] == at[answer.at]


def test_a_removed_directory_is_named_with_all_that_was_in_it(story: Story) -> None:
    removal(story)


def test_without_the_names_below_the_follower_is_left_with_what_has_no_directory(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "below", lambda self, path: [])
    monkeypatch.setattr(story.producer.pipeline._comparer, "hint", _only_directories(story))
    with pytest.raises(KeyError, match="b'd'"):
        removal(story)


def _only_directories(story: Story) -> Callable[..., None]:
    """The watcher names each file too; here only the directory is hinted at, as after an overflow."""
    hint = story.producer.pipeline._comparer.hint

    def only(path: bytes, now: float, **options: Any) -> None:
        if b"/" not in path:
            hint(path, now, **options)

    return only


def test_an_answer_shows_the_rows_of_the_position_it_states(story: Story) -> None:
    answers_after_changes(story)


def test_rows_of_an_earlier_read_are_noticed(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier: dict[int, tuple[bytes, Closed]] = {}
    encode_closed = codec.encode_closed

    def stale(answer: Answer, closed: Closed) -> bytes:
        assert isinstance(answer, BucketRows)
        digest, frame = earlier.setdefault(answer.bucket, (answer.digest, closed))
        return encode_closed(replace(answer, digest=digest), frame)

    monkeypatch.setattr(codec, "encode_closed", stale)
    with pytest.raises(AssertionError, match="Entry"):
        answers_after_changes(story)


def caught_up(story: Story) -> None:
    """Whoever asks since a position at which it was level has the tree of now, or hears that it must ask otherwise."""
    trees = {story.producer.journal.stand.sequence: entries_on_disk(story.root)}
    for turn in range(12):
        name = story.root / (f"file-{turn}" if turn % 3 else "comes and goes")
        story.publish(lambda name=name: name.unlink() if name.exists() else name.write_text("x"))  # type: ignore[misc]
        trees[story.producer.journal.stand.sequence] = entries_on_disk(story.root)
        for base, tree in trees.items():
            for answer in story.ask_since(base):
                if isinstance(answer, Since):
                    told = {row.path: row.entry for row in answer.rows}
                    merged = {path: entry for path, entry in (tree | told).items() if entry is not None}
                    assert merged == entries_on_disk(story.root)


@pytest.fixture
def short_log(story: Story) -> Story:
    """A producer whose log holds eight changes."""
    story.producer.journal._log_limit_rows = 8
    return story


def test_who_was_away_catches_up_or_hears_that_it_was_too_long(short_log: Story) -> None:
    caught_up(short_log)
    first = short_log.producer.journal.stand.sequence - 12
    assert [type(one) for one in short_log.ask_since(first)] == [TooOld]


def test_without_too_old_what_left_the_log_is_missing(short_log: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog, "reach", lambda database: 0)
    with pytest.raises(AssertionError):
        caught_up(short_log)


def test_an_answer_to_since_brings_the_contents_along(story: Story) -> None:
    base = story.producer.journal.stand.sequence
    story.publish(lambda: (story.root / "d" / "a").write_text("changed"))
    (answer,) = story.ask_since(base)
    assert isinstance(answer, Since)
    assert [(row.path, row.body) for row in answer.rows] == [(b"d/a", b"changed")]


def test_what_was_published_beyond_the_journal_is_alarmed_and_not_answered(story: Story) -> None:
    base = story.producer.journal.stand.sequence + 5
    assert story.ask_since(base) == []
    assert story.producer.alarms() == {"journal-behind"}


def test_a_crash_between_journal_and_broker_leaves_log_and_outbox_of_one_position(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was journaled and not published goes out at the next start; the log has it once, in the epoch it was numbered in."""
    monkeypatch.setattr(story.producer.publisher, "_deliver", lambda message: None)
    before = story.producer.journal.stand
    (story.root / "new").write_text("new")
    story.producer.run_until(lambda: story.producer.journal.stand.sequence > before.sequence, "journaled")
    story.producer.crash()
    story.producer = RunningProducer(story.root, story.state, story.broker)
    story.producer.settle()
    rows = list(changelog.history(story.producer.journal._database, b"new"))
    assert [(row.epoch, row.what) for row in rows] == [(before.lineage.epoch, "create")]
    batches = [codec.decode_downstream(body, TREE) for body in story.broker.events]
    assert [b.first for b in batches if isinstance(b, Batch)] == [row.sequence for row in rows]
    assert [type(one) for one in story.ask_since(before.sequence)] == [TooOld]
