"""Digests of contents, buckets and trees by example: what they depend on, and what never changes between versions."""

from common.digests import (
    BUCKETS,
    EMPTY_BUCKET,
    BucketDigests,
    bucket_digest,
    bucket_of,
    content_digest,
    new_salt,
)
from common.entries import Entry, directory_entry, file_entry, symlink_entry

SALT = bytes(range(32))
ENTRY = file_entry(0o644, 5, 7, content_digest(b"content"))
BUCKETS_THEN = [1203, 2325, 3288]
ENTRY_THEN = "5516ce982c6e8c68c8000bb8e8fde8577bcc47ad9be75a082d5c33da90869541"
TREE_THEN = "b1d091cc1deb01220c98719966fad7a0d3c615f3510f4c03e9123e6f09436d65"


def digest_of(path: bytes, entry: Entry, salt: bytes = SALT) -> bytes:
    return bucket_digest(salt, [(path, entry)])


def test_released_digests_never_change() -> None:
    assert content_digest(b"").hex() == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
    assert [bucket_of(SALT, path) for path in (b"a", b"a/b", b"\xff")] == BUCKETS_THEN
    assert digest_of(b"a", ENTRY).hex() == ENTRY_THEN
    assert one_file().tree_digest().hex() == TREE_THEN


def one_file() -> BucketDigests:
    digests = BucketDigests(SALT)
    digests.replace(b"a", None, ENTRY)
    return digests


def test_every_part_of_an_entry_and_its_path_counts() -> None:
    others = [
        ENTRY._replace(mode=0o600),
        ENTRY._replace(mtime_ns=-5),
        ENTRY._replace(size=8),
        ENTRY._replace(digest=content_digest(b"other")),
        symlink_entry(7, ENTRY.digest),
        directory_entry(0o644),
    ]
    assert len({digest_of(b"a", ENTRY), digest_of(b"b", ENTRY), *(digest_of(b"a", other) for other in others)}) == 8


def test_path_and_content_digest_do_not_run_into_each_other() -> None:
    first = Entry(ENTRY.kind, 0, 0, 0, b"bc")
    second = Entry(ENTRY.kind, 0, 0, 0, b"c")
    assert digest_of(b"a", first) != digest_of(b"ab", second)


def test_another_salt_chooses_other_buckets_and_digests() -> None:
    other = new_salt()
    assert len(other) == 32
    assert digest_of(b"a", ENTRY) != digest_of(b"a", ENTRY, other)
    paths = [b"%d" % number for number in range(100)]
    assert [bucket_of(SALT, path) for path in paths] != [bucket_of(other, path) for path in paths]


def test_paths_spread_over_the_buckets() -> None:
    used = {bucket_of(SALT, b"playlists/%d.m3u8" % number) for number in range(50_000)}
    assert len(used) > BUCKETS * 0.99
    assert min(used) >= 0
    assert max(used) < BUCKETS


def test_an_empty_bucket_is_zero_and_the_sum_of_nothing() -> None:
    assert BucketDigests(SALT).of(17) == EMPTY_BUCKET == bucket_digest(SALT, [])


def test_a_copy_looks_ahead_and_leaves_the_original() -> None:
    digests = one_file()
    ahead = digests.copy()
    ahead.replace(b"a", ENTRY, None)
    assert ahead.tree_digest() == BucketDigests(SALT).tree_digest()
    assert digests.tree_digest() == one_file().tree_digest()


def test_buckets_read_back_one_by_one_are_the_same_tree() -> None:
    digests, again = one_file(), BucketDigests(SALT)
    bucket = bucket_of(SALT, b"a")
    again.put(bucket, digests.of(bucket))
    assert again.tree_digest() == digests.tree_digest()


def test_equal_trees_under_different_salts_have_different_digests() -> None:
    assert BucketDigests(SALT).tree_digest() != BucketDigests(bytes(32)).tree_digest()
