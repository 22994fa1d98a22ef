"""Read ahead, taken, settled: what lies between the reader's thread and the owner's."""

from common.transport.embedded_inbox import PREFETCH_BYTES, PREFETCH_COUNT, Inbox
from common.transport.embedded_store import Row


class Nudges:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def inbox(*sizes: int) -> tuple[Inbox, Nudges]:
    nudges = Nudges()
    made = Inbox(nudges)
    made.start()
    made.put([Row(id_, bytes(size)) for id_, size in enumerate(sizes, start=1)])
    return made, nudges


def test_no_more_is_read_ahead_than_the_prefetch() -> None:
    made, _ = inbox(*[1] * PREFETCH_COUNT)
    assert made.room()[0] == 0
    delivery = made.take(0)
    assert delivery is not None
    assert made.room()[0] == 0
    made.settle(delivery)
    assert made.room() == (1, PREFETCH_BYTES - PREFETCH_COUNT + 1)


def test_bytes_are_bounded_too_but_one_message_always_fits() -> None:
    made, _ = inbox(PREFETCH_BYTES + 1)
    assert made.room() == (0, 0)
    empty, _ = inbox()
    assert empty.is_empty
    assert empty.room() == (PREFETCH_COUNT, PREFETCH_BYTES)


def test_the_reader_is_nudged_by_the_first_ack_and_when_there_is_room_again() -> None:
    made, nudges = inbox(*[1] * PREFETCH_COUNT)
    made.room()
    counts = []
    for _ in range(PREFETCH_COUNT):
        delivery = made.take(0)
        assert delivery is not None
        made.settle(delivery)
        counts.append(nudges.count)
    assert counts[0] == 1
    assert counts[PREFETCH_COUNT // 2 - 2 :] == [1] + [2] * (PREFETCH_COUNT // 2 + 1)


def test_the_cursor_follows_what_is_settled_from_below() -> None:
    made, _ = inbox(1, 1, 1)
    one, two, three = (made.take(0) for _ in range(3))
    assert one is not None
    assert two is not None
    assert three is not None
    made.settle(three)
    assert made.acked()[0] is None
    made.settle(one)
    assert made.acked()[0] == 1
    made.settle(two)
    assert made.acked()[0] == 3
    made.written(1)
    assert made.acked()[0] == 3
    made.written(3)
    assert made.acked()[0] is None


def test_a_new_connection_forgets_what_the_last_one_delivered() -> None:
    made, nudges = inbox(1, 1)
    old = made.take(0)
    assert old is not None
    made.start()
    assert made.take(0) is None
    made.put([Row(1, b"a"), Row(2, b"b"), Row(3, b"c")])
    made.settle(old)
    assert made.acked()[0] is None
    assert nudges.count == 0
    again = [made.take(0) for _ in range(3)]
    assert [(found.tag, found.redelivered) for found in again if found] == [(1, True), (2, True), (3, False)]


def test_after_the_end_nothing_is_taken_but_settling_counts() -> None:
    made, _ = inbox(1, 1)
    one = made.take(0)
    assert one is not None
    made.end()
    assert made.take(1.0) is None
    made.settle(one)
    assert made.acked()[0] == 1
