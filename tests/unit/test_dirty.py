import random
import time

from common.names import is_below
from producer.dirty import DirtySet
from producer.values import Taken


def _paths(taken: list[Taken]) -> list[bytes]:
    return [one.path for one in taken]


def test_paths_are_taken_once_in_the_order_of_their_first_hint() -> None:
    dirty = DirtySet()
    for path in (b"b", b"a", b"b", b"c", b"a"):
        dirty.add(path, 0.0)
    assert len(dirty) == 3
    assert _paths(dirty.take(10, 0.0)) == [b"b", b"a", b"c"]
    assert len(dirty) == 0


def test_a_hint_after_the_take_puts_the_path_back() -> None:
    dirty = DirtySet()
    dirty.add(b"a", 0.0)
    dirty.take(1, 0.0)
    dirty.add(b"a", 0.0)
    assert _paths(dirty.take(1, 0.0)) == [b"a"]


def test_a_delayed_path_is_not_taken_before_its_time_and_counts_all_the_while() -> None:
    dirty = DirtySet()
    dirty.add(b"late", 0.0, 5.0)
    dirty.add(b"now", 0.0)
    assert len(dirty) == 2
    assert _paths(dirty.take(10, 1.0)) == [b"now"]
    assert dirty.next_due(1.0) == 4.0
    assert _paths(dirty.take(10, 5.0)) == [b"late"]
    assert dirty.next_due(5.0) is None


def test_the_earlier_time_counts() -> None:
    dirty = DirtySet()
    dirty.add(b"a", 0.0, 5.0)
    dirty.add(b"a", 0.0, 2.0)
    dirty.add(b"a", 0.0, 9.0)
    assert dirty.take(1, 1.9) == []
    assert _paths(dirty.take(1, 2.0)) == [b"a"]
    assert dirty.take(1, 99.0) == []


def test_a_real_hint_makes_a_path_that_only_a_scan_saw_due_at_once_and_no_longer_only_scanned() -> None:
    dirty = DirtySet()
    dirty.add(b"a", 0.0, 5.0, from_scan=True)
    dirty.add(b"a", 0.0)
    assert dirty.take(1, 0.0) == [Taken(b"a", from_scan=False)]


def test_a_scan_does_not_take_a_real_hint_back() -> None:
    dirty = DirtySet()
    dirty.add(b"a", 0.0)
    dirty.add(b"a", 0.0, from_scan=True)
    assert dirty.take(1, 0.0) == [Taken(b"a", from_scan=False)]


def test_what_is_forced_stays_forced_until_it_is_taken() -> None:
    dirty = DirtySet()
    dirty.add(b"a", 0.0, 1.0, force=True)
    dirty.add(b"a", 0.0)
    assert dirty.take(1, 0.0) == [Taken(b"a", force=True)]
    dirty.add(b"a", 0.0)
    assert dirty.take(1, 0.0) == [Taken(b"a", force=False)]


def test_what_is_given_back_comes_first_and_once() -> None:
    dirty = DirtySet()
    for path in (b"a", b"b", b"c"):
        dirty.add(path, 0.0)
    taken = dirty.take(2, 0.0)
    dirty.add(b"b", 0.0, 3.0, force=True)
    dirty.give_back(taken)
    assert len(dirty) == 3
    assert dirty.take(9, 0.0) == [Taken(b"a"), Taken(b"b", force=True), Taken(b"c")]
    assert dirty.take(9, 9.0) == []


def test_a_subtree_holds_what_lies_in_it() -> None:
    dirty = DirtySet()
    for path in (b"d/e", b"x", b"d", b"d/e/f", b"d-x"):
        dirty.add_subtree(path)
    assert [dirty.take_subtree() for _ in range(4)] == [b"x", b"d", b"d-x", None]


def test_the_whole_tree_can_be_left_for_later() -> None:
    dirty = DirtySet()
    dirty.add_subtree(b"")
    assert dirty.take_subtree(but_root=True) is None
    assert dirty.has_subtree()
    assert dirty.take_subtree() == b""


def test_subtrees_are_those_of_the_plain_rule_whatever_comes_and_goes() -> None:
    rng = random.Random(7)
    dirty, plain = DirtySet(), list[bytes]()
    for _ in range(3000):
        if rng.random() < 0.3:
            assert dirty.take_subtree() == (plain.pop(0) if plain else None)
            continue
        path = b"/".join(rng.choice((b"a", b"b", b"c")) for _ in range(rng.randrange(5)))
        dirty.add_subtree(path)
        if not any(path == wider or is_below(path, wider) for wider in plain):
            plain = [*(known for known in plain if not is_below(known, path)), path]
    assert [dirty.take_subtree() for _ in range(len(plain) + 1)] == [*plain, None]


def test_ten_thousand_directories_that_come_at_once_cost_no_more_each_than_one() -> None:
    dirty = DirtySet()
    began = time.process_time()
    for number in range(20_000):
        dirty.add_subtree(b"artist%d/album" % number)
    assert time.process_time() - began < 5


def test_the_time_of_the_first_hint_stays() -> None:
    """Through later hints, a delay, a force and being given back; a path that was taken begins anew."""
    dirty = DirtySet()
    dirty.add(b"a", 5.0)
    dirty.add(b"a", 7.5, force=True)
    dirty.add(b"b", 6.0, not_before=9.0)
    dirty.add(b"b", 8.0)
    (a, b) = dirty.take(9, 10.0)
    assert [(one.path, one.since, one.force) for one in (a, b)] == [(b"a", 5.0, True), (b"b", 6.0, False)]
    dirty.add(b"a", 11.0)
    dirty.give_back([a])
    assert dirty.take(9, 12.0) == [Taken(b"a", force=True, since=5.0)]
    dirty.add(b"a", 13.0)
    assert dirty.take(9, 13.0) == [Taken(b"a", since=13.0)]
