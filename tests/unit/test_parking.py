"""Parking: what waits, how long, and in which order it goes on."""

from common.messages import Heartbeat, Lineage, Same
from consumer.parking import ANSWERS_LIMIT, PARKED_LIMIT, PATIENCE_SECONDS, Answers, Parking


def heartbeat(sequence: int, epoch: int = 1) -> Heartbeat:
    return Heartbeat(Lineage("t", epoch, b"", b""), sequence, b"", b"", 0, 0)


def same(at: int) -> Same:
    return Same(Lineage("t", 1, b"", b""), "r", b"n", at, ())


def test_the_lowest_goes_on_first_once_its_hole_is_filled() -> None:
    parking: Parking[str] = Parking()
    parking.park(heartbeat(9), "nine", 0.0)
    parking.park(heartbeat(7), "seven", 0.0)
    assert parking.reached(1, 6) is None
    reached = parking.reached(1, 7)
    assert reached is not None
    assert reached.held == "seven"
    assert parking.reached(1, 7) is None


def test_what_waits_of_an_epoch_that_is_over_waits_no_more() -> None:
    parking: Parking[str] = Parking()
    parking.park(heartbeat(9, epoch=1), "old", 0.0)
    reached = parking.reached(2, 0)
    assert reached is not None
    assert reached.held == "old"


def test_patience_ends_with_time() -> None:
    parking: Parking[str] = Parking()
    parking.park(heartbeat(9), "nine", 10.0)
    assert parking.expired(10.0 + PATIENCE_SECONDS - 0.01) is None
    assert parking.due_at() == 10.0 + PATIENCE_SECONDS
    assert parking.expired(10.0 + PATIENCE_SECONDS) is not None


def test_patience_ends_when_too_many_wait() -> None:
    parking: Parking[int] = Parking()
    for number in range(PARKED_LIMIT):
        parking.park(heartbeat(10 + number), number, 0.0)
    assert parking.expired(0.0) is None
    parking.park(heartbeat(5), 99, 0.0)
    expired = parking.expired(0.0)
    assert expired is not None
    assert expired.held == 99


def test_answers_ahead_of_the_stream_come_back_when_it_has_reached_them() -> None:
    answers = Answers()
    assert answers.hold(same(5), 10)
    assert answers.hold(same(8), 10)
    assert [answer.at for answer, _ in answers.reached(5)] == [5]
    assert answers.ahead_bytes == 10


def test_answers_ahead_are_bounded() -> None:
    answers = Answers()
    assert all(answers.hold(same(5), 1) for _ in range(ANSWERS_LIMIT))
    assert not answers.hold(same(5), 1)
    answers.forget()
    assert not answers.hold(same(5), 1 << 40)


def test_what_was_gathered_is_taken_once() -> None:
    answers = Answers()
    answers.gather(same(1), 7, 0.0)
    assert answers.is_full(1, 100)
    assert answers.is_full(2, 7)
    assert not answers.is_full(2, 8)
    assert len(answers.take()) == 1
    assert answers.take() == []
