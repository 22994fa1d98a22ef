"""Whatever was found, after each single change the published tree is a tree."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from common.entries import Entry, directory_entry, file_entry
from common.names import is_below
from producer.closing import close
from producer.values import Change

DIRECTORY = directory_entry(0o755)
OTHER_DIRECTORY = directory_entry(0o700)
FILE = file_entry(0o644, 1, 0, bytes(32))
OTHER_FILE = file_entry(0o644, 2, 0, bytes(32))

names = st.sampled_from([b"a", b"b", b"a-b"])
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)
entries = st.sampled_from([DIRECTORY, OTHER_DIRECTORY, FILE, OTHER_FILE])
# Every path is in it or not; what has no directory above is dropped.
drafts = st.dictionaries(paths, entries, max_size=14)
looks = st.dictionaries(paths, st.one_of(st.none(), entries), max_size=14)


def _is_tree(tree: dict[bytes, Entry]) -> bool:
    return all(not above or (above in tree and tree[above].is_directory) for above in map(_above, tree))


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _tree(draft: dict[bytes, Entry]) -> dict[bytes, Entry]:
    tree: dict[bytes, Entry] = {}
    for path in sorted(draft):
        above = _above(path)
        if not above or (above in tree and tree[above].is_directory):
            tree[path] = draft[path]
    return tree


class _Index:
    def __init__(self, tree: dict[bytes, Entry]) -> None:
        self.tree = tree

    def entry(self, path: bytes) -> Entry | None:
        return self.tree.get(path)

    def below(self, path: bytes) -> Iterator[tuple[bytes, Entry]]:
        for found in sorted(self.tree, reverse=True):
            if is_below(found, path):
                yield found, self.tree[found]


def _changes(tree: dict[bytes, Entry], found: dict[bytes, Entry | None]) -> list[Change]:
    return [Change(path, tree.get(path), new) for path, new in found.items() if new != tree.get(path)]


@settings(max_examples=200, deadline=None)
@given(drafts, looks, st.booleans())
def test_every_prefix_is_a_tree_and_every_path_comes_once(
    draft: dict[bytes, Entry], found: dict[bytes, Entry | None], commits_between: bool
) -> None:
    tree = _tree(draft)
    index = _Index(dict(tree))
    changes = _changes(tree, found)
    closed = close(changes, index)
    done = set()
    for change in closed.ordered:
        assert change.path not in done
        assert change.old == tree.get(change.path)
        done.add(change.path)
        if change.new is None:
            del tree[change.path]
        else:
            tree[change.path] = change.new
        assert _is_tree(tree)
        if commits_between:
            index.tree.clear()
            index.tree.update(tree)
    waiting = {one.change.path for one in closed.waiting}
    for change in changes:
        if change.path not in waiting:
            assert tree.get(change.path) == change.new
    for path in set(found) | set(tree):
        if path not in {change.path for change in changes}:
            assert path not in done or any(is_below(path, gone.path) for gone in changes if _ends(gone))


def _ends(change: Change) -> bool:
    return change.new is None or not change.new.is_directory


@settings(max_examples=120, deadline=None)
@given(drafts, looks)
def test_only_what_has_no_directory_above_waits_and_says_for_which(
    draft: dict[bytes, Entry], found: dict[bytes, Entry | None]
) -> None:
    tree = _tree(draft)
    changes = _changes(tree, found)
    final: dict[bytes, Entry | None] = {**tree, **{change.path: change.new for change in changes}}
    closed = close(changes, _Index(tree))
    for change, ancestor in closed.waiting:
        assert change.new is not None
        assert is_below(change.path, ancestor)
        there = final.get(ancestor)
        assert there is None or not there.is_directory
    waiting = {one.change.path for one in closed.waiting}
    for change in changes:
        if change.new is not None and change.path not in waiting:
            above = _above(change.path)
            assert not above or (final[above] or FILE).is_directory
