"""The join of walk and index, and the order of the walk, against the plainest way to say the same."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.entries import Kind, file_entry
from common.names import is_below
from common.patterns import Patterns
from producer.differences import Sort, differences
from producer.scan import walk
from producer.values import Identity, Known, Seen, Unreadable

PATHS = st.lists(st.sampled_from([b"a", b"a-", b"a0", b"b"]), min_size=1, max_size=3).map(b"/".join)
CONTENTS = st.integers(0, 2)
NAMES = st.binary(min_size=1, max_size=4).filter(lambda name: not set(name) & set(b"/\0") and name not in (b".", b".."))
TREES = st.recursive(st.none(), lambda below: st.dictionaries(NAMES, below, max_size=4), max_leaves=12)


def seen(path: bytes, content: int) -> Seen:
    return Seen(path, Kind.FILE, 0o644, content, 1, Identity(1, content))


def known(path: bytes, content: int) -> Known:
    return Known(path, file_entry(0o644, content, 1, bytes(32)), Identity(1, content))


@given(st.dictionaries(PATHS, CONTENTS), st.dictionaries(PATHS, CONTENTS), st.sets(PATHS, max_size=2))
def test_the_join_finds_what_comparing_two_dicts_finds(
    disk: dict[bytes, int], index: dict[bytes, int], closed: set[bytes]
) -> None:
    """Nothing is said to be gone at or below what could not be looked at; everything else that differs is named once."""
    disk = {path: content for path, content in disk.items() if not any(_at_or_below(path, one) for one in closed)}
    closed = {one for one in closed if not any(is_below(one, other) for other in closed)}
    found = [seen(path, content) for path, content in disk.items()] + [Unreadable(path, "no") for path in closed]
    rows = [known(path, index[path]) for path in sorted(index)]

    told = {one.path: one.sort for one in differences(sorted(found, key=lambda one: one.path), rows)}

    expected: dict[bytes, Sort] = dict.fromkeys(closed, Sort.PROBLEM)
    for path in disk.keys() | index.keys():
        if any(_at_or_below(path, one) for one in closed):
            continue
        if path not in disk:
            expected[path] = Sort.GONE
        elif path not in index:
            expected[path] = Sort.NEW
        elif disk[path] != index[path]:
            expected[path] = Sort.CHANGED
    assert told == expected


def _at_or_below(path: bytes, top: bytes) -> bool:
    return path == top or is_below(path, top)


@given(tree=TREES)
def test_a_walk_yields_every_path_once_in_byte_order(tmp_path_factory: pytest.TempPathFactory, tree: object) -> None:
    """`a` < `a-b` < `a/x`, whatever bytes the names are made of; and from a start, that path and what is below it."""
    root = tmp_path_factory.mktemp("tree")
    if isinstance(tree, dict):
        _make(os.fsencode(root), tree)
    expected = sorted(_paths(os.fsencode(root), b""))
    descriptor = os.open(root, os.O_RDONLY)
    try:
        assert [found.path for found in walk(descriptor, b"", Patterns())] == expected
        for start in expected:
            below = [path for path in expected if _at_or_below(path, start)]
            assert [found.path for found in walk(descriptor, start, Patterns())] == below
    finally:
        os.close(descriptor)


def _make(directory: bytes, tree: dict[bytes, object]) -> None:
    for name, below in tree.items():
        path = os.path.join(directory, name)
        if isinstance(below, dict):
            os.mkdir(path)
            _make(path, below)
        else:
            Path(os.fsdecode(path)).touch()


def _paths(base: bytes, path: bytes) -> list[bytes]:
    found = []
    for name in os.listdir(os.path.join(base, path)):
        here = os.path.join(path, name)
        found.append(here)
        if stat.S_ISDIR(os.lstat(os.path.join(base, here)).st_mode):
            found += _paths(base, here)
    return found
