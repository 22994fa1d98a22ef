"""Asking: which questions are open, and what is asked next."""

from dataclasses import replace
from itertools import count

import pytest

from common.digests import EMPTY_BUCKET, content_digest
from common.entries import BEFORE_ALL, Entry, file_entry
from common.messages import (
    Ask,
    AskBodies,
    AskBuckets,
    AskDigests,
    AskSince,
    BodyAnswer,
    BucketRows,
    Lineage,
    Same,
    Since,
)
from consumer.asking import (
    ANSWER_BYTES_ASSUMED,
    ANSWER_TIMEOUT_SECONDS,
    OPEN_BUCKETS_LIMIT,
    OPEN_BUCKETS_LIMIT_BYTES,
    OPEN_BUCKETS_MINIMUM,
    SINCE_TIMEOUT_SECONDS,
    Asking,
    Wants,
)
from consumer.values import Stale

LINEAGE = Lineage("t", 1, bytes(16), bytes(32))
DIGEST = b"d" * 32


def new_asking() -> Asking:
    numbers = count()
    return Asking(lambda: next(numbers).to_bytes(16, "big"))


def wants(
    stale: int = 0,
    filled: frozenset[int] = frozenset(),
    bodies: dict[bytes, Entry] | None = None,
    contents: bool = True,
) -> Wants:
    rows = dict.fromkeys(range(stale), Stale(BEFORE_ALL, None))
    return Wants(rows, lambda b: DIGEST if b in filled else EMPTY_BUCKET, lambda limit, after: bodies or {}, contents)


def same(nonce: bytes) -> Same:
    return Same(LINEAGE, "r", nonce, 5, ())


def bucket(nonce: bytes, number: int) -> BucketRows:
    return BucketRows(LINEAGE, "r", nonce, 5, number, EMPTY_BUCKET, ())


def asked(asking: Asking, wanted: Wants, now: float = 0.0) -> list[tuple[bytes, Ask]]:
    return asking.next(wanted, now)


def past_digests(asking: Asking, wanted: Wants) -> list[tuple[bytes, Ask]]:
    ((nonce, _),) = asked(asking, wanted)
    asking.answered(same(nonce), 0.0)
    return asked(asking, wanted)


def test_the_first_question_names_the_stale_buckets_that_are_not_empty() -> None:
    ((_, ask),) = asked(new_asking(), wants(4, filled=frozenset({1, 9})))
    assert ask == AskDigests(((1, DIGEST),))


def test_while_digests_are_asked_nothing_else_is() -> None:
    asking = new_asking()
    assert len(asked(asking, wants(4))) == 1
    assert asked(asking, wants(4)) == []


def test_buckets_follow_with_contents_only_where_we_have_nothing() -> None:
    asks = [ask for _, ask in past_digests(new_asking(), wants(4, filled=frozenset({2})))]
    assert asks == [AskBuckets((0, 1, 3), True), AskBuckets((2,), False)]


def test_contents_come_along_too_where_we_have_little_of_what_level_buckets_hold() -> None:
    """A first copy that goes on after a kill: live changes left a path or two in nearly every bucket."""
    counts = {**dict.fromkeys(range(2, 4096), 50), 0: 12, 1: 13}
    wanted = replace(wants(2, filled=frozenset({0, 1})), counts=lambda: counts)
    asks = [ask for _, ask in past_digests(new_asking(), wanted)]
    assert asks == [AskBuckets((0,), True), AskBuckets((1,), False)]


def test_where_nothing_is_level_yet_what_is_there_may_be_all_of_it() -> None:
    """An adoption: only differences are to travel."""
    every = frozenset(range(4096))
    wanted = replace(wants(4096, filled=every), counts=lambda: {0: 1, 1: 1000})
    asks = [ask for _, ask in past_digests(new_asking(), wanted)]
    assert not any(ask.bodies for ask in asks if isinstance(ask, AskBuckets))


def test_without_room_no_contents_come_along() -> None:
    asks = [ask for _, ask in past_digests(new_asking(), wants(3, contents=False))]
    assert asks == [AskBuckets((0, 1, 2), False)]


def open_buckets(asking: Asking) -> int:
    return sum(len(question.left) for question in asking.open.values())


def test_open_buckets_are_bounded() -> None:
    asking = new_asking()
    past_digests(asking, wants(4096))
    assert open_buckets(asking) == OPEN_BUCKETS_LIMIT_BYTES // ANSWER_BYTES_ASSUMED


@pytest.mark.parametrize(("size", "open_then"), [(100, OPEN_BUCKETS_LIMIT), (1 << 30, OPEN_BUCKETS_MINIMUM)])
def test_how_many_are_open_follows_the_size_of_the_answers(size: int, open_then: int) -> None:
    asking = new_asking()
    past_digests(asking, wants(4096))
    for _ in range(40):
        for nonce, question in list(asking.open.items()):
            for item in list(question.left):
                assert isinstance(item, int)
                asking.answered(bucket(nonce, item), 0.0, size)
        asked(asking, wants(4096))
    assert open_buckets(asking) == open_then


def test_the_next_portion_is_asked_when_a_quarter_has_come() -> None:
    asking = new_asking()
    ((nonce, ask),) = past_digests(asking, wants(4096))
    assert isinstance(ask, AskBuckets)
    quarter = len(ask.buckets) // 4
    for number in ask.buckets[: quarter - 1]:
        asking.answered(bucket(nonce, number), 0.0)
    assert asked(asking, wants(4096)) == []
    asking.answered(bucket(nonce, ask.buckets[quarter]), 0.0)
    ((_, following),) = asked(asking, wants(4096))
    assert isinstance(following, AskBuckets)
    assert len(following.buckets) == quarter


def test_an_answer_is_expected_once() -> None:
    asking = new_asking()
    (nonce, _), *_ = past_digests(asking, wants(2))
    answer = bucket(nonce, 1)
    assert asking.expects(answer)
    asking.answered(answer, 0.0)
    assert not asking.expects(answer)
    assert asking.expects(bucket(nonce, 0))
    assert not asking.expects(bucket(b"another", 0))


def test_nothing_is_expected_after_questions_were_closed() -> None:
    asking = new_asking()
    ((nonce, _),) = asked(asking, wants(2))
    asking.close_all()
    assert not asking.expects(same(nonce))
    ((_, ask),) = asked(asking, wants(2))
    assert isinstance(ask, AskDigests)


def test_a_question_without_an_answer_is_asked_again_with_another_nonce() -> None:
    asking = new_asking()
    ((first, _),) = asked(asking, wants(2), now=0.0)
    assert asked(asking, wants(2), now=ANSWER_TIMEOUT_SECONDS - 0.1) == []
    assert asking.due_at() == ANSWER_TIMEOUT_SECONDS
    ((second, _),) = asked(asking, wants(2), now=ANSWER_TIMEOUT_SECONDS)
    assert first != second
    assert not asking.expects(same(first))


def test_who_answers_slowly_is_given_longer_each_time_and_is_heard_in_the_end() -> None:
    """Answers that take 20 s would all come too late, and be asked for again for ever."""
    asking, now, coming = new_asking(), 0.0, dict[bytes, float]()
    while now < 120.0:
        coming |= {nonce: now + 20.0 for nonce, _ in asked(asking, wants(1), now)}
        now += 1.0
        for nonce in [nonce for nonce, at in coming.items() if at <= now and asking.expects(same(nonce))]:
            asking.answered(same(nonce), now)
            assert now <= 60.0
            assert asking.silences == 0
            return
    pytest.fail("no answer was ever expected")


def test_after_a_gap_nobody_is_waited_for_longer_than_at_first() -> None:
    asking = new_asking()
    for _ in range(3):
        asked(asking, wants(1), asking.due_at() or 0.0)
    asking.close_all()
    asked(asking, wants(1), 1000.0)
    assert asking.due_at() == 1000.0 + ANSWER_TIMEOUT_SECONDS


def test_while_answers_come_the_others_are_waited_for() -> None:
    asking = new_asking()
    (nonce, _), *_ = past_digests(asking, wants(3))
    asking.answered(bucket(nonce, 0), now=3.0)
    assert asking.due_at() == 3.0 + ANSWER_TIMEOUT_SECONDS


def test_bodies_are_asked_by_path_and_digest_each_once() -> None:
    entry = file_entry(0o644, 0, 3, content_digest(b"abc"))
    asking = new_asking()
    wanted = wants(bodies={b"f": entry})
    ((nonce, ask),) = asked(asking, wanted)
    assert ask == AskBodies(((b"f", entry.digest),))
    assert asked(asking, wanted) == []
    assert asking.expects(BodyAnswer(LINEAGE, "r", nonce, 0, b"f", entry.digest, b"abc"))


def test_bodies_asked_at_once_are_bounded_in_bytes() -> None:
    big = file_entry(0o644, 0, 12 * 1024 * 1024, content_digest(b"big"))
    ((_, ask),) = asked(new_asking(), wants(bodies={b"a": big, b"b": big}))
    assert isinstance(ask, AskBodies)
    assert len(ask.wanted) == 1


def test_contents_that_are_never_answered_keep_no_other_waiting() -> None:
    """The next in byte order are asked first, and those without an answer once more when the others had their turn."""
    missing = {b"%05d" % n: file_entry(0o644, 0, 1, content_digest(b"%d" % n)) for n in range(10_000)}

    def bodies(limit: int, after: bytes) -> dict[bytes, Entry]:
        return {path: missing[path] for path in [path for path in sorted(missing) if path > after][:limit]}

    asking, seen, now = new_asking(), [], 0.0
    for _ in range(5):
        asks = [ask for _, ask in asking.next(Wants({}, lambda b: DIGEST, bodies), now) if isinstance(ask, AskBodies)]
        seen += [path for ask in asks for path, _ in ask.wanted]
        now = asking.due_at() or now
    assert seen[:10_000] == sorted(missing)
    assert seen[10_000:] == sorted(missing)[: len(seen) - 10_000]
    assert len(seen) > 10_000


def with_bases(bases: dict[int, int | None], first: int | None) -> Wants:
    rows = {bucket: Stale(BEFORE_ALL, base) for bucket, base in bases.items()}
    return Wants(rows, lambda b: EMPTY_BUCKET, lambda limit, after: {}, first=first)


def asks(asking: Asking, wanted: Wants) -> list[Ask]:
    return [ask for _, ask in asking.next(wanted, 0.0)]


def test_where_the_patterns_are_is_asked_for_alone_and_while_their_text_is_missing_nothing_else() -> None:
    asking = new_asking()
    asking.digests_answered = True
    lacking: dict[int, int | None] = {1: None, 2: None, 3: None}
    assert asks(asking, with_bases(lacking, 2)) == [AskBuckets((2,), bodies=True)]
    assert asks(asking, with_bases(lacking, 2)) == []
    del lacking[2]
    assert asks(asking, with_bases(lacking, 2)) == []
    assert asks(asking, with_bases(lacking, None)) == [AskBuckets((1, 3), bodies=True)]


def test_where_the_patterns_are_is_not_asked_for_first_where_since_or_digests_tell_anyhow() -> None:
    assert asks(new_asking(), with_bases({1: 5, 2: 5}, 2)) == [AskSince(5)]
    assert asks(new_asking(), with_bases({1: 5, 2: None}, 2)) == [AskBuckets((2,), bodies=True)]
    assert asks(new_asking(), with_bases({1: None, 2: None}, 2)) == [AskDigests(())]


def test_a_line_of_200_ms_is_filled() -> None:
    """Of the buckets of a tree of a million files, 25 kB each, over 30 MB a second are asked for, however far the master is."""
    asking, round_trip, answer_bytes, step = new_asking(), 0.2, 25_000, 0.02
    wanted = wants(4096)
    ((nonce, _),) = asking.next(wanted, 0.0)
    asking.answered(same(nonce), 0.0)
    on_their_way: list[tuple[float, BucketRows]] = []
    now, came_bytes = 0.0, 0
    while now < 1.0:
        for asked_nonce, ask in asking.next(wanted, now):
            assert isinstance(ask, AskBuckets)
            on_their_way += [(now + round_trip, bucket(asked_nonce, number)) for number in ask.buckets]
        now += step
        for _, answer in [item for item in on_their_way if item[0] <= now]:
            asking.answered(answer, now, answer_bytes)
            came_bytes += answer_bytes
        on_their_way = [item for item in on_their_way if item[0] > now]
    assert came_bytes / now > 30_000_000


def since(nonce: bytes) -> Since:
    return Since(LINEAGE, "r", nonce, 5, 3, 0, 2, EMPTY_BUCKET, ())


def based(*bases: int | None) -> Wants:
    rows = {number: Stale(BEFORE_ALL, base) for number, base in enumerate(bases)}
    return Wants(rows, lambda b: EMPTY_BUCKET, lambda limit, after: {})


def test_where_a_bucket_was_level_once_the_first_question_is_what_changed_since_the_lowest() -> None:
    asking = new_asking()
    ((_, ask),) = asked(asking, based(7, None, 3))
    assert ask == AskSince(3)
    assert asked(asking, based(7, None, 3)) == []


def test_while_an_answer_is_merged_nothing_is_asked_for_what_is_stale() -> None:
    asking = new_asking()
    ((nonce, _),) = asked(asking, based(3))
    asking.answered(since(nonce), 0.0)
    assert asked(asking, replace(based(3), is_merging=True)) == []
    ((_, ask),) = asked(asking, based(None))
    assert isinstance(ask, AskDigests)


def test_a_part_keeps_its_question_open() -> None:
    asking = new_asking()
    ((nonce, _),) = asked(asking, based(3))
    asking.heard(since(nonce), SINCE_TIMEOUT_SECONDS[0] - 1)
    assert asking.expects(since(nonce))
    assert asking.due_at() == 2 * SINCE_TIMEOUT_SECONDS[0] - 1


def test_who_answers_neither_since_nor_digests_is_asked_for_each_in_turn() -> None:
    asking, now, kinds = new_asking(), 0.0, []
    for _ in range(6):
        ((_, ask),) = asked(asking, based(3), now)
        kinds.append(type(ask))
        due = asking.due_at()
        assert due is not None
        now = due
    assert kinds == [AskSince, AskSince, AskDigests] * 2


def test_an_answer_that_was_begun_and_closed_twice_gives_digests_their_turn() -> None:
    asking, kinds = new_asking(), []
    for _ in range(3):
        ((nonce, ask),) = asked(asking, based(3))
        kinds.append(type(ask))
        if isinstance(ask, AskSince):
            asking.heard(since(nonce), 0.0)
        asking.close_all()
    assert kinds == [AskSince, AskSince, AskDigests]


def test_a_question_that_was_closed_before_any_answer_counts_for_nothing() -> None:
    asking = new_asking()
    for _ in range(5):
        ((_, ask),) = asked(asking, based(3))
        assert isinstance(ask, AskSince)
        asking.close_all()


def test_whoever_did_not_look_for_long_met_no_silence() -> None:
    """A step on the disk took long: what was asked for may have come meanwhile."""
    asking = new_asking()
    asking.looked(0.0)
    asked(asking, wants(2), now=0.0)
    for now in (9.0, 9.0 + ANSWER_TIMEOUT_SECONDS - 0.1):
        asking.looked(now)
        assert asked(asking, wants(2), now=now) == []
        asking.looked_at = 9.0 + ANSWER_TIMEOUT_SECONDS - 0.2
    assert len(asked(asking, wants(2), now=9.0 + ANSWER_TIMEOUT_SECONDS)) == 1


def test_while_something_that_came_waits_nothing_is_asked_again() -> None:
    asking = new_asking()
    asked(asking, wants(2), now=0.0)
    assert asking.next(wants(2), 2 * ANSWER_TIMEOUT_SECONDS, is_silent=False) == []
    assert len(asking.next(wants(2), 2 * ANSWER_TIMEOUT_SECONDS)) == 1


def test_an_answer_that_is_not_merged_yet_breaks_the_silence_too() -> None:
    asking = new_asking()
    (nonce, _), *_ = past_digests(asking, wants(3))
    asking.heard(bucket(nonce, 0), now=3.0)
    assert asking.due_at() == 3.0 + ANSWER_TIMEOUT_SECONDS
    assert asking.expected == 3
