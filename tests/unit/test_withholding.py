"""What goes on of a round when some deletes in it are held, and what waits with them."""

from common.entries import Entry, directory_entry, file_entry
from common.names import PATTERNS_PATH
from producer.values import Change
from producer.withholding import Divided, divide, leaving, takes_away

FILE, DIRECTORY = file_entry(0o644, 0, 1, b"digest"), directory_entry(0o755)
INDEX: dict[bytes, Entry] = {b"d": DIRECTORY, b"d/a": FILE, b"d/e": DIRECTORY, b"d/e/b": FILE, b"x": FILE}


def _below(directory: bytes) -> list[tuple[bytes, Entry]]:
    return [(path, entry) for path, entry in INDEX.items() if path.startswith(directory + b"/")]


def _delete(path: bytes) -> Change:
    return Change(path, INDEX[path], None)


def test_only_what_goes_from_a_disk_takes_away() -> None:
    assert takes_away(_delete(b"x"))
    assert takes_away(Change(b"d", DIRECTORY, FILE))
    assert not takes_away(Change(b"x", FILE, DIRECTORY)), "nothing but itself is there, and it is there still"
    assert not takes_away(Change(b"new", None, FILE))
    assert not takes_away(Change(b"x", FILE, None, keep=True)), "an exclusion leaves the disks alone"
    assert not takes_away(Change(PATTERNS_PATH, FILE, None)), "the patterns are on no disk"


def test_a_directory_takes_everything_below_along_by_name() -> None:
    assert leaving([_delete(b"d")], _below).keys() == INDEX.keys() - {b"x"}
    assert leaving([Change(b"d", DIRECTORY, FILE)], _below).keys() == INDEX.keys() - {b"x", b"d"}


def test_what_is_held_stays_and_all_else_goes() -> None:
    changes = [_delete(b"x"), _delete(b"d/a"), Change(b"new", None, FILE)]
    assert divide(changes, leaving(changes, _below), {b"x"}) == Divided(changes[1:], [])


def test_a_directory_waits_for_what_is_held_below_and_what_is_free_in_it_goes_by_name() -> None:
    changes = [_delete(b"d")]
    divided = divide(changes, leaving(changes, _below), {b"d/e/b"})
    assert divided.goes == [Change(b"d/a", FILE, None)]
    assert sorted(divided.waits) == [b"d", b"d/e"]


def test_a_file_waits_that_stands_where_something_is_held_below() -> None:
    changes = [Change(b"d", DIRECTORY, FILE)]
    divided = divide(changes, leaving(changes, _below), {b"d/a", b"d/e", b"d/e/b"})
    assert divided == Divided([], [b"d"])


def test_one_subtree_waits_and_another_goes_whole() -> None:
    changes = [_delete(b"d/e"), _delete(b"x")]
    assert divide(changes, leaving(changes, _below), {b"x"}) == Divided([_delete(b"d/e")], [])
