"""The digests' laws: kept up step by step or made from scratch, in whatever order, they are the same."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from common.digests import BUCKETS, EMPTY_BUCKET, BucketDigests, bucket_digest, bucket_of
from common.entries import Entry, directory_entry, file_entry, symlink_entry

SALT = bytes(range(32))
RELAXED = settings(deadline=None, max_examples=50)
digests = st.binary(min_size=32, max_size=32)
entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(directory_entry, st.integers(0, 0o777)),
    st.builds(
        file_entry, st.integers(0, 0o777), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 40), digests
    ),
    st.builds(symlink_entry, st.integers(1, 4095), digests),
)
paths = st.binary(min_size=1, max_size=3)
trees = st.dictionaries(paths, entries, max_size=15)


def from_scratch(tree: dict[bytes, Entry]) -> BucketDigests:
    made = BucketDigests(SALT)
    for bucket in {bucket_of(SALT, path) for path in tree}:
        rows = [(path, entry) for path, entry in tree.items() if bucket_of(SALT, path) == bucket]
        made.put(bucket, bucket_digest(SALT, rows))
    return made


@RELAXED
@given(st.lists(st.tuples(paths, st.none() | entries), max_size=30))
def test_kept_up_step_by_step_is_the_same_as_from_scratch(changes: list[tuple[bytes, Entry | None]]) -> None:
    tree: dict[bytes, Entry] = {}
    running = BucketDigests(SALT)
    for path, new in changes:
        assert running.replace(path, tree.get(path), new) == bucket_of(SALT, path)
        tree.pop(path, None)
        if new is not None:
            tree[path] = new
    scratch = from_scratch(tree)
    assert [running.of(bucket) for bucket in range(BUCKETS)] == [scratch.of(bucket) for bucket in range(BUCKETS)]
    assert running.tree_digest() == scratch.tree_digest()


@RELAXED
@given(trees, st.randoms(use_true_random=False))
def test_the_order_of_entries_does_not_matter(tree: dict[bytes, Entry], random: Random) -> None:
    rows = list(tree.items())
    shuffled = random.sample(rows, len(rows))
    assert bucket_digest(SALT, rows) == bucket_digest(SALT, shuffled) == bucket_digest(SALT, reversed(rows))


@RELAXED
@given(trees)
def test_what_is_put_in_and_taken_out_leaves_nothing(tree: dict[bytes, Entry]) -> None:
    running = BucketDigests(SALT)
    for path, entry in tree.items():
        running.replace(path, None, entry)
    for path, entry in reversed(tree.items()):
        running.replace(path, entry, None)
    assert all(running.of(bucket) == EMPTY_BUCKET for bucket in range(BUCKETS))
    assert running.tree_digest() == BucketDigests(SALT).tree_digest()


@RELAXED
@given(paths, entries, entries)
def test_any_difference_of_one_entry_is_seen(path: bytes, one: Entry, other: Entry) -> None:
    same = bucket_digest(SALT, [(path, one)]) == bucket_digest(SALT, [(path, other)])
    assert same == (one == other)


@RELAXED
@given(st.binary(max_size=64), st.binary(min_size=32, max_size=32))
def test_a_bucket_is_one_of_4096_for_any_path_and_salt(path: bytes, salt: bytes) -> None:
    assert 0 <= bucket_of(salt, path) < BUCKETS
