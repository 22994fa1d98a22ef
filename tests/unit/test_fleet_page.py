"""How the fleet reads, and which exit code that is."""

from typing import Any

import pytest

from treecast import fleet_page
from treecast.status_report import code_of, report, selected

VERSION = "version 1.0, wire 1"
NOON = 43_200.0


def at(unix: float) -> str:
    return f"{unix // 3600:02.0f}:00"


def one(word: str = "equal", **more: Any) -> dict[str, Any]:
    return {
        "word": word, "position": {"epoch": 7, "sequence": 481_223}, "agreed": word == "equal", "lag_seconds": 0.0,
        "age_seconds": 1.0, "heard": NOON, "labels": {}, "ephemeral": False, "version": "1.0", "wire": 1,
        "stale_buckets": 0, "problems": [], "details": {}, **more,
    }  # fmt: skip


def fleet(**replicas: dict[str, Any]) -> dict[str, Any]:
    equal = [name for name, told in replicas.items() if told["word"] == "equal"]
    return {
        "role": "producer", "tree": "t", "state": "leading", "position": {"epoch": 7, "sequence": 481_223},
        "replicas": replicas, "equal": len(equal), "of": len(replicas), "equal_at": 481_223, "max_lag_seconds": 120.0,
    }  # fmt: skip


def test_the_sentence_counts_and_names_who_is_gone() -> None:
    told = fleet(**{f"r{number}": one() for number in range(297)}, a=one("copying"), b=one("copying"), fra7=one("gone"))
    assert fleet_page.sentence(told, at) == "297 of 300 equal at 481,223; 1 gone: fra7 since 12:00, 2 copying"


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (fleet(), "no replica yet; add one: treecast replica add ID"),
        (fleet(a=one()), "all 1 equal at 481,223"),
        (fleet(a=one("new")), "none of 1 equal; 1 never heard of: a"),
        (fleet(a=one(), b=one("problem")), "1 of 2 equal at 481,223; 1 with problems"),
    ],
)
def test_the_sentence_in_other_cases(told: dict[str, Any], text: str) -> None:
    assert fleet_page.sentence(told, at) == text


@pytest.mark.parametrize(
    ("deaf", "leading", "note"),
    [
        (("connecting", "refused: 127.0.0.1"), False, "the broker is away"),
        (("blocked", "low on memory"), True, "the broker takes nothing"),
        (("missing", ""), False, "the queue that replicas speak into is not there"),
        (("refused", "ACCESS"), False, "the broker refuses this account"),
        (("held", "mars:7"), False, "this producer does not lead, mars:7 does"),
        (("held", ""), False, "this producer does not lead, another does"),
        (("held", "mars:7"), True, "mars:7 still has the queue that replicas speak into"),
    ],
)
def test_where_nobody_can_be_heard_that_comes_first(deaf: tuple[str, str], leading: bool, note: str) -> None:
    away = {"since": NOON, "phase": deaf[0], "detail": deaf[1]}
    told = {**fleet(a=one()), "deaf": away, "leading": leading}
    first = f"nothing is heard since 12:00: {note}; as it was heard last: all 1 equal at 481,223"
    assert report({**told, "uptime_seconds": 1}, at).splitlines()[0] == first
    assert code_of(told) == 1, "nobody knows"
    assert code_of({**told, "held": 1}) == 4


def test_a_producer_that_never_heard_anybody_says_that_too() -> None:
    away = {"since": None, "phase": "connecting", "detail": ""}
    told = {**fleet(), "deaf": away}
    assert fleet_page.sentence(told, at).startswith("nothing is heard yet: the broker is away; ")


def test_who_is_not_equal_has_a_line_and_all_have_one_when_asked_for() -> None:
    told = fleet(
        a=one(), b=one("copying", stale_buckets=12, lag_seconds=130.0, details={"seconds_left": 40}), c=one("gone")
    )
    assert fleet_page.lines(told, at) == [
        f"  c  gone since 12:00, {VERSION}",
        f"  b  copying, lacks what is 2 min 10 s old (over its limit), 12 buckets to compare, about 40 s left, {VERSION}",
    ]
    assert len(fleet_page.lines(told, at, is_all=True)) == 3


def test_of_three_hundred_only_some_have_lines_and_the_rest_is_counted() -> None:
    told = fleet(**{f"r{number}": one("behind") for number in range(300)})
    shown = fleet_page.lines(told, at)
    assert len(shown) == fleet_page.LISTED + 1
    assert shown[-1] == "  and 270 more that are not equal; see: treecast status --all"


@pytest.mark.parametrize("left", ["soon", -1, float("inf"), float("nan"), 1e300, None, True])
def test_a_time_left_that_is_none_is_not_shown(left: object) -> None:
    """It is the word of a replica, and may be anything."""
    assert "left" not in fleet_page.replica_line(one("copying", details={"seconds_left": left}), at, 120.0)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (fleet(a=one()), 0),
        (fleet(a=one("copying", lag_seconds=119.0)), 0),
        (fleet(a=one("copying", lag_seconds=121.0)), 1),
        (fleet(a=one("behind", lag_seconds=None)), 1),
        (fleet(a=one(), b=one("gone")), 1),
        (fleet(a=one("new")), 1),
        (fleet(a=one("gone"), b=one("held")), 4),
        (fleet(a=one("halted")), 4),
        ({**fleet(a=one()), "held": 3}, 4),
        ({**fleet(a=one()), "alarms": [{"kind": "trial", "detail": "", "since": 1.0}]}, 4),
        ({"role": "consumer", "agreed": True}, 0),
        ({"role": "consumer", "agreed": False}, 1),
        ({"role": "consumer", "agreed": False, "unmet": {"held": 2}}, 4),
    ],
)
def test_the_exit_code_says_whether_somebody_must_act(told: dict[str, Any], code: int) -> None:
    assert code_of(told) == code


def test_problems_are_listed_with_where_they_are() -> None:
    there = one("problem", problems=["a/b: immutable"], details={"unmet_problem": 3})
    told = {**fleet(a=there), "problems": [{"path": "x", "problem": "x: a socket"}], "problem_count": 1}
    text = report(told, at, has_problems=True)
    assert "1 problem on the master\n  x: a socket" in text
    assert "  a: a/b: immutable\n  a: and 2 more; see there: treecast status" in text


def test_a_selection_is_counted_anew() -> None:
    from common.labels import parse_selector

    told = fleet(a=one(labels={"region": "eu"}), b=one("gone"))
    assert fleet_page.sentence(selected(told, parse_selector("region=eu")), at) == "all 1 equal at 481,223"
