"""Where watched directories are, and records into names."""

from struct import pack

from producer.watch.kernel import Pending, collect
from producer.watch.places import Place, Places


def places() -> Places:
    """1 is the root; a is 2, a/b is 3, a/b/c is 4, z is 5."""
    made = Places()
    made.root = 1
    for watch, above, name in ((2, 1, b"a"), (3, 2, b"b"), (4, 3, b"c"), (5, 1, b"z")):
        made.put(watch, Place(above, name))
    return made


def test_a_move_carries_everything_below_along() -> None:
    here = places()
    here.put(3, Place(5, b"moved"))
    assert here.path(4) == b"z/moved/c"
    assert here.path_of(Place(1, b"x")) == b"x"
    assert here.path(1) == b""


def test_a_subtree_is_everything_below_and_nothing_beside() -> None:
    assert sorted(places().subtree(2)) == [2, 3, 4]
    assert places().subtree(4) == [4]


def test_what_hangs_on_nothing_has_no_path() -> None:
    here = places()
    here.drop(2)
    assert here.path(4) is None
    assert here.path(5) == b"z"


def test_a_ring_of_moves_that_are_half_told_has_no_path_and_ends() -> None:
    here = places()
    here.put(2, Place(4, b"a"))
    assert here.path(3) is None
    assert sorted(here.subtree(2)) == [2, 3, 4]
    assert here.subtree(5) == [5]


def record(watch: int, mask: int, name: bytes) -> bytes:
    padded = name + b"\0" * (-len(name) % 16 or 16) if name else b""
    return pack("=iIII", watch, mask, 0, len(padded)) + padded


def test_records_are_collected_once_for_each_name_in_the_order_of_the_first() -> None:
    pending: Pending = {}
    collect(record(1, 0x100, b"b") + record(2, 0x4, b"") + record(1, 0x100, b"a") + record(1, 0x8, b"b"), pending)
    collect(record(1, 0x2, b"\xff" * 255) + record(1, 0x40, b"a"), pending)
    assert list(pending.items()) == [
        ((1, b"b"), 0x108),
        ((2, b""), 0x4),
        ((1, b"a"), 0x140),
        ((1, b"\xff" * 255), 0x2),
    ]
