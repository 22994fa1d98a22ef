"""The rows of a batch in the change log: packed and back."""

import pytest

from common.entries import Entry, Kind, directory_entry, file_entry, symlink_entry
from common.errors import StateError
from producer.logrows import pack_rows, unpack_paths, unpack_rows
from producer.values import Change, Logged

LARGE = (1 << 63) - 1
FILE, DIRECTORY, LINK = file_entry(0o644, -5, LARGE, bytes(32)), directory_entry(0o755), symlink_entry(3, bytes(32))


def _rows(*changes: Change) -> list[Logged]:
    return list(unpack_rows(pack_rows(changes), 7, 6 + len(changes), 3, 1234))


def test_rows_come_back_as_they_were() -> None:
    found = _rows(
        Change(b"a\xff\n", None, FILE),
        Change(b"d/b", FILE, DIRECTORY),
        Change(b"c", LINK, None, keep=True),
        Change(b"c", LINK, None),
    )
    assert [row[:4] for row in found] == [(7 + n, 3, 1234, p) for n, p in enumerate([b"a\xff\n", b"d/b", b"c", b"c"])]
    assert [row.what for row in found] == ["create", "modify", "exclude", "delete"]
    assert [(row.old_kind, row.old_size, row.kind, row.size) for row in found] == [
        (0, 0, Kind.FILE, LARGE),
        (Kind.FILE, LARGE, Kind.DIRECTORY, 0),
        (Kind.SYMLINK, 3, 0, 0),
        (Kind.SYMLINK, 3, 0, 0),
    ]


def test_paths_alone_are_read_without_the_rest() -> None:
    changes = [Change(b"%d/x" % number, None, FILE) for number in range(1000)]
    packed = pack_rows(changes)
    assert unpack_paths(packed, 1000) == [change.path for change in changes]
    assert len(packed) < 10 * 1000


def test_every_pair_of_kinds_has_its_own_word() -> None:
    kinds: list[Entry | None] = [None, FILE, DIRECTORY, LINK]
    pairs = [(old, new) for old in kinds for new in kinds if old or new]
    found = _rows(*[Change(b"x", old, new) for old, new in pairs])
    assert [(row.old_kind, row.kind) for row in found] == [
        (old.kind if old else 0, new.kind if new else 0) for old, new in pairs
    ]


def test_damage_is_an_error_of_ours() -> None:
    packed = pack_rows([Change(b"%d" % number, None, FILE) for number in range(100)])
    with pytest.raises(StateError, match="damaged"):
        unpack_paths(packed[:-3], 100)
    with pytest.raises(StateError, match="damaged"):
        list(unpack_rows(packed[:10], 1, 100, 1, 1))
    with pytest.raises(StateError, match="damaged"):
        list(unpack_rows(b"", 1, 1, 1, 1))
