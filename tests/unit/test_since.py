"""What a since answer may hold, how it is cut, and how long one is to be had."""

import pytest

from common.entries import Kind
from common.messages import INLINE_LIMIT_BYTES
from producer import since
from producer.since import IndexRow, cut


def _file(path: bytes, size: int) -> IndexRow:
    return (path, Kind.FILE, 0o644, 0, size, bytes(32), "")


def _absent(path: bytes) -> IndexRow:
    return (path, None, None, None, None, None, None)


def test_nothing_that_changed_is_an_answer_too() -> None:
    assert list(cut([])) == [[]]


def test_every_row_is_in_one_part_in_its_order() -> None:
    rows = [_file(b"%06d" % number, 100) for number in range(10_000)]
    parts = list(cut(rows))
    assert [one.row for part in parts for one in part] == rows
    assert all(one.with_body for part in parts for one in part)
    assert max(map(len, parts)) == since.PART_ROWS
    assert len(parts) == 3


def test_a_part_is_about_as_large_as_a_batch_may_be() -> None:
    """Bodies fill a part; one that is too large for what is left of it starts the next."""
    parts = list(cut([_file(b"%d" % number, 400_000) for number in range(5)]))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert [len(part) for part in cut([_file(b"a", INLINE_LIMIT_BYTES), _file(b"b", INLINE_LIMIT_BYTES)])] == [1, 1]


def test_large_contents_directories_and_what_is_absent_have_no_body() -> None:
    directory: IndexRow = (b"d", Kind.DIRECTORY, 0o755, 0, 0, b"", "")
    link: IndexRow = (b"l", Kind.SYMLINK, 0o777, 0, 3, bytes(32), "")
    rows = [_absent(b"a"), directory, _file(b"f", INLINE_LIMIT_BYTES + 1), link, _file(b"s", 0)]
    assert [one.with_body for part in cut(rows) for one in part] == [False, False, False, True, True]


def test_bodies_of_one_answer_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no room is asked for by body; what is small enough still goes along."""
    monkeypatch.setattr(since, "BODIES_LIMIT_BYTES", 250)
    sizes = [100, 100, 100, 50, 1]
    bodies = [one.with_body for part in cut([_file(b"%d" % n, size) for n, size in enumerate(sizes)]) for one in part]
    assert bodies == [True, True, False, True, False]


def test_more_paths_than_buckets_would_cost_are_not_answered() -> None:
    """In a small tree that had many changes the buckets cost less; in any tree an answer is bounded."""
    assert since.rows_limit(0) == since.DIGESTS_WORTH_ROWS
    assert since.rows_limit(10_000) == 11_500
    assert since.rows_limit(10_000_000) == since.ROWS_LIMIT


def test_the_window_grows_with_the_room_that_is_left() -> None:
    """Half full after an hour: two hours in all. Full: as long as the oldest is old."""
    assert since.window_seconds(500, 1000, 3600) == 7200
    assert since.window_seconds(1000, 1000, 3600) == 3600
    assert since.window_seconds(1010, 1000, 3600) == 3600
    assert since.window_seconds(0, 1000, 0) == since.WINDOW_LIMIT_SECONDS
    assert since.window_seconds(1, 1000, 1e9) == since.WINDOW_LIMIT_SECONDS
    assert since.window_seconds(5, 1000, -10) == 0
