"""Gathering: which parts make one answer, when it is whole, and in which slices it is merged."""

import random
from dataclasses import replace

import pytest

from common.digests import rows_digest
from common.entries import Event, file_entry
from common.messages import Lineage, Since
from common.names import PATTERNS_PATH
from consumer import gathering
from consumer.gathering import ANSWERS_AT_ONCE, Came, Gathering
from tests.memory_spool import MemorySpool

SALT = bytes(32)
LINEAGE = Lineage("t", 1, bytes(16), SALT)
NONCE = b"n" * 16
STALE = range(8)


def rows(*names: int) -> tuple[Event, ...]:
    """Files, each in the bucket of its number modulo 8; an odd hundred is absent."""
    return tuple(Event(b"%d" % n, file_entry(0o644, 0, 2, b"d" * 32), b"%2d" % (n % 100)) for n in names)


def answer(*parts: tuple[Event, ...], at: int = 9, base: int = 5, nonce: bytes = NONCE) -> list[Since]:
    digest = rows_digest(SALT, [(row.path, row.entry) for part in parts for row in part])
    return [Since(LINEAGE, "r", nonce, at, base, n, len(parts), digest, part) for n, part in enumerate(parts)]


def bucket_of(path: bytes) -> int:
    return int(path) % 8 if path != PATTERNS_PATH else 0


def came(gathering: Gathering, *parts: Since) -> list[Came]:
    return [gathering.gather(part, bucket_of) for part in parts]


def slices(gathering: Gathering) -> list[gathering.Slice]:
    found = []
    while (part := gathering.next_slice(STALE)) is not None:
        found.append(part)
    return found


def test_an_answer_is_whole_with_its_last_part_in_any_order_and_parts_that_come_twice_count_once() -> None:
    parts = answer(rows(1, 2), rows(3), rows(4))
    random.Random(3).shuffle(parts)
    one = Gathering(MemorySpool())
    assert came(one, parts[0], parts[0], parts[1], parts[1]) == [Came.PART] * 4
    assert not one.is_merging
    assert came(one, parts[2]) == [Came.WHOLE]
    assert one.is_merging


def test_an_answer_that_names_nothing_is_whole_at_once_and_covers_every_stale_bucket() -> None:
    one = Gathering(MemorySpool())
    assert came(one, *answer(())) == [Came.WHOLE]
    (only,) = slices(one)
    assert only == gathering.Slice(5, 9, frozenset(STALE), [], 0)
    assert not one.is_merging


def test_parts_of_two_answers_to_one_question_make_none() -> None:
    first, second = answer(rows(1), rows(2)), answer(rows(1, 2), rows(3), at=10)
    one = Gathering(MemorySpool())
    assert came(one, first[0], second[1]) == [Came.PART] * 2
    assert came(one, first[1]) == [Came.WHOLE]
    assert slices(one)[0].at == 9


def test_parts_that_state_another_base_are_of_another_answer() -> None:
    one = Gathering(MemorySpool())
    first, second = answer(rows(1), rows(2))
    assert came(one, first, replace(second, base=4)) == [Came.PART] * 2


def test_all_parts_that_do_not_hash_to_what_they_state_are_broken_and_forgotten() -> None:
    first, second = answer(rows(1), rows(2))
    one, torn = Gathering(MemorySpool()), replace(second, rows=rows(3))
    assert came(one, first, torn) == [Came.PART, Came.BROKEN]
    assert came(one, first, second) == [Came.PART, Came.WHOLE]


def test_a_path_that_is_named_twice_breaks_an_answer() -> None:
    one = Gathering(MemorySpool())
    assert came(one, *answer(rows(1), rows(1))) == [Came.PART, Came.BROKEN]


def test_too_many_rows_break_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "ROWS_LIMIT", 2)
    assert came(Gathering(MemorySpool()), *answer(rows(1, 2), rows(3))) == [Came.PART, Came.BROKEN]


def test_of_many_answers_that_are_never_whole_the_oldest_are_forgotten() -> None:
    spool = MemorySpool()
    one = Gathering(spool)
    answers = [answer(rows(1), rows(2), at=at) for at in range(9, 9 + ANSWERS_AT_ONCE + 1)]
    came(one, *(parts[0] for parts in answers))
    assert len(spool._answers) == ANSWERS_AT_ONCE
    assert came(one, answers[0][1]) == [Came.PART]


def test_slices_are_whole_buckets_and_hold_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "SLICE_ROWS", 3)
    one = Gathering(MemorySpool())
    came(one, *answer(rows(0, 8, 1), rows(16, 24, 2, 10)))
    found = slices(one)
    assert [part.buckets for part in found] == [{0, 3, 4, 5, 6, 7}, {1, 2}]
    assert [sorted(int(row.path) for row in part.rows) for part in found] == [[0, 8, 16, 24], [1, 2, 10]]


def test_slices_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "SLICE_BYTES", 4)
    one = Gathering(MemorySpool())
    came(one, *answer(rows(0, 1, 2)))
    assert [len(part.rows) for part in slices(one)] == [2, 1]


def test_contents_beyond_what_one_slice_may_hold_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "CONTENTS_LIMIT_BYTES", 3)
    one = Gathering(MemorySpool())
    came(one, *answer(rows(0, 8, 16)))
    (only,) = slices(one)
    assert [row.body is None for row in only.rows] == [False, True, True]


def test_without_room_only_rows_are_kept() -> None:
    one = Gathering(MemorySpool())
    (part,) = answer(rows(1))
    assert one.gather(part, bucket_of, with_contents=False) is Came.WHOLE
    (only,) = slices(one)
    assert only.rows == [rows(1)[0]._replace(body=None)]


def test_while_one_answer_is_merged_no_part_of_another_is_taken() -> None:
    one = Gathering(MemorySpool())
    came(one, *answer(rows(1, 2)))
    assert came(one, *answer(rows(3), at=12)) == [Came.PART]
    assert len(slices(one)) == 1


def test_what_came_of_questions_that_are_open_no_more_is_forgotten() -> None:
    one, parts = Gathering(MemorySpool()), answer(rows(1), rows(2))
    came(one, parts[0])
    one.keep({NONCE: None})
    assert one.received_share == 0.5
    one.keep({})
    assert one.received_share == 0.0
    assert came(one, parts[1]) == [Came.PART]


def test_nothing_is_merged_once_everything_was_forgotten() -> None:
    one = Gathering(MemorySpool())
    came(one, *answer(rows(1)))
    one.forget()
    assert slices(one) == []
