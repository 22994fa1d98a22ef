"""Progress: what a sync says of itself while it runs."""

import pytest

from common.entries import Event
from common.messages import BodyAnswer, BucketRows, Lineage, Since
from consumer.progress import Left, Progress

LINEAGE = Lineage("t", 1, bytes(16), bytes(32))
ROWS = (Event(b"a", None), Event(b"b", None))
BUCKET = BucketRows(LINEAGE, "r", b"n" * 16, 5, 1, bytes(32), ROWS)
PART = Since(LINEAGE, "r", b"n" * 16, 5, 1, 0, 2, bytes(32), ROWS)
BODY = BodyAnswer(LINEAGE, "r", b"n" * 16, 5, b"a", bytes(32), b"content")


def test_nothing_is_told_while_there_is_nothing_to_do() -> None:
    assert Progress().see(Left(0, 0), 1.0) is None


def test_at_first_nobody_can_tell_how_long_it_takes() -> None:
    told = Progress().see(Left(4096, 0), 100.0)
    assert told is not None
    assert (told.buckets_left, told.bytes_per_second, told.seconds_left) == (4096, None, None)


def test_paths_and_bytes_count_from_where_the_sync_began() -> None:
    progress = Progress()
    progress.came(BUCKET, 1000)
    progress.see(Left(2, 1), 0.0)
    for answer in (BUCKET, PART, BODY):
        progress.came(answer, 500)
    told = progress.see(Left(2, 1), 2.0)
    assert told is not None
    assert (told.paths, told.size_bytes, told.seconds, told.bytes_per_second) == (5, 1500, 2.0, 750)


def test_the_time_left_is_what_is_left_at_the_rate_of_the_last_seconds() -> None:
    progress = Progress()
    left = 4000
    for second in range(60):
        left -= 10 if second < 40 else 100
        told = progress.see(Left(left, 0), float(second))
    assert told is not None
    assert told.seconds_left == pytest.approx(left / 100)


def test_contents_that_are_missing_take_their_time_too() -> None:
    progress = Progress()
    progress.see(Left(100, 50), 0.0)
    for _ in range(10):
        progress.came(BODY, 10)
    told = progress.see(Left(90, 40), 1.0)
    assert told is not None
    assert told.seconds_left == pytest.approx(9 + 4)


def test_a_since_answer_that_comes_is_half_of_the_way() -> None:
    """Nothing is level before all parts are there, and yet the time left falls."""
    progress = Progress()
    seen = [progress.see(Left(4096, 0, second / 10), float(second)) for second in range(11)]
    assert [told.seconds_left for told in seen[1:] if told] == pytest.approx([20 - second for second in range(1, 11)])


def test_a_sync_that_gets_no_answers_is_told_without_a_time() -> None:
    progress = Progress()
    progress.see(Left(10, 0), 0.0)
    told = progress.see(Left(10, 0), 5.0)
    assert told is not None
    assert told.seconds_left is None


def test_the_next_sync_begins_anew() -> None:
    progress = Progress()
    progress.see(Left(10, 0), 0.0)
    progress.came(BUCKET, 1000)
    progress.see(Left(0, 0), 5.0)
    told = progress.see(Left(10, 0), 50.0)
    assert told is not None
    assert (told.paths, told.size_bytes, told.seconds) == (0, 0, 0.0)
