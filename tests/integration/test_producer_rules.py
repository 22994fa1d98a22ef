"""The two rules of docs/agreement.md that are the producer's, each kept and each left out: the story must tell the difference.

`deletes-by-name`: a batch names every path below a removed one. `one-read`: an answer's rows are those of the position it states.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.digests import bucket_of
from common.entries import Entry
from common.messages import AskBuckets, BucketRows, Question
from common.wire import codec
from producer.answers import Answers
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
        self.producer = RunningProducer(self.root, base / "state", self.broker)
        self.producer.settle()

    def publish(self, change: Callable[[], object]) -> None:
        """Make a change on the master and wait until something was published for it."""
        before = len(self.broker.events)
        change()
        self.producer.run_until(lambda: len(self.broker.events) > before and self.is_quiet(), "published")

    def is_quiet(self) -> bool:
        return bool(self.producer.board.status()["quiet"])

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
    earlier: dict[int, BucketRows] = {}
    bucket = Answers._bucket

    def stale(self: Answers, question: Question, number: int, with_bodies: bool) -> BucketRows:
        now = bucket(self, question, number, with_bodies)
        before = earlier.setdefault(number, now)
        return BucketRows(now.lineage, now.replica, now.nonce, now.at, number, before.digest, before.rows)

    monkeypatch.setattr(Answers, "_bucket", stale)
    with pytest.raises(AssertionError, match="Entry"):
        answers_after_changes(story)
