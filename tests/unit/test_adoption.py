"""What an adoption would do, in numbers."""

from common.digests import content_digest
from common.entries import Entry, Event, directory_entry, file_entry
from common.names import PATTERNS_PATH
from common.patterns import Patterns, row_of
from consumer.adoption import Counts

NONE = Patterns()


def file(content: bytes, mode: int = 0o644) -> Entry:
    return file_entry(mode, 0, len(content), content_digest(content))


def test_equal_content_is_kept_whatever_its_mode_and_time() -> None:
    counts = Counts()
    counts.add_bucket(
        {b"a": file(b"x"), b"d": directory_entry(0o700)},
        [Event(b"a", file(b"x", 0o600)), Event(b"d", directory_entry(0o755))],
        NONE,
    )
    assert counts == Counts(keep=2)


def test_what_is_missing_is_fetched_and_what_nobody_published_goes_aside() -> None:
    counts = Counts()
    counts.add_bucket({b"extra": file(b"x")}, [Event(b"new", file(b"y"))], NONE)
    assert counts == Counts(fetch=1, aside=1)


def test_another_content_is_fetched_and_the_old_one_goes_aside() -> None:
    counts = Counts()
    counts.add_bucket({b"a": file(b"x")}, [Event(b"a", file(b"y"))], NONE)
    assert counts == Counts(fetch=1, aside=1)


def test_counts_of_several_buckets_add_up_to_one_line() -> None:
    counts = Counts()
    counts.add_bucket({b"a": file(b"x")}, [Event(b"a", file(b"x"))], NONE)
    counts.add_bucket({}, [Event(b"b", file(b"y"))], NONE)
    assert str(counts) == "adopting it would keep 1 paths, fetch 1 and set 0 aside"


def test_what_the_tree_excludes_is_kept_and_its_patterns_are_no_path() -> None:
    counts, row = Counts(), row_of(["*.tmp"])
    assert row is not None
    ours = {b"a.tmp": file(b"x"), b"own": file(b"y")}
    counts.add_bucket(ours, [Event(PATTERNS_PATH, *row)], Patterns(["*.tmp"]))
    assert counts == Counts(keep=1, aside=1)
