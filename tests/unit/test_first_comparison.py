"""When the first comparison of the source with the index is over."""

from typing import cast

from common.entries import Position
from producer.barriers import Barrier
from producer.first_comparison import STUCK_SECONDS, FirstComparison
from producer.waiting import Wait, Waiting
from producer.waits import Wanted


class Waits:
    """The waits for the source, of which a test leads the barriers."""

    def __init__(self) -> None:
        self.waits: list[Wait | None] = []

    def begin_first(self, wanted: Wanted | None, now: float) -> int:
        self.waits.append(Wait(Barrier(), wanted, now))
        return len(self.waits) - 1

    def look(self, ticket: int, now: float) -> Wait | None:
        return self.waits[ticket]

    def forget(self, ticket: int) -> None:
        self.waits[ticket] = None

    @property
    def last(self) -> Wait:
        wait = self.waits[-1]
        assert wait is not None
        return wait


def begun(*, is_anew: bool = False) -> tuple[FirstComparison, Waits]:
    """One that was asked for once."""
    waits = Waits()
    first = FirstComparison(cast(Waiting, waits))
    assert not first.is_over(0.0, is_anew=is_anew)
    return first, waits


def test_it_is_over_when_all_that_was_found_is_journaled_and_then_forgotten() -> None:
    first, waits = begun()
    assert not first.is_over(1000.0, is_anew=False), "a scan may take long"
    wait = waits.last
    wait.barrier.snapshot([b"a"], [], 0)
    assert not first.is_over(1000.0, is_anew=False)
    wait.barrier.round_ended(1, [b"a"])
    wait.barrier.done(Position(1, 1))
    assert first.is_over(1000.0, is_anew=False)
    assert waits.waits == [None]


def test_a_file_that_is_written_all_the_time_holds_nothing_up_for_ever() -> None:
    first, waits = begun()
    waits.last.barrier.snapshot([b"a", b"written"], [], 0)
    assert not first.is_over(10.0, is_anew=False)
    waits.last.barrier.round_ended(1, [b"a"])
    assert not first.is_over(10.0 + STUCK_SECONDS - 0.1, is_anew=False), "there is one less"
    assert not first.is_over(10.0 + STUCK_SECONDS, is_anew=False)
    assert first.is_over(10.0 + 2 * STUCK_SECONDS, is_anew=False)


def test_where_another_led_meanwhile_what_was_found_before_counts_for_nothing() -> None:
    first, waits = begun()
    assert waits.last.wanted is None
    first.give_up()
    assert not first.is_over(1.0, is_anew=True)
    assert waits.last.wanted == Wanted()
