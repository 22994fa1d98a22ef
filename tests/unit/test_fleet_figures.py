"""What the metrics say of the fleet: rows by replica, bounded, and the counts."""

import math
import re

from common.entries import Position
from common.figures import Row
from common.metrics import METRICS, REPLICAS_LISTED
from producer.fleet_figures import label_names, tables
from producer.fleet_view import FleetView, ReplicaView, Word
from producer.roster import Member

HERE = Position(7, 100)
LIMIT_SECONDS = 120.0


def replica(
    name: str,
    word: Word = Word.EQUAL,
    *,
    lag: float | None = 0.0,
    state: str = "following",
    details: dict[str, object] | None = None,
    labels: dict[str, str] | None = None,
) -> ReplicaView:
    member = Member(name, labels or {}, heard=5.0, version="1.2", wire=1)
    return ReplicaView(name, word, HERE, HERE, lag, 3.0, 5.0, True, state, 0, member, details or {})


def rows(metric: str, *replicas: ReplicaView) -> list[Row]:
    return list(tables(FleetView(HERE, replicas), LIMIT_SECONDS)[metric])


def test_each_replica_has_its_rows() -> None:
    """What it reported, and what is known of it."""
    paris = replica("paris", Word.PROBLEM, lag=2.5, details={"unmet_problem": 4})
    of_paris = {"replica": "paris"}
    assert rows("replica_position", paris) == [Row(of_paris, 100)]
    assert rows("replica_lag_seconds", paris) == [Row(of_paris, 2.5)]
    assert rows("replica_heard_seconds", paris) == [Row(of_paris, 3.0)]
    assert rows("replica_problems", paris) == [Row(of_paris, 4)]
    assert rows("replica_state", paris) == [Row({**of_paris, "state": "problem"}, 1)]
    assert rows("replica_info", paris) == [Row({**of_paris, "version": "1.2", "wire": "1"}, 1)]


def test_a_lag_that_cannot_be_told_is_beyond_every_limit() -> None:
    assert rows("replica_lag_seconds", replica("a", Word.BEHIND, lag=None)) == [Row({"replica": "a"}, math.inf)]


def test_of_one_that_never_reported_there_is_no_position_and_no_count_of_problems() -> None:
    """0 would be taken for a fact."""
    new = replica("a", Word.NEW, state="")
    assert rows("replica_position", new) == rows("replica_problems", new) == []
    assert rows("replica_state", new) == [Row({"replica": "a", "state": "new"}, 1)]


def test_a_count_that_is_none_is_passed_over() -> None:
    """Reports are not trusted."""
    assert rows("replica_problems", replica("a", details={"unmet_problem": "many"})) == [Row({"replica": "a"}, 0)]


def test_labels_become_what_prometheus_allows_and_stay_apart() -> None:
    named = label_names({"a.b": "1", "a-b": "2", "a/b": "3", "region": "eu"})
    assert named == {"label_a_b": "2", "label_a_b_2": "1", "label_a_b_3": "3", "label_region": "eu"}
    assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) for name in named)
    # One that is spelled as another's number.
    assert len(label_names({"a-b": "1", "a.b": "2", "a_b_2": "3"})) == 3
    labelled = replica("a", labels={"region": "eu"})
    assert rows("replica_labels", labelled) == [Row({"replica": "a", "label_region": "eu"}, 1)]


def test_every_word_is_counted_from_the_start() -> None:
    counted = {row.labels["state"]: row.value for row in rows("replicas", replica("a"), replica("b", Word.GONE))}
    assert counted == {**dict.fromkeys(map(str, Word), 0), "equal": 1, "gone": 1}


def test_who_is_behind_is_counted_by_the_limit() -> None:
    """One that is silent is behind; one exactly at the limit is not."""
    fleet = (replica("a", lag=120.0), replica("b", lag=121.0), replica("c", Word.GONE), replica("d", lag=None))
    assert rows("replicas_behind", *fleet) == [Row({}, 3)]


def test_only_so_many_are_told_one_by_one_and_the_counts_are_of_all() -> None:
    fleet = [replica(f"r{number:04}", Word.BEHIND, lag=500.0) for number in range(REPLICAS_LISTED + 5)]
    for metric in ("replica_state", "replica_lag_seconds", "replica_info", "replica_labels"):
        assert len(rows(metric, *fleet)) == REPLICAS_LISTED
    assert rows("replicas_unlisted", *fleet) == [Row({}, 5)]
    assert rows("replicas_behind", *fleet) == [Row({}, REPLICAS_LISTED + 5)]
    assert sum(row.value for row in rows("replicas", *fleet)) == REPLICAS_LISTED + 5


def test_every_table_of_the_metrics_is_filled() -> None:
    assert set(tables(FleetView(HERE, ()), LIMIT_SECONDS)) == {metric.name for metric in METRICS if metric.is_table}
