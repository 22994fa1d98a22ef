"""When a path that has a problem is tried again."""

from itertools import pairwise

import pytest

from common.names import ancestors
from consumer import retrying
from consumer.retrying import Retrying


def tries(one: Retrying, path: bytes, until_seconds: int, since_seconds: int = 0) -> list[int]:
    """When it is tried, where it is asked each half minute."""
    return [now for now in range(since_seconds, until_seconds, 30) if one.due([path], now)]


def test_the_pause_doubles_up_to_an_hour() -> None:
    at = tries(Retrying(), b"a", 20_000)
    assert [later - one for one, later in pairwise(at)] == [30 * 2**number for number in range(7)] + [3600] * 4


def test_each_path_has_a_pause_of_its_own() -> None:
    one = Retrying()
    tries(one, b"a", 1000)
    assert one.due([b"a", b"b"], 1001) == [b"b"]


def test_what_was_solved_begins_anew_with_what_is_below_it() -> None:
    one = Retrying()
    for path in (b"d", b"d/x", b"d-x"):
        tries(one, path, 1000)
    assert set(one.among({b"d", b"other"})) == {b"d"}
    one.solved([b"d"])
    assert one.due([b"d", b"d/x", b"d-x"], 1001) == [b"d", b"d/x"]


def test_to_solve_much_is_no_work_for_each_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path is looked at as often as it is deep, however many others were tried."""
    looked = 0

    def counting(path: bytes) -> list[bytes]:
        nonlocal looked
        looked += 1
        return ancestors(path)

    monkeypatch.setattr(retrying, "ancestors", counting)
    one = Retrying()
    paths = [b"d%d/f" % number for number in range(1000)]
    one.due(paths, 0)
    one.solved(paths[:500])
    one.solved([b"d%d" % number for number in range(500, 1000)])
    assert looked < 5 * len(paths)
    assert one.among(set(paths)) == []


def test_all_of_it_can_be_tried_at_once() -> None:
    one = Retrying()
    tries(one, b"a", 1000)
    one.at_once()
    assert tries(one, b"a", 1100, 1001) == [1001, 1031, 1091]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PATHS_LIMIT", 2)
    one = Retrying()
    for path in (b"a", b"b", b"c"):
        tries(one, path, 1000)
    assert one.due([b"a", b"b", b"c"], 1001) == [b"a"]
