"""The change log in a real journal: it changes with the batch or not at all, is bounded, and answers since questions."""

import os
import sqlite3
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from common.digests import rows_digest
from common.entries import Entry
from common.errors import NoRoomError, StateError
from common.messages import AskSince, Question, Since, TooOld
from common.wire import codec
from producer import changed, changelog, numbering, since
from producer.changed import Ahead, Changed, OutOfReach
from producer.journal import Journal
from producer.journal_schema import open_reader
from producer.values import Change
from tests.logged_journal import DIRECTORY, LoggedJournal, file, reading


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[LoggedJournal]:
    logged = LoggedJournal(tmp_path / "journal.db")
    yield logged
    logged.journal.close()


def _log(logged: LoggedJournal, path: bytes = b"") -> list[tuple[int, str, bytes]]:
    rows = changelog.history(logged.journal._database, path)
    return [(row.sequence, row.what, row.path) for row in rows]


def _question(logged: LoggedJournal, base: int) -> Question:
    return Question("music", logged.journal.stand.lineage.epoch, "paris", os.urandom(16), AskSince(base))


def _answers(
    logged: LoggedJournal, base: int, contents: dict[bytes, bytes] | None = None, doubts: list[bytes] | None = None
) -> list[Since | TooOld]:
    """What is said, through the wire and back."""
    found = logged.journal.changed_since(base)
    assert not isinstance(found, Ahead)
    doubt = (doubts if doubts is not None else []).append
    made = changed.answers(_question(logged, base), found, partial(reading, contents), doubt)
    back = [codec.decode_downstream(codec.encode(one), "music") for one in made]
    return [one for one in back if isinstance(one, Since | TooOld)]


def _rows(logged: LoggedJournal, base: int) -> dict[bytes, Entry | None]:
    answers = _answers(logged, base)
    return {row.path: row.entry for one in answers if isinstance(one, Since) for row in one.rows}


def _reach(logged: LoggedJournal) -> int:
    return changelog.reach(logged.journal._database)


def test_an_answer_names_each_changed_path_once_as_it_is_now(logged: LoggedJournal) -> None:
    logged.commit((b"d", DIRECTORY), (b"d/a", file("1")), (b"b", file("1")), (b"c", file("1")))
    logged.commit((b"b", file("2")), (b"c", None), (b"n", file("1")))
    logged.commit((b"b", file("3")), (b"n", None))
    assert _rows(logged, 4) == {b"b": file("3"), b"c": None, b"n": None}
    assert _rows(logged, 7) == {b"b": file("3"), b"n": None}


def test_an_answer_states_what_it_is_and_proves_itself(logged: LoggedJournal) -> None:
    """Position, base and digest of all rows; contents go along where the source still has them, and are doubted where not."""
    logged.commit((b"a", file("one")), (b"b", file("two")), (b"d", DIRECTORY))
    doubts: list[bytes] = []
    (answer,) = _answers(logged, 0, {b"a": b"one", b"b": b"other"}, doubts)
    assert isinstance(answer, Since)
    stand = logged.journal.stand
    assert (answer.lineage, answer.at, answer.base, answer.part, answer.of) == (stand.lineage, 3, 0, 0, 1)
    assert answer.digest == rows_digest(stand.lineage.salt, [(row.path, row.entry) for row in answer.rows])
    assert [(row.path, row.body) for row in answer.rows] == [(b"a", b"one"), (b"b", None), (b"d", None)]
    assert doubts == [b"b"]


def test_nothing_changed_is_one_part_without_rows(logged: LoggedJournal) -> None:
    logged.commit((b"a", file("1")))
    (answer,) = _answers(logged, 1)
    assert isinstance(answer, Since)
    assert (answer.rows, answer.of, answer.digest) == ((), 1, bytes(32))


def test_an_answer_in_parts_is_of_one_position_whatever_is_committed_between_them(
    logged: LoggedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(since, "PART_ROWS", 2)
    logged.commit(*[(b"%d" % number, file("1")) for number in range(5)])
    found = logged.journal.changed_since(0)
    assert isinstance(found, Changed)
    parts = changed.answers(_question(logged, 0), found, reading, lambda path: None)
    first = next(parts)
    logged.commit((b"3", None), (b"4", file("2")))
    rest = [first, *parts]
    assert [(one.at, len(one.rows)) for one in rest if isinstance(one, Since)] == [(5, 2), (5, 2), (5, 1)]
    rows = [(row.path, row.entry) for one in rest if isinstance(one, Since) for row in one.rows]
    assert dict(rows) == {b"%d" % number: file("1") for number in range(5)}
    assert found.digest == rows_digest(logged.journal.stand.lineage.salt, rows)


def test_a_read_only_connection_answers_beside_the_writer(logged: LoggedJournal) -> None:
    """Another process may answer: it sees what is committed, sequence and rows of one moment."""
    logged.commit((b"a", file("1")))
    reader = open_reader(logged.path)
    logged.commit((b"a", file("2")))
    found = changed.changed_since(reader, 1)
    assert isinstance(found, Changed)
    assert (found.at, found.lineage) == (2, logged.journal.stand.lineage)
    assert not reader.in_transaction
    reader.close()


def test_rows_are_those_of_the_position_though_a_batch_is_committed_meanwhile(
    logged: LoggedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between what is read for one answer anything may be committed: it is not in the answer."""
    logged.commit((b"a", file("1")), (b"b", file("1")))
    reader = open_reader(logged.path)
    paths_since = changelog.paths_since

    def meanwhile(database: sqlite3.Connection, base: int, limit: int) -> set[bytes] | None:
        logged.commit((b"a", file("2")), (b"b", None), (b"new", file("1")))
        return paths_since(database, base, limit)

    monkeypatch.setattr(changelog, "paths_since", meanwhile)
    found = changed.changed_since(reader, 0)
    assert isinstance(found, Changed)
    (answer,) = changed.answers(_question(logged, 0), found, reading, lambda path: None)
    assert isinstance(answer, Since)
    assert (answer.at, {row.path: row.entry for row in answer.rows}) == (2, {b"a": file("1"), b"b": file("1")})
    reader.close()


def test_a_base_beyond_the_journal_is_not_answered(logged: LoggedJournal) -> None:
    logged.commit((b"a", file("1")))
    found = logged.journal.changed_since(2)
    assert isinstance(found, Ahead)
    assert "stands at 1" in changed.ahead_text("paris", 2, found)


def test_a_base_of_before_the_epoch_is_too_old_and_the_old_rows_stay_readable(logged: LoggedJournal) -> None:
    logged.commit((b"a", file("1")), (b"b", file("1")))
    logged.crash()
    logged.commit((b"b", None))
    assert [one.reach for one in _answers(logged, 1) if isinstance(one, TooOld)] == [2]
    assert _rows(logged, 2) == {b"b": None}
    assert _log(logged) == [(1, "create", b"a"), (2, "create", b"b"), (3, "delete", b"b")]


def test_the_log_is_pruned_from_the_oldest_and_says_how_far_it_reaches(tmp_path: Path) -> None:
    logged = LoggedJournal(tmp_path / "journal.db", log_limit_rows=10)
    for number in range(30):
        logged.commit((b"%d" % number, file("1")))
        assert len(_log(logged)) == min(10, number + 1)
    assert _reach(logged) == 20
    assert [sequence for sequence, _, _ in _log(logged)] == list(range(21, 31))
    assert isinstance(logged.journal.changed_since(19), OutOfReach)
    assert len(_rows(logged, 20)) == 10
    logged.journal.close()


def test_a_batch_is_pruned_whole_when_those_after_it_fill_the_log(tmp_path: Path) -> None:
    logged = LoggedJournal(tmp_path / "journal.db", log_limit_rows=10)
    logged.commit(*[(b"%d" % number, file("1")) for number in range(8)])
    logged.commit(*[(b"%d" % number, file("2")) for number in range(8)])
    assert len(_log(logged)) == 16
    logged.commit((b"0", None), (b"1", None))
    assert (len(_log(logged)), _reach(logged)) == (10, 8)
    logged.journal.close()


def test_rows_of_earlier_epochs_are_pruned_without_a_word(tmp_path: Path) -> None:
    """What they were pruned for does not reach into this epoch: all of it is still answered."""
    logged = LoggedJournal(tmp_path / "journal.db", log_limit_rows=5)
    logged.commit(*[(b"%d" % number, file("1")) for number in range(9)])
    logged.crash()
    logged.commit(*[(b"%d" % number, None) for number in range(5)])
    assert len(_log(logged)) == 5
    assert _reach(logged) == 9
    assert len(_rows(logged, 9)) == 5
    logged.journal.close()


def test_a_lowered_limit_is_reached_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit takes out more than a slice of batches: none gets slow."""
    monkeypatch.setattr(changelog, "SLICE_BATCHES", 4)
    monkeypatch.setattr(changelog, "PRUNE_EVERY_ROWS", 1)
    logged = LoggedJournal(tmp_path / "journal.db")
    for number in range(30):
        logged.commit((b"%d" % number, file("1")))
    logged.log_limit_rows = 5
    logged.crash()
    lengths = [30]
    while lengths[-1] > 5:
        logged.commit((b"a", file(str(len(lengths)))))
        lengths.append(len(_log(logged)))
    assert {before - after for before, after in pairwise(lengths)} <= {1, 2, 3}
    logged.journal.close()


def test_a_base_within_a_batch_is_answered_from_there(logged: LoggedJournal) -> None:
    """No replica stands there; what is asked is answered as it is said."""
    logged.commit(*[(b"%d" % number, file("1")) for number in range(5)])
    assert sorted(_rows(logged, 3)) == [b"3", b"4"]


def test_a_damaged_log_is_said_so(logged: LoggedJournal) -> None:
    logged.commit((b"a", file("1")))
    logged.journal._database.execute("UPDATE log SET rows = x'28b52f00'")
    with pytest.raises(StateError, match="damaged"):
        logged.journal.changed_since(0)


def test_a_commit_that_fails_leaves_no_trace_in_the_log(logged: LoggedJournal) -> None:
    """Tree, sequence and log change together, or none of them."""
    logged.commit((b"a", file("1")))
    database = logged.journal._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    many = [(b"%04d" % number, file("1")) for number in range(2000)]
    with pytest.raises(NoRoomError):
        logged.commit(*many)
    assert _log(logged) == [(1, "create", b"a")]
    database.execute("PRAGMA max_page_count = 1000000")
    logged.commit(*many)
    assert len(_log(logged)) == 2001


def test_an_answer_that_costs_more_than_buckets_is_too_old_and_says_from_where_it_is_not(
    logged: LoggedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base that it names is served, so who drops the older ones asks again with hope; few paths changed often are served."""
    monkeypatch.setattr(since, "DIGESTS_WORTH_ROWS", 4)
    logged.commit(*[(b"%d" % number, file("1")) for number in range(12)])
    logged.commit(*[(b"%d" % number, None) for number in range(12)])
    (refusal,) = _answers(logged, 0)
    assert isinstance(refusal, TooOld)
    assert refusal.reach == 20
    assert len(_rows(logged, refusal.reach)) == 4
    for turn in range(40):
        logged.commit((b"hot", file(str(turn))))
    assert _rows(logged, 24) == {b"hot": file("39")}


def test_the_window_is_told_from_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing changed: as long as is ever said. Half full after 100 s: 200 s. Full: the age of the oldest that is served."""
    logged = LoggedJournal(tmp_path / "journal.db", log_limit_rows=80)
    clock = [1_000_000]
    monkeypatch.setattr("producer.journal._unix_ms", lambda: clock[0])
    assert logged.journal.catch_up_window_seconds() == since.WINDOW_LIMIT_SECONDS
    logged.commit(*[(b"%d" % number, file("1")) for number in range(40)])
    clock[0] += 100_000
    assert logged.journal.catch_up_window_seconds() == 200
    logged.commit(*[(b"%d" % number, None) for number in range(40)])
    clock[0] += 50_000
    assert logged.journal.catch_up_window_seconds() == 150
    logged.commit((b"x", file("1")))
    assert logged.journal.catch_up_window_seconds() == 150
    for turn in range(100):
        logged.commit((b"x", file(f"more {turn}")))
        clock[0] += 1000
    assert 80 <= logged.journal.catch_up_window_seconds() <= 100
    logged.journal.close()


def test_the_log_of_a_path_tells_what_became_of_it(logged: LoggedJournal) -> None:
    """A path below a directory that went is named itself; its neighbours by name are not below it."""
    logged.commit((b"d", DIRECTORY), (b"d/a", file("1")), (b"d0", file("1")), (b"d-", file("1")))
    logged.commit((b"d/a", None), (b"d", None))
    logged.commit((b"d", file("1")))
    assert _log(logged, b"d/a") == [(2, "create", b"d/a"), (5, "delete", b"d/a")]
    assert [path for _, _, path in _log(logged, b"d")] == [b"d", b"d/a", b"d/a", b"d", b"d"]
    gone = list(changelog.history(logged.journal._database, deleted=True))
    assert [(row.path, row.old_size) for row in gone] == [(b"d/a", 1), (b"d", 0)]


def test_the_newest_are_read_in_pages_with_no_transaction_open_between_them(
    logged: LoggedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelog, "_PAGE_BATCHES", 2)
    for number in range(0, 10, 2):
        logged.commit((b"%d" % number, file("1")), (b"%d" % (number + 1), file("1")))
    database = logged.journal._database
    for newest, expected in ((7, [4, 5, 6, 7, 8, 9, 10]), (None, list(range(1, 11))), (100, list(range(1, 11)))):
        seen = []
        for row in changelog.history(database, newest=newest):
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            seen.append(row.sequence)
        assert seen == expected
    assert [row.path for row in changelog.history(logged.journal._database, b"9", newest=7)] == [b"9"]


def test_only_what_is_late_enough_is_read(logged: LoggedJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    for unix_ms in (1000, 2000, 3000):
        monkeypatch.setattr("producer.journal._unix_ms", lambda unix_ms=unix_ms: unix_ms)
        logged.commit((b"a", file(str(unix_ms))))
    late = changelog.history(logged.journal._database, from_unix_ms=2000)
    assert [(row.sequence, row.unix_ms) for row in late] == [(2, 2000), (3, 3000)]


def test_what_was_excluded_was_not_deleted(logged: LoggedJournal) -> None:
    logged.commit((b"a", file("1")))
    change = Change(b"a", file("1"), None, keep=True)
    logged.journal.commit(numbering.number(logged.journal.stand, [change]))
    assert _log(logged) == [(1, "create", b"a"), (2, "exclude", b"a")]
    assert _rows(logged, 1) == {b"a": None}


def test_the_log_opens_as_it_was_left(logged: LoggedJournal) -> None:
    logged.commit((b"a", file("1")))
    logged.journal.close()
    again = Journal(logged.path, "music")
    assert isinstance(again.changed_since(0), Changed)
    again.close()


def test_the_newest_at_one_path_are_found_and_how_far_back_was_looked(logged: LoggedJournal) -> None:
    """None below it, none of a path that begins with the same bytes, none after the sequence; where time is up it says so."""
    logged.commit((b"a", DIRECTORY), (b"a/b", file("1")), (b"a/bc", file("1")))
    for number in range(40):
        logged.commit((b"a/b", file(f"{number:03}")), (b"a/b/c", file("x")))
    logged.commit((b"a/b", None))
    last = logged.at

    def newest(path: bytes, limit: int, up_to: int = last, *, is_over: bool = False) -> tuple[list[int], bool]:
        rows, read_back_to = changelog.newest_at(logged.journal._database, path, limit, up_to, lambda: is_over)
        return [row.sequence for row in rows], read_back_to is None

    assert newest(b"a/b", 2) == ([last - 1, last], True)
    assert newest(b"a/b", 1, last - 1) == ([last - 1], True)
    assert newest(b"a/bc", 9) == ([3], True)
    assert newest(b"a/bc", 9, is_over=True) == ([], False)
    assert newest(b"none", 9) == ([], True)
