"""When all that happened before a moment is journaled."""

from common.entries import Position
from producer.barriers import Barrier, Step


def at_paths(waiting: set[bytes], in_round: set[bytes] = frozenset(), *, under: tuple[bytes, ...] = ()) -> Barrier:  # type: ignore[assignment]
    barrier = Barrier(under)
    barrier.begun()
    barrier.hinted(frozenset())
    barrier.snapshot(waiting, in_round, 5)
    return barrier


def test_it_waits_for_the_scans_that_were_asked_for_by_then_alone() -> None:
    barrier = Barrier()
    barrier.begun()
    barrier.hinted(frozenset({1, 2}))
    assert not barrier.scanned(frozenset({2, 3}))
    assert barrier.scanned(frozenset({3}))


def test_a_path_that_waits_is_settled_by_a_round_that_began_later_alone() -> None:
    """It may have been looked at by the open round before it changed."""
    barrier = at_paths({b"a"})
    barrier.round_ended(5, {b"a"})
    assert barrier.waiting == 1
    barrier.round_ended(6, {b"a"})
    assert barrier.waiting == 0


def test_a_path_of_the_open_round_alone_is_settled_by_its_end_or_by_a_later_one() -> None:
    for number in (5, 6):
        barrier = at_paths(set(), {b"a"})
        barrier.round_ended(number, {b"a"})
        assert barrier.waiting == 0


def test_one_that_waits_and_is_in_the_open_round_must_be_looked_at_again() -> None:
    barrier = at_paths({b"a"}, {b"a", b"b"})
    barrier.round_ended(5, {b"a", b"b"})
    assert barrier.named(10) == [b"a"]


def test_what_a_round_could_not_tell_waits_on() -> None:
    barrier = at_paths({b"a", b"b"})
    barrier.round_ended(6, {b"b"})
    assert barrier.named(10) == [b"a"]


def test_only_what_is_asked_for_counts() -> None:
    barrier = at_paths({b"a", b"a/b", b"ab", b"c/d", b"c"}, under=(b"a", b"c/d"))
    assert barrier.named(10) == [b"a", b"a/b", b"c/d"]
    assert at_paths({b"x/y"}, under=(b"",)).waiting == 1


def test_paths_that_cannot_be_carried_are_named_where_they_are_asked_for() -> None:
    everything, some = Barrier(), Barrier((b"d",))
    everything.done(Position(1, 2), [b"d/x", b"a"])
    some.done(Position(1, 2), [b"d/x", b"a"])
    assert everything.problems == [b"a", b"d/x"]
    assert some.problems == [b"d/x"]
    assert (some.step, some.position) == (Step.DONE, Position(1, 2))
