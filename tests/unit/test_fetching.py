"""What is decided about large contents: which is fetched, which parts are asked for, how many, and what stays in the store."""

from itertools import count

import pytest

from common.messages import INSTANCE_BYTES, PART_BYTES, AskParts, Lineage, PartAnswer
from consumer.fetching import ANSWER_TIMEOUT_SECONDS, SPARE_BYTES, UNSTORED_LIMIT_PARTS, Fetching, Wanted, fits
from consumer.keeping import KEPT_SECONDS, Kept, to_drop
from consumer.pacing import PARTS_LEAST, PARTS_MOST, Pacing

LINEAGE = Lineage("tree", 1, bytes(INSTANCE_BYTES), bytes(32))
SIZE = 100 * PART_BYTES + 7
ONE, OTHER = Wanted(b"one", b"1" * 32, SIZE), Wanted(b"other", b"2" * 32, SIZE)


def fetching() -> Fetching:
    numbers = count()
    return Fetching(lambda: next(numbers).to_bytes(16, "big"))


def begun(wanted: Wanted = ONE, offset: int = 0) -> Fetching:
    one = fetching()
    one.begin(wanted, offset, 0.0)
    return one


def part(nonce: bytes, offset: int, wanted: Wanted = ONE) -> PartAnswer:
    content = bytes(min(PART_BYTES, wanted.size - offset))
    return PartAnswer(LINEAGE, "replica", nonce, 1, wanted.digest, offset, content)


def asked(one: Fetching, now: float = 0.0) -> list[tuple[bytes, AskParts]]:
    return list(iter(lambda: one.next(now), None))


def test_parts_are_asked_for_in_order_from_where_the_store_ends() -> None:
    one = begun(offset=5 * PART_BYTES)
    ((nonce, ask),) = asked(one)
    assert ask == AskParts(b"one", ONE.digest, 5 * PART_BYTES, PARTS_LEAST)
    assert one.take(part(nonce, 5 * PART_BYTES), 0.1)
    ((_, ask),) = asked(one)
    assert (ask.offset, ask.count) == ((5 + PARTS_LEAST) * PART_BYTES, 1)


def test_the_whole_is_asked_for_once_to_its_last_byte() -> None:
    one, offset, now = begun(), 0, 0.0
    while offset < SIZE:
        now += 0.01
        for nonce, ask in asked(one, now):
            assert ask.offset == offset
            for number in range(ask.count):
                answer = part(nonce, offset)
                assert one.take(answer, now + 0.001 * number)
                offset += len(answer.content)
                one.stored(ONE.digest, offset)
    assert not asked(one, now)
    assert one.came_bytes == SIZE


def test_memory_is_bounded_where_the_disk_is_slow() -> None:
    """What is not written yet counts against what may be asked for."""
    one, now, arrived = begun(), 0.0, 0
    while questions := asked(one, now):
        now += 0.001
        for nonce, ask in questions:
            for offset in range(ask.offset, ask.offset + ask.count * PART_BYTES, PART_BYTES):
                assert one.take(part(nonce, offset), now)
                arrived += 1
    assert UNSTORED_LIMIT_PARTS / 2 < arrived <= UNSTORED_LIMIT_PARTS


@pytest.mark.parametrize(
    "wrong",
    [
        lambda nonce: part(nonce, PART_BYTES),
        lambda nonce: PartAnswer(LINEAGE, "replica", nonce, 1, ONE.digest, 0, b"short"),
        lambda nonce: part(nonce, 0, OTHER),
    ],
    ids=["a later part", "a short part", "another content"],
)
def test_where_a_part_is_missing_all_is_asked_for_again_from_there(wrong: object) -> None:
    one = begun()
    ((nonce, _),) = asked(one)
    assert not one.take(wrong(nonce), 0.1)  # type: ignore[operator]
    assert not one.take(part(nonce, 0), 0.1), "the question is closed"
    ((_, ask),) = asked(one)
    assert ask.offset == 0


def test_a_part_that_comes_twice_or_unasked_does_nothing() -> None:
    one = begun()
    ((nonce, _),) = asked(one)
    assert not one.take(part(b"?" * 16, 0), 0.1)
    assert one.take(part(nonce, 0), 0.1)
    assert not one.take(part(nonce, 0), 0.1)
    assert one.take(part(nonce, PART_BYTES), 0.1)


def test_silence_is_asked_again_and_then_another_content_has_its_turn() -> None:
    one, now = begun(), 0.0
    asked(one, now)
    assert not one.expire(now + ANSWER_TIMEOUT_SECONDS - 0.1)
    now += ANSWER_TIMEOUT_SECONDS
    assert not one.expire(now)
    assert asked(one, now)
    now += ANSWER_TIMEOUT_SECONDS
    assert one.expire(now) == [ONE.digest]
    assert not one.fetches
    assert one.choose([ONE, OTHER], lambda _: True, now) == OTHER
    assert one.choose([ONE], lambda _: True, now) is None
    assert one.choose([ONE], lambda _: True, now + 2) == ONE


@pytest.mark.parametrize(("is_wrong", "last"), [(False, [60] * 7), (True, [64, 128, 256, 512, 1024, 2048, 3600])])
def test_pauses_double_up_to_a_minute_or_to_an_hour_for_what_comes_wrong(is_wrong: bool, last: list[float]) -> None:
    one, now, pauses = fetching(), 0.0, []
    for _ in range(13):
        one.put_off(ONE.digest, now, is_doubted=is_wrong)
        began = now
        while one.choose([ONE], lambda _: True, now) is None:
            now += 0.5
        pauses.append(now - began)
    assert pauses == [1, 2, 4, 8, 16, 32, *last]


def test_a_content_that_came_wrong_is_asked_for_with_the_doubt_once() -> None:
    one = begun()
    one.put_off(ONE.digest, 0.0, is_doubted=True)
    one.begin(ONE, 0, 2.0)
    ((nonce, first),) = asked(one, 2.0)
    one.take(part(nonce, 0), 2.1)
    assert first.is_doubted
    assert not any(ask.is_doubted for _, ask in asked(one, 2.1))


def test_the_next_content_is_begun_when_all_of_the_one_before_was_asked_for() -> None:
    """So a long link stays full; what is asked for later waits behind what was asked for before, and is alive for that."""
    small = Wanted(b"small", b"3" * 32, PART_BYTES + 1)
    one = begun(small)
    may_begin = [one.may_begin]
    ((nonce, _),) = asked(one)
    assert [*may_begin, one.may_begin] == [False, True]
    assert one.choose([small, OTHER], lambda _: True, 0.0) == OTHER
    one.begin(OTHER, 0, 0.0)
    assert not asked(one), "the window is full"
    assert one.take(part(nonce, 0, small), 3.0)
    ((other, ask),) = asked(one, 3.0)
    assert (ask.path, ask.offset) == (b"other", 0)
    assert one.take(part(nonce, PART_BYTES, small), 6.0)
    assert one.expire(9.0) == []
    assert one.take(part(other, 0, OTHER), 9.0)


def test_another_epoch_closes_the_questions() -> None:
    one = begun()
    ((nonce, _),) = asked(one)
    one.close_questions()
    assert not one.take(part(nonce, 0), 0.1)
    assert asked(one)


def test_what_has_no_room_is_put_off_and_the_next_that_fits_is_fetched() -> None:
    assert fetching().choose([ONE, OTHER], lambda wanted: wanted == OTHER, 0.0) == OTHER
    assert fits(1000, 400, 600 + SPARE_BYTES)
    assert not fits(1000, 400, 599 + SPARE_BYTES)


def paced(rate_bytes: float, round_trip_seconds: float) -> int:
    """How many parts are open in the end on a link like this."""
    pacing, now = Pacing(), 0.0
    for _ in range(30):
        parts = pacing.parts(now)
        took = max(round_trip_seconds + PART_BYTES / rate_bytes, parts * PART_BYTES / rate_bytes)
        now += took
        pacing.measured_round_trip(round_trip_seconds + PART_BYTES / rate_bytes, now)
        pacing.measured_rate(parts * PART_BYTES, took, now)
    return pacing.parts(now)


def test_a_long_link_is_filled_and_a_short_one_holds_few_parts() -> None:
    """Half as much again as the link carries in a round trip, at least two parts; at most what memory allows."""
    assert paced(10e6, 0.2) == pytest.approx(1.5 * (10e6 * 0.2 / PART_BYTES + 1), abs=1)
    assert paced(200e6, 0.0005) <= 4
    assert paced(1e6, 0.001) == PARTS_LEAST
    assert paced(1e9, 0.2) == PARTS_MOST


def test_what_was_measured_long_ago_counts_no_more() -> None:
    pacing = Pacing()
    pacing.measured_round_trip(1.0, 0.0)
    pacing.measured_rate(10_000_000, 1.0, 0.0)
    assert pacing.parts(1.0) > PARTS_LEAST
    assert pacing.parts(20.0) == PARTS_LEAST


def kept(number: int, size: int = 100, since: float = 0.0, *, is_link: bool = True) -> Kept:
    digest = bytes([number]) * 32
    return Kept(digest.hex().encode(), digest, size, since, is_link)


def test_what_was_fetched_and_nobody_wants_goes_at_once_and_what_was_kept_after_a_while() -> None:
    fetched, link = kept(1, is_link=False), kept(2)
    assert to_drop([fetched, link], set(), 10_000, 1.0) == [fetched]
    assert to_drop([fetched, link], {fetched.digest}, 10_000, 1.0) == []
    assert to_drop([fetched, link], {link.digest}, 10_000, KEPT_SECONDS) == [fetched]
    assert to_drop([link], set(), 10_000, KEPT_SECONDS) == [link]


def test_what_is_kept_takes_half_of_the_free_room_and_the_oldest_goes_first() -> None:
    old, young = kept(1, since=1.0), kept(2, since=2.0)
    assert to_drop([young, old], set(), 400, 3.0) == []
    assert to_drop([young, old], set(), 399, 3.0) == [old]
    assert to_drop([young, old], set(), 0, 3.0) == [old, young]
    assert to_drop([young, old], {old.digest}, 199, 3.0) == [young]


def test_a_round_trip_is_measured_alone_now_and_then() -> None:
    """Every few seconds nothing is asked until all that was asked has come: parts that wait for each other tell nothing."""
    one, now, offset = begun(), 0.0, 0
    alone = []
    while now < 9.0:
        now += 0.1
        for _, ask in asked(one, now):
            if ask.offset == offset:
                alone.append(now)
        nonce = next(iter(one._open))
        assert one.take(part(nonce, offset), now)
        offset += PART_BYTES
        one.stored(ONE.digest, offset)
    assert 2 <= len([at for at in alone if at > 1]) <= 4
