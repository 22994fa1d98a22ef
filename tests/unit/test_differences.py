"""Where a walk and the index disagree."""

import pytest

from common.entries import Entry, Kind, directory_entry, file_entry, symlink_entry
from producer.differences import Difference, Found, Sort, differences
from producer.values import Identity, Known, Problem, Seen, Unreadable

AT = Identity(7, 70)
DIGEST = bytes(32)
FILE = file_entry(0o644, 5, 3, DIGEST)


def seen(path: bytes, kind: Kind | None = Kind.FILE, *, mode: int = 0o644, mtime_ns: int = 5, size: int = 3) -> Seen:
    return Seen(path, kind, mode, mtime_ns, size, AT)


def known(path: bytes, entry: Entry = FILE, identity: Identity = AT) -> Known:
    return Known(path, entry, identity)


def directory(path: bytes, mode: int = 0o755, size: int = 4096) -> Seen:
    return seen(path, Kind.DIRECTORY, mode=mode, mtime_ns=99, size=size)


def test_equal_sides_differ_nowhere() -> None:
    rows = [known(b"a", directory_entry(0o755)), known(b"a-b"), known(b"a/x"), known(b"l", symlink_entry(3, DIGEST))]
    walk: list[Found] = [directory(b"a"), seen(b"a-b"), seen(b"a/x"), seen(b"l", Kind.SYMLINK, mode=0o777, mtime_ns=12)]
    assert list(differences(walk, rows)) == []


def test_tells_new_gone_and_changed_in_path_order() -> None:
    rows = [known(b"b"), known(b"c"), known(b"d")]
    walk: list[Found] = [seen(b"a"), seen(b"c", size=4), seen(b"e")]
    assert list(differences(walk, rows)) == [
        Difference(b"a", Sort.NEW),
        Difference(b"b", Sort.GONE),
        Difference(b"c", Sort.CHANGED),
        Difference(b"d", Sort.GONE),
        Difference(b"e", Sort.NEW),
    ]


@pytest.mark.parametrize(
    "found",
    [
        seen(b"p", mode=0o600),
        seen(b"p", mtime_ns=6),
        seen(b"p", size=4),
        seen(b"p", Kind.SYMLINK),
        seen(b"p", Kind.DIRECTORY),
        seen(b"p", None),
        seen(b"p")._replace(identity=Identity(8, 70)),
        seen(b"p")._replace(identity=Identity(7, 71)),
    ],
)
def test_of_a_file_everything_counts(found: Seen) -> None:
    assert list(differences([found], [known(b"p")])) == [Difference(b"p", Sort.CHANGED)]


def test_of_a_directory_only_kind_and_mode_count() -> None:
    row = known(b"d", directory_entry(0o755), Identity(1, 1))
    assert list(differences([directory(b"d", size=8)], [row])) == []
    assert list(differences([directory(b"d", mode=0o700)], [row])) == [Difference(b"d", Sort.CHANGED)]


def test_nothing_is_gone_below_an_unreadable_directory() -> None:
    """What sorts between the directory and its content is compared all the same."""
    rows = [
        known(b"d", directory_entry(0o755)),
        known(b"d-old"),
        known(b"d/x"),
        known(b"d/y/z"),
        known(b"d0"),
        known(b"e"),
    ]
    walk: list[Found] = [directory(b"d"), Unreadable(b"d", "permission denied"), seen(b"e")]
    assert list(differences(walk, rows)) == [
        Difference(b"d", Sort.PROBLEM, "permission denied"),
        Difference(b"d-old", Sort.GONE),
        Difference(b"d0", Sort.GONE),
    ]


def test_what_could_not_be_looked_at_is_not_gone_nor_what_is_below_it() -> None:
    """lstat fails at its place in the order, before names that sort between it and what is below it."""
    rows = [known(b"d"), known(b"d-b"), known(b"d/x"), known(b"e")]
    walk: list[Found] = [Unreadable(b"d", "i/o error"), seen(b"d-b"), seen(b"e")]
    assert list(differences(walk, rows)) == [Difference(b"d", Sort.PROBLEM, "i/o error")]


def test_an_unreadable_root_concludes_nothing() -> None:
    assert list(differences([Unreadable(b"", "why")], [known(b"a"), known(b"b/c")])) == [
        Difference(b"", Sort.PROBLEM, "why")
    ]


def test_a_path_that_no_tree_may_hold_is_a_problem_and_not_new() -> None:
    assert list(differences([Problem(b"p" * 5000, "path-too-long")], [])) == [
        Difference(b"p" * 5000, Sort.PROBLEM, "path-too-long")
    ]


def test_two_unreadable_paths_of_which_one_sorts_before_what_is_below_the_other() -> None:
    rows = [known(b"d"), known(b"d-b"), known(b"d-b/y"), known(b"d/x"), known(b"d0")]
    walk: list[Found] = [Unreadable(b"d", "one"), Unreadable(b"d-b", "two")]
    assert list(differences(walk, rows)) == [
        Difference(b"d", Sort.PROBLEM, "one"),
        Difference(b"d-b", Sort.PROBLEM, "two"),
        Difference(b"d0", Sort.GONE),
    ]
