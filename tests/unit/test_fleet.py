from dataclasses import replace
from typing import Any

import pytest

from common.entries import Position
from common.messages import AskDigests, Lineage, Question, ReplicaState, Report
from producer.fleet import Fleet, Reply

SECOND = 1_000_000_000
OURS = Lineage("music", 7, bytes(16), bytes(32))
EQUAL = Report("music", "paris", OURS.instance, Position(OURS.epoch, 3), True, ReplicaState.FOLLOWING, 0, "1.0", 1)


def _report(state: ReplicaState = ReplicaState.FOLLOWING, epoch: int = 7, sent: int = 0) -> Report:
    return Report("music", "paris", bytes(16), Position(epoch, 3), True, state, 0, "1.0", 1, sent * SECOND)


def _question(epoch: int = 7, sent: int = 0) -> Question:
    return Question("music", epoch, "paris", bytes(16), AskDigests(()), sent * SECOND)


def test_a_queue_is_made_once_for_a_replica_that_speaks() -> None:
    fleet = Fleet()
    fleet.hear(_report(), OURS, 0.0)
    fleet.hear(_question(), OURS, 0.0)
    assert fleet.take_queueless() == ["paris"]
    assert fleet.take_queueless() == []


def test_a_queue_is_made_again_when_it_is_missed_or_a_message_came_back() -> None:
    fleet = Fleet()
    fleet.hear(_report(), OURS, 0.0)
    fleet.take_queueless()
    fleet.hear(_report(ReplicaState.NO_QUEUE), OURS, 0.0)
    assert fleet.take_queueless() == ["paris"]
    fleet.lost_queue("paris")
    fleet.lost_queue("rome")
    assert fleet.take_queueless() == ["paris"]


def test_a_question_of_our_epoch_is_answered_and_one_of_another_told_where_we_are() -> None:
    fleet = Fleet()
    assert fleet.hear(_question(), OURS, 0.0) is Reply.ANSWER
    assert fleet.hear(_question(epoch=6), OURS, 0.0) is Reply.HEARTBEAT
    assert fleet.hear(_question(epoch=8), OURS, 0.0) is Reply.HEARTBEAT


def test_a_replica_that_follows_a_higher_epoch_is_proof_of_another_producer() -> None:
    fleet = Fleet()
    assert fleet.hear(_report(epoch=7), OURS, 0.0) is Reply.NOTHING
    assert fleet.hear(_report(epoch=8), OURS, 0.0) is Reply.STEP_DOWN


def test_so_is_one_that_follows_our_epoch_as_somebody_else_drew_it() -> None:
    """It drops whatever we publish, and would do so for ever."""
    fleet = Fleet()
    assert fleet.hear(_report(epoch=7), replace(OURS, instance=b"another instance"), 0.0) is Reply.STEP_DOWN
    assert fleet.hear(_report(epoch=6), replace(OURS, instance=b"another instance"), 0.0) is Reply.NOTHING


def test_a_question_is_old_by_the_clock_of_the_replica_that_asked_alone() -> None:
    fleet = Fleet()
    years_away = 10 * 365 * 86400
    question = _question(sent=years_away)
    fleet.hear(question, OURS, 0.0)
    assert not fleet.is_old(question.replica, question.unix_ns)
    fleet.hear(_report(sent=years_away + 60), OURS, 1.0)
    assert not fleet.is_old(question.replica, question.unix_ns)
    fleet.hear(_report(sent=years_away + 61), OURS, 1.0)
    assert fleet.is_old(question.replica, question.unix_ns)


def test_a_new_tree_is_vouched_for_by_a_replica_that_is_equal_while_none_has_another() -> None:
    fleet = Fleet()
    assert not fleet.vouches(OURS, 3)
    other = replace(EQUAL, replica="rome", position=Position(OURS.epoch - 1, 9), agreed=False)
    fleet.hear(replace(EQUAL, agreed=False), OURS, 0)
    assert not fleet.vouches(OURS, 3)
    fleet.hear(EQUAL, OURS, 0)
    assert fleet.vouches(OURS, 3)
    fleet.hear(other, OURS, 0)
    assert not fleet.vouches(OURS, 3)
    fleet.hear(replace(other, position=Position(0, 0)), OURS, 0)
    assert fleet.vouches(OURS, 3)


@pytest.mark.parametrize(
    "reservation", [{"stale_buckets": 1}, {"details": {"unmet_held": 60}}, {"details": {"forked": True}}]
)
def test_nobody_vouches_for_a_new_tree_while_another_replica_keeps_or_may_keep_what_is_gone_from_it(
    reservation: dict[str, Any],
) -> None:
    fleet = Fleet()
    fleet.hear(EQUAL, OURS, 0)
    other = replace(EQUAL, replica="rome", agreed=False)
    fleet.hear(replace(other, **reservation), OURS, 0)
    assert not fleet.vouches(OURS, 3)
    fleet.hear(replace(other, details={"unmet_problem": 2}), OURS, 0)
    assert fleet.vouches(OURS, 3)


def test_a_fork_is_told_by_who_saw_it_or_stands_where_we_never_were_and_is_over_with_the_next_epoch() -> None:
    fleet = Fleet()
    fleet.hear(EQUAL, OURS, 0)
    assert fleet.forked(OURS, 3) == []
    assert fleet.forked(OURS, 2) == ["paris"]
    assert not fleet.vouches(OURS, 2)
    fleet.hear(replace(EQUAL, replica="rome", details={"forked": True}), OURS, 0)
    assert fleet.forked(OURS, 3) == ["rome"]
    assert fleet.forked(replace(OURS, epoch=OURS.epoch + 1), 3) == []
