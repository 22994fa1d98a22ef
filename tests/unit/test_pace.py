"""How fast a tree is re-read."""

import pytest

from common.pace import CATCH_UP, SHARE, UNIT_BYTES, Pace, units


def test_work_is_paths_and_contents() -> None:
    assert units(10, 3 * UNIT_BYTES) == 13


def test_at_full_speed_it_never_waits() -> None:
    pace = Pace(100, None, 0.0)
    pace.done = 99
    assert pace.wait_seconds(0.0) == 0


def test_all_of_it_takes_the_share_of_the_interval_that_is_meant() -> None:
    """Whoever rests as told is done in nine tenths of the interval, and not much earlier."""
    interval, now = 1000.0, 50.0
    pace = Pace.over(interval, 500, 0, now, 0.0)
    while pace.done < 500:
        pace.done += 1
        now += pace.wait_seconds(now)
    assert SHARE * interval - 5 <= now - 50 <= SHARE * interval


def test_a_short_wait_is_saved_up() -> None:
    """Thirteen paths a second wake nobody thirteen times."""
    pace = Pace.over(100_000.0, 1_000_000, 0, 0.0, 0.0)
    pace.done = 5
    assert pace.wait_seconds(0.0) == 0
    pace.done = 20
    assert pace.wait_seconds(0.0) > 1


@pytest.mark.parametrize(
    ("spent", "seconds"), [(0, SHARE * 100), (50, 40), (95, CATCH_UP * 100), (1e9, CATCH_UP * 100), (-1e9, SHARE * 100)]
)
def test_what_was_spent_before_is_made_up_for_within_bounds(spent: float, seconds: float) -> None:
    """A clock that jumped makes it at most ten times as fast, and never slower."""
    assert Pace.over(100.0, 10, 0, 0.0, spent).seconds == pytest.approx(seconds)


def test_progress_and_time_left() -> None:
    pace = Pace.over(100.0, 200, 100, 0.0, 50.0)
    assert pace.left_seconds(0.0) is None
    pace.done = 150
    assert pace.ratio == 0.75
    assert pace.left_seconds(20.0) == pytest.approx(20.0)


def test_an_empty_tree_is_all_done() -> None:
    assert Pace(0, 1.0, 0.0).wait_seconds(0.0) == 0
    assert Pace(0, 1.0, 0.0).ratio == 0
