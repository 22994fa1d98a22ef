"""Which large files are hashed next, and what is owed before a base is complete."""

from producer.unhashed import IN_HAND_LIMIT, Unhashed
from producer.values import Hashed, Identity


def hashed(path: bytes) -> Hashed:
    return Hashed(path, bytes(32), Identity(1, 2), 3, 4)


def test_a_file_is_hashed_once_however_often_it_is_looked_at_meanwhile() -> None:
    unhashed = Unhashed()
    assert unhashed.begin(b"a", force=False, is_busy=False)
    assert not unhashed.begin(b"a", force=True, is_busy=False)
    unhashed.finished(b"a", hashed(b"a"))
    assert len(unhashed) == 1
    assert unhashed.take(b"a") == hashed(b"a")
    assert unhashed.take(b"a") is None
    assert len(unhashed) == 0


def test_few_are_held_open_and_the_others_wait_for_their_turn() -> None:
    unhashed = Unhashed()
    paths = [b"%d" % number for number in range(IN_HAND_LIMIT + 2)]
    begun = [path for path in paths if unhashed.begin(path, force=path == paths[-1], is_busy=False)]
    assert begun == paths[:IN_HAND_LIMIT]
    assert unhashed.next() == []
    unhashed.finished(paths[0], hashed(paths[0]))
    unhashed.finished(paths[1], None)
    assert unhashed.next() == [(paths[-2], False), (paths[-1], True)]
    assert unhashed.next() == []


def test_a_base_owes_what_was_found_and_not_what_keeps_changing() -> None:
    unhashed = Unhashed()
    unhashed.begin(b"a", force=False, is_busy=False)
    unhashed.begin(b"b", force=False, is_busy=True)
    owed = [unhashed.owes]
    unhashed.finished(b"a", hashed(b"a"))
    owed.append(unhashed.owes)  # it was not looked at with its digest yet
    unhashed.take(b"a")
    unhashed.settled(b"a")
    owed.append(unhashed.owes)
    unhashed.begin(b"a", force=False, is_busy=False)
    unhashed.finished(b"a", None)
    assert [*owed, unhashed.owes] == [True, True, False, False]
