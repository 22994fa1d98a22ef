"""What an epoch on trial would change on a replica, in numbers."""

from common.digests import content_digest
from common.entries import Entry, Event, Position, directory_entry, file_entry
from common.messages import Lineage, Trial
from common.names import PATTERNS_PATH
from common.patterns import Patterns, row_of
from consumer.tables import FRESH
from consumer.trials import Counts, is_for_us, is_same, patterns_in
from consumer.values import Row, Standing

TRIAL = Trial(Lineage("music", 9, b"n" * 16, bytes(32)), 0, b"d" * 32, 1, 0)


def file(content: bytes, mode: int = 0o644) -> Entry:
    return file_entry(mode, 0, len(content), content_digest(content))


def row(entry: Entry, *, found: bool = False) -> Row:
    return Row(entry, Position(1, 1), found)


def count(ours: dict[bytes, Row], theirs: list[Event], patterns: Patterns | None = None) -> Counts:
    counts = Counts()
    counts.add_bucket(ours, theirs, patterns or Patterns())
    return counts


def test_each_path_that_differs_is_counted_once() -> None:
    ours = {b"same": row(file(b"x")), b"mode": row(file(b"x")), b"gone": row(file(b"x"))}
    theirs = [Event(b"same", file(b"x")), Event(b"mode", file(b"x", 0o600)), Event(b"new", file(b"y"))]
    assert count(ours, theirs) == Counts(creates=1, modifies=1, deletes=1)


def test_what_nobody_published_and_what_is_excluded_is_no_delete() -> None:
    ours = {b"found": row(file(b"x"), found=True), b"a.tmp": row(file(b"x")), b"dir.tmp": row(directory_entry(0o755))}
    assert count(ours, [], Patterns(["*.tmp"])) == Counts()
    assert count(ours, []) == Counts(deletes=2)


def test_the_patterns_are_no_path() -> None:
    told = row_of(["*.tmp"])
    assert told is not None
    entry, body = told
    assert count({PATTERNS_PATH: row(entry)}, []) == count({}, [Event(PATTERNS_PATH, entry, body)]) == Counts()
    found = patterns_in([Event(b"a", file(b"x")), Event(PATTERNS_PATH, entry, body)])
    assert found is not None
    assert found.lines == ("*.tmp",)
    assert patterns_in([Event(PATTERNS_PATH, entry, b"other")]) is None
    assert patterns_in([]) is None


def test_only_who_follows_an_epoch_below_compares() -> None:
    def standing(epoch: int) -> Standing:
        return Standing(epoch, *[getattr(FRESH, name) for name in FRESH.__slots__[1:]])

    assert is_for_us(TRIAL, standing(8))
    assert not is_for_us(TRIAL, standing(9))
    assert not is_for_us(TRIAL, standing(0))


def test_a_trial_of_another_tree_or_run_is_another() -> None:
    again = Trial(TRIAL.lineage, 0, TRIAL.digest, 2, 5, "here:1")
    assert is_same(TRIAL, again)
    assert not is_same(TRIAL, Trial(TRIAL.lineage, 0, b"e" * 32, 1, 0))
    assert not is_same(TRIAL, Trial(Lineage("music", 9, b"m" * 16, bytes(32)), 0, TRIAL.digest, 1, 0))
