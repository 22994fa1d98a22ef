"""A replica compares with an epoch on trial, merges nothing of it, and reports what it would change."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.messages import AskBodies, AskBuckets, AskDigests, Question, Trial
from common.wire.codec import encode
from consumer.rekeyed import Rekeyed
from tests import running_consumer
from tests.running_consumer import Master, Running, many

OTHER_SALT = bytes(range(32, 64))


class Trying:
    """A replica that is level with a tree of 300 files at epoch 5, and another master that is on trial."""

    def __init__(self, replica: Running) -> None:
        self.replica = replica
        replica.say(replica.master.batch(many(300)))
        replica.level()
        self.before = replica.state.standing()
        self.asked = len(replica.questions)

    def on_trial(self, master: Master) -> None:
        """From now on questions of its epoch are answered, and it sends a trial."""
        self.master = master
        self.replica.answer = self._answer
        self.send()

    def _answer(self, question: Question) -> list[bytes]:
        master = self.master if question.epoch == self.master.lineage.epoch else self.replica.master
        return [encode(answer) for answer in master.answers(question)]

    def send(self) -> None:
        master = self.master
        digest = master.digests.tree_digest()
        self.replica.say(encode(Trial(master.lineage, master.sequence, digest, 1, 0, "there:1")))

    @property
    def told(self) -> dict[str, Any]:
        return self.replica.reports[-1][1].details

    def counted(self) -> tuple[int, int, int]:
        """What it reports once it is done."""
        self.replica.until(lambda: "trial_deletes" in self.told)
        told = self.told
        assert told["trial_epoch"] == self.master.lineage.epoch
        assert told["trial_digest"] == self.master.digests.tree_digest().hex()
        assert self.replica.state.standing() == self.before, "nothing is followed"
        self.replica.check_equal()
        return told["trial_creates"], told["trial_modifies"], told["trial_deletes"]

    @property
    def questions(self) -> list[Question]:
        """What it asked of the trial."""
        return self.replica.questions[self.asked :]


@pytest.fixture
def trying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trying]:
    with Running(tmp_path, monkeypatch) as replica:
        yield Trying(replica)


def another(epoch: int = 9, **changes: bytes | None) -> Master:
    """The same tree under a later epoch, with these files otherwise."""
    master = Master(epoch)
    master.batch({**many(300), **{f"d/{name}".encode(): content for name, content in changes.items()}})
    return master


def test_an_equal_tree_costs_one_question_and_no_content(trying: Trying) -> None:
    trying.on_trial(another())
    assert trying.counted() == (0, 0, 0)
    assert [type(question.ask) for question in trying.questions] == [AskDigests]


def test_each_path_that_differs_is_counted_and_only_rows_travel(trying: Trying) -> None:
    master = another(new=b"new")
    master.batch({b"d/0001": b"other", b"d/0007": None, b"d/0008": None})
    trying.on_trial(master)
    assert trying.counted() == (1, 1, 2)
    bodies = [question.ask for question in trying.questions if isinstance(question.ask, AskBodies)]
    buckets = [question.ask for question in trying.questions if isinstance(question.ask, AskBuckets)]
    assert not bodies
    assert buckets
    assert not any(ask.bodies for ask in buckets)


def test_another_salt_puts_every_path_into_another_bucket_and_changes_no_count(
    trying: Trying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a lost journal. What was copied for it is gone when it is over."""
    place = trying.replica.state.path.with_name("trial.db")
    monkeypatch.setattr("consumer.rekeyed.PORTION_ROWS", 50)
    monkeypatch.setattr(running_consumer, "SALT", OTHER_SALT)
    rekeyed = Master(9)
    rekeyed.digests = type(rekeyed.digests)(OTHER_SALT)
    rekeyed.lineage = replace(rekeyed.lineage, salt=OTHER_SALT)
    rekeyed.batch({**many(300), b"d/new": b"new", b"d/0003": b"other"})
    trying.on_trial(rekeyed)
    trying.replica.until(place.exists)
    trying.replica.until(lambda: "trial_deletes" in trying.told)
    told = trying.told
    assert (told["trial_creates"], told["trial_modifies"], told["trial_deletes"]) == (1, 1, 0)
    assert trying.replica.state.standing() == trying.before
    trying.replica.clock.now += 61
    trying.replica.until(lambda: not place.exists())


def test_what_the_trial_excludes_is_no_delete_and_its_patterns_are_asked_for_first(trying: Trying) -> None:
    master = another()
    master.exclude("000*")
    trying.on_trial(master)
    assert trying.counted() == (0, 0, 0)
    first = next(question.ask for question in trying.questions if isinstance(question.ask, AskBuckets))
    assert first.bodies
    assert len(first.buckets) == 1


def test_live_batches_land_while_it_is_compared(trying: Trying) -> None:
    replica = trying.replica
    trying.on_trial(another(new=b"new"))
    replica.say(replica.master.batch({b"live": b"live"}))
    replica.until(lambda: replica.is_level)
    replica.until(lambda: "trial_creates" in trying.told)
    replica.check_equal()


def test_another_tree_of_the_same_epoch_is_compared_anew(trying: Trying) -> None:
    master = another(new=b"new")
    trying.on_trial(master)
    assert trying.counted() == (1, 0, 0)
    master.batch({b"d/new": None})
    trying.send()
    trying.replica.until(lambda: trying.told.get("trial_digest") == master.digests.tree_digest().hex())
    assert trying.counted() == (0, 0, 0)


def test_it_is_over_when_the_epoch_is_followed_or_nothing_is_heard_of_it_for_a_minute(trying: Trying) -> None:
    replica = trying.replica
    trying.on_trial(another())
    trying.counted()
    replica.clock.now += 61
    replica.until(lambda: "trial_epoch" not in trying.told)
    trying.send()
    trying.counted()
    replica.say(trying.master.heartbeat())
    replica.until(lambda: "trial_epoch" not in trying.told)
    assert replica.state.standing().epoch == 9
    replica.until(replica.replica._follower.is_agreed)


def test_a_trial_of_an_epoch_that_is_not_above_ours_is_nothing(trying: Trying) -> None:
    trying.on_trial(another(5))
    trying.replica.turn(20)
    assert "trial_epoch" not in trying.told
    assert not trying.questions


def test_a_fork_is_reported_and_its_alarm_says_what_to_type(trying: Trying) -> None:
    replica = trying.replica
    other = Master(5)
    replica.say(other.batch({**many(300), b"d/0001": b"forked"}))
    replica.until(lambda: "fork" in replica.alarms)
    assert "treecast epoch start" in replica.board.alarms()["fork"].what
    replica.until(lambda: replica.reports[-1][1].details.get("forked") is True)


def test_a_file_that_an_earlier_process_left_is_no_part_of_the_copy(trying: Trying, tmp_path: Path) -> None:
    place = tmp_path / "trial.db"
    place.write_bytes(b"rubbish")
    copy = Rekeyed(trying.replica.state.path, place, OTHER_SALT)
    while not copy.is_complete:
        copy.fill()
    rows = [row for bucket in range(4096) for row in copy.rows_of_bucket(bucket)]
    assert len(rows) == trying.replica.state.counts.entries
    copy.close()
    copy.close()
    assert not place.exists()
