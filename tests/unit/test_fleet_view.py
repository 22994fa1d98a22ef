"""A word and a lag for each replica."""

from dataclasses import replace
from typing import Any

import pytest

from common.entries import Position
from common.labels import parse_selector
from common.messages import Lineage, ReplicaState, Report
from producer.fleet_view import GONE_SECONDS, Heard, Word, see, told
from producer.roster import Member

OURS = Lineage("t", 7, b"i" * 16, bytes(32))
HERE = Position(7, 100)


def report(**changes: Any) -> Report:
    details = changes.pop("details", {})
    known = Report("t", "paris", OURS.instance, HERE, True, ReplicaState.FOLLOWING, 0, "1.0", 1, details=details)
    return replace(known, **changes)


def heard(one: Report | None, *, silent: float = 1.0, level: Position = HERE, **member: Any) -> Heard:
    return Heard(Member("paris", heard=5.0, added=1.0, level=level, **member), one, silent)


def lag(level: Position) -> float | None:
    """An event a second: what comes after sequence n was published 100 - n seconds ago."""
    return float(HERE.sequence - level.sequence) if level.sequence <= HERE.sequence else None


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (heard(report()), Word.EQUAL),
        (heard(report(agreed=False)), Word.BEHIND),
        (heard(report(position=Position(7, 90)), level=Position(7, 90)), Word.BEHIND),
        (heard(report(position=Position(6, 100))), Word.BEHIND),
        (heard(report(instance=b"o" * 16)), Word.BEHIND),
        (heard(report(stale_buckets=3, agreed=False)), Word.COPYING),
        (heard(report(position=Position(0, 0), agreed=False), level=Position(0, 0)), Word.COPYING),
        (heard(report(agreed=False, details={"unmet_problem": 2})), Word.PROBLEM),
        (heard(report(agreed=False, details={"unmet_problem": 2, "unmet_held": 1})), Word.HELD),
        (heard(report(agreed=False, state=ReplicaState.WAITING)), Word.WAITING),
        (heard(report(agreed=False, state=ReplicaState.HALTED)), Word.HALTED),
        (heard(report(agreed=False, details={"forked": True})), Word.FORKED),
        (heard(report(), silent=GONE_SECONDS), Word.GONE),
        (heard(None), Word.BEHIND),
        (Heard(Member("paris", added=1.0), None, 1000.0), Word.NEW),
    ],
)
def test_each_has_the_word_that_says_most(one: Heard, word: Word) -> None:
    (view,) = see([one], OURS, HERE, lag, 50.0).replicas
    assert view.word is word


def test_one_that_stands_where_we_were_never_has_nothing_of_ours() -> None:
    """It followed another producer under our epoch: it says agreed, of another tree."""
    ahead = heard(report(position=Position(7, 101)), level=Position(7, 101))
    (view,) = see([ahead], OURS, HERE, lag, 50.0).replicas
    assert view.word is Word.FORKED
    assert not view.has(Position(7, 100))


def test_the_lag_is_the_age_of_the_oldest_event_that_is_not_durable_there() -> None:
    """By the last position at which nothing was stale: a replica that moves on with stale buckets gets no nearer."""
    stale = heard(report(stale_buckets=1, agreed=False), level=Position(7, 60))
    (view,) = see([stale], OURS, HERE, lag, 50.0).replicas
    assert view.lag_seconds == 40.0
    assert view.is_behind(30.0)
    assert not view.is_behind(60.0)


def test_one_that_never_was_level_lacks_everything_since_it_was_added() -> None:
    (view,) = see([heard(report(stale_buckets=9, agreed=False), level=Position(0, 0))], OURS, HERE, lag, 50.0).replicas
    assert view.lag_seconds == 49.0


def test_an_ephemeral_one_counts_only_while_it_speaks() -> None:
    assert see([heard(report(), silent=GONE_SECONDS, is_ephemeral=True)], OURS, HERE, lag, 50.0).replicas == ()
    assert len(see([heard(report(), is_ephemeral=True)], OURS, HERE, lag, 50.0).replicas) == 1


def test_the_sum_names_the_position_up_to_which_every_equal_one_has_everything() -> None:
    near = heard(report(position=Position(7, 100)))
    nearer = Heard(
        Member("rome", heard=5.0, level=Position(7, 99), labels={"region": "it"}), report(position=Position(7, 99)), 1.0
    )
    fleet = see([nearer, near], OURS, HERE, lambda level: 0.1 * (100 - level.sequence), 50.0)
    assert [one.name for one in fleet.replicas] == ["paris", "rome"]
    assert (len(fleet.equal), fleet.equal_at) == (2, 99)
    assert [one.name for one in fleet.selected(parse_selector("region=it")).replicas] == ["rome"]
    assert told(fleet)["replicas"]["rome"]["labels"] == {"region": "it"}


def test_whether_it_has_a_position_is_its_own_proof_alone() -> None:
    (view,) = see([heard(report(position=Position(7, 90)))], OURS, HERE, lag, 50.0).replicas
    assert view.has(Position(7, 90))
    assert not view.has(Position(7, 91))
    assert view.has(Position(6, 1000))
    assert not view.has(Position(8, 1))


def test_what_a_replica_says_of_its_problems_is_bounded() -> None:
    wild = {"problems": ["x" * 10_000, 7, *["y"] * 100]}
    (view,) = see([heard(report(details=wild))], OURS, HERE, lag, 50.0).replicas
    assert len(view.problems) == 20
    assert len(view.problems[0]) == 500
