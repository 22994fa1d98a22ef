"""A replica that missed something asks what changed since it was level, and is level again, whatever becomes of the answer."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.messages import AskBodies, AskBuckets, AskDigests, AskSince, Question, Since, TooOld
from common.wire.codec import encode
from consumer import gathering
from consumer.asking import SINCE_TIMEOUT_SECONDS
from consumer.service import SPOOL_NAME
from consumer.state import State
from tests.memory_place import memory_place
from tests.running_consumer import ROUND_SECONDS, Content, Running, many


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with memory_place(tmp_path) as place, Running(place, monkeypatch) as running:
        running.say(running.master.batch(many(300)))
        running.level()
        running.questions.clear()
        yield running


def miss(running: Running, changes: int = 100) -> None:
    """The replica misses a batch: files that are new, changed and gone."""
    tree: dict[bytes, Content] = {b"d/%04d" % n: b"changed" if n % 2 else None for n in range(changes)}
    running.master.batch(tree | {b"e": 0o700, b"e/new": b"n", b"l": "e"})


def asked(running: Running) -> list[Any]:
    """What was asked, contents aside."""
    return [question.ask for question in running.questions if not isinstance(question.ask, AskBodies)]


def kinds(running: Running) -> list[type]:
    return [type(ask) for ask in asked(running)]


def test_a_gap_is_healed_by_one_question_from_where_the_replica_was_level(running: Running) -> None:
    was = running.master.sequence
    miss(running)
    running.level()
    assert asked(running) == [AskSince(was)]
    assert not running.alarms
    assert not (running.settings.state / SPOOL_NAME).exists()


def test_two_gaps_are_healed_from_the_first(running: Running) -> None:
    """What the first gap hid is in the answer to the question that the second one made the replica ask anew."""
    was = running.master.sequence
    running.answer = lambda question: []
    miss(running)
    running.say(running.master.heartbeat())
    running.until(lambda: running.questions)
    miss(running, 50)
    running.say(running.master.heartbeat())
    running.until(lambda: len(running.questions) > 1)
    running.answer = None
    running.level()
    assert set(asked(running)) == {AskSince(was)}


def test_an_answer_in_parts_is_merged_in_slices_between_which_live_changes_land(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long an answer is, one step places no more than a slice of it, and a batch waits for one step."""
    monkeypatch.setattr(gathering, "SLICE_ROWS", 20)
    placed: list[int] = []
    commit = State.commit

    def spied(self: State, step: Any, *args: Any, **more: Any) -> None:
        placed.append(len(step.want))
        commit(self, step, *args, **more)

    monkeypatch.setattr(State, "commit", spied)
    running.master.part_rows = 7
    miss(running, 300)
    running.say(running.master.heartbeat())
    running.until(lambda: running.replica._follower.is_merging)
    stale = len(running.state.standing().stale)
    running.say(running.master.batch({b"d/0001": b"changed again", b"d/0002": b"back", b"live": b"l"}))
    running.until((running.root / "live").exists)
    assert 0 < len(running.state.standing().stale) < stale
    running.level()
    assert max(placed) <= 20
    assert sum(placed) >= 300
    assert kinds(running) == [AskSince]


def test_without_contents_in_the_answer_they_are_asked_for(running: Running) -> None:
    running.answer = lambda question: map(encode, map(without_bodies, running.master.answers(question)))
    miss(running)
    running.level()
    assert [type(question.ask) for question in running.questions] == [AskSince, AskBodies]


def without_bodies(answer: Any) -> Any:
    if isinstance(answer, Since):
        return replace(answer, rows=tuple(row._replace(body=None) for row in answer.rows))
    return answer


def test_a_log_that_does_not_go_back_so_far_leaves_the_buckets(running: Running) -> None:
    running.master.forget_log()
    miss(running)
    running.master.forget_log()
    running.level()
    assert kinds(running)[:2] == [AskSince, AskDigests]
    assert set(kinds(running)[2:]) == {AskBuckets}


def test_too_old_that_names_nothing_as_too_old_is_believed_for_what_was_asked(running: Running) -> None:
    """Nothing is asked for ever in the same words."""

    def too_old(question: Question) -> Iterable[bytes]:
        answers = running.master.answers(question)
        if isinstance(question.ask, AskSince):
            about = (running.master.lineage, question.replica, question.nonce, running.master.sequence)
            answers = [TooOld(*about, 0)]
        return map(encode, answers)

    running.answer = too_old
    miss(running)
    running.level()
    assert kinds(running)[:2] == [AskSince, AskDigests]


def test_a_torn_answer_is_alarmed_and_asked_for_again(running: Running) -> None:
    torn: list[int] = []

    def tear(question: Question) -> Iterable[bytes]:
        answers = running.master.answers(question)
        if isinstance(answers[0], Since) and not torn:
            torn.append(1)
            answers[0] = replace(answers[0], rows=answers[0].rows[1:])
        return map(encode, answers)

    running.answer = tear
    running.master.part_rows = 10
    miss(running)
    running.level()
    assert running.counted("refused_total", "torn-answer") == 1
    assert kinds(running) == [AskSince, AskSince]


def test_a_part_that_is_lost_makes_it_ask_again(running: Running) -> None:
    lost: list[int] = []

    def lose(question: Question) -> Iterable[bytes]:
        answers = running.master.answers(question)
        if isinstance(question.ask, AskSince) and not lost:
            lost.append(1)
            del answers[1]
        return map(encode, answers)

    running.answer = lose
    running.master.part_rows = 10
    miss(running)
    running.level()
    assert kinds(running) == [AskSince, AskSince]


def test_a_question_that_nobody_answers_gives_the_digests_their_turn(running: Running) -> None:
    running.answer = lambda question: (
        [] if isinstance(question.ask, AskSince) else map(encode, running.master.answers(question))
    )
    miss(running)
    running.say(running.master.heartbeat())
    rounds = int((sum(SINCE_TIMEOUT_SECONDS) + 5) / ROUND_SECONDS)
    running.until(lambda: running.is_level, rounds=rounds)
    running.check_equal()
    assert kinds(running)[:3] == [AskSince, AskSince, AskDigests]


def test_an_answer_that_drives_batches_out_of_the_queue_again_and_again_gives_the_buckets_their_turn(
    running: Running,
) -> None:
    """What is pushed whole may be more than a queue holds: the gap that it leaves must not bring the same answer again."""

    def too_much(question: Question) -> Iterable[bytes]:
        found = list(map(encode, running.master.answers(question)))
        if not isinstance(question.ask, AskSince):
            return found
        running.master.batch({b"d/%04d" % len(running.questions): b"driven out"})
        return [*found[:1], running.master.heartbeat()]

    running.answer = too_much
    running.master.part_rows = 10
    miss(running)
    running.level()
    assert kinds(running)[:3] == [AskSince, AskSince, AskDigests]


def test_while_an_answer_is_merged_nothing_else_is_asked(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "SLICE_ROWS", 1)
    miss(running, 300)
    running.level()
    assert kinds(running) == [AskSince]


def test_a_restart_in_the_middle_of_an_answer_keeps_what_is_level_and_asks_from_the_same_base(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "SLICE_ROWS", 20)
    was = running.master.sequence
    miss(running, 300)
    running.say(running.master.heartbeat())
    running.until(lambda: running.replica._follower.is_merging)
    running.turn(3)
    stale = set(running.state.standing().stale)
    running.restart()
    assert set(running.state.standing().stale) == stale
    assert not (running.settings.state / SPOOL_NAME).exists()
    running.level()
    assert asked(running) == [AskSince(was)] * 2
