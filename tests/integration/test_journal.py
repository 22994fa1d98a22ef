import sqlite3
from pathlib import Path

import pytest

from common.digests import BucketDigests
from common.entries import Entry, directory_entry, file_entry
from common.errors import NoRoomError, SettingError, StateError
from producer import journal_schema, numbering
from producer.epochs import new_lineage
from producer.guard import RootIdentity
from producer.journal import Journal
from producer.values import Change, Identity
from tests.golden_journal import GOLDEN, GOLDEN_CHANGES, GOLDEN_STATE, copy_of

WHO = Identity((1 << 64) - 3, -5)


def _file(number: int) -> Entry:
    return file_entry(0o644, number, 3, bytes([number % 256]) * 32)


def _change(journal: Journal, path: bytes, new: Entry | None) -> Change:
    return Change(path, journal.entry(path), new, None, WHO)


def _commit(journal: Journal, *changes: tuple[bytes, Entry | None]) -> numbering.Numbered:
    numbered = numbering.number(journal.stand, [_change(journal, path, new) for path, new in changes])
    journal.commit(numbered)
    return numbered


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Journal:
    journal = Journal(path, "music")
    journal.begin_epoch(new_lineage("music", journal.stand.lineage.salt, journal.highest_epoch, 1000.0))
    return journal


def test_a_commit_is_all_there_after_a_restart(journal: Journal, path: Path) -> None:
    _commit(journal, (b"d", directory_entry(0o755)), (b"d/a", _file(1)), (b"b", _file(2)))
    last = _commit(journal, (b"b", None), (b"c", _file(3)))
    journal.close()
    again = Journal(path, "music")
    assert again.stand == last.after or (again.stand.position, again.stand.head) == (
        last.after.position,
        last.after.head,
    )
    assert again.stand.digest == last.after.digest
    assert again.stand.entries == 3
    assert [known.path for known in again.known()] == [b"c", b"d", b"d/a"]
    assert again.entries([b"c", b"b"])[b"c"] == (b"c", _file(3), WHO)
    assert [(one.first, one.message) for one in again.outbox.unconfirmed()][1] == (4, last.message)
    again.close()


def test_what_is_not_committed_never_was(journal: Journal, path: Path) -> None:
    _commit(journal, (b"a", _file(1)))
    stand = journal.stand
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("DROP TABLE outbox")
    with pytest.raises(Exception, match="outbox"):
        _commit(journal, (b"b", _file(2)))
    assert journal.stand is stand
    assert journal.entry(b"b") is None
    other.close()
    journal.close()


def test_a_full_disk_changes_nothing_and_the_same_commit_succeeds_later(journal: Journal) -> None:
    _commit(journal, (b"a", _file(1)))
    stand = journal.stand
    database = journal._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    changes = [(b"%04d" % number, _file(number)) for number in range(2000)]
    with pytest.raises(NoRoomError):
        _commit(journal, *changes)
    assert journal.stand is stand
    assert journal.entry(b"0000") is None
    database.execute("PRAGMA max_page_count = 1000000")
    _commit(journal, *changes)
    assert journal.stand.entries == 2001
    journal.close()


def test_digests_from_scratch_are_the_running_ones(journal: Journal) -> None:
    _commit(journal, *[(b"%d" % number, _file(number)) for number in range(300)])
    _commit(journal, *[(b"%d" % number, None) for number in range(0, 300, 3)])
    scratch = BucketDigests(journal.stand.lineage.salt)
    for known in journal.known():
        scratch.replace(known.path, None, known.entry)
    assert scratch.tree_digest() == journal.stand.digest
    assert sum(len(journal.rows_in_bucket(bucket)) for bucket in range(4096)) == 200
    journal.close()


def test_confirmed_batches_are_forgotten_and_others_are_not(journal: Journal, path: Path) -> None:
    for number in range(4):
        _commit(journal, (b"%d" % number, _file(number)))
    journal.outbox.confirmed([1, 3])
    assert [one.first for one in journal.outbox.unconfirmed()] == [1, 2, 3, 4]
    journal.outbox.forget()
    assert [one.first for one in journal.outbox.unconfirmed()] == [2, 4]
    journal.outbox.confirmed([2])
    _commit(journal, (b"more", _file(9)))
    journal.close()
    again = Journal(path, "music")
    assert [one.first for one in again.outbox.unconfirmed()] == [4, 5]
    again.close()


def test_a_subtree_is_read_in_path_order_forwards_and_backwards_with_commits_between(journal: Journal) -> None:
    names = [b"d", b"d-x", b"d/a", b"d/a/b", b"d/b", b"d0", b"e"]
    _commit(journal, *[(name, directory_entry(0o755)) for name in names])
    assert [known.path for known in journal.known(b"d")] == [b"d", b"d/a", b"d/a/b", b"d/b"]
    assert [known.path for known in journal.known()] == names
    gone = []
    for path, _ in journal.below(b"d"):
        gone.append(path)
        _commit(journal, (path, None))
    assert gone == [b"d/b", b"d/a/b", b"d/a"]
    journal.close()


def test_pages_miss_nothing(journal: Journal) -> None:
    names = [b"d/%05d" % number for number in range(4500)]
    journal.commit_base(numbering.apply(journal.stand, [_change(journal, name, _file(1)) for name in names]))
    assert [known.path for known in journal.known()] == names
    assert [path for path, _ in journal.below(b"d")] == names[::-1]
    journal.close()


def test_the_salt_stays_and_the_epoch_and_what_was_seen_of_others_is_remembered(journal: Journal, path: Path) -> None:
    salt, epoch = journal.stand.lineage.salt, journal.stand.lineage.epoch
    journal.note_epoch(5000)
    journal.note_epoch(4000)
    journal.whole_compared(RootIdentity(7, 8))
    journal.close()
    again = Journal(path, "music")
    assert again.stand.lineage.salt == salt
    assert again.stand.lineage.epoch == epoch
    assert again.highest_epoch == 5000
    assert again.is_base_complete
    assert again.root_identity == RootIdentity(7, 8)
    again.close()


def test_a_new_epoch_keeps_the_sequence_and_the_tree(journal: Journal) -> None:
    _commit(journal, (b"a", _file(1)))
    before = journal.stand
    journal.begin_epoch(new_lineage("music", before.lineage.salt, journal.highest_epoch, 0.0))
    assert journal.stand.lineage.epoch == before.lineage.epoch + 1
    assert journal.stand.sequence == before.sequence
    assert journal.stand.digest == before.digest
    assert journal.stand.head != before.head
    journal.close()


def test_another_trees_journal_is_refused(journal: Journal, path: Path) -> None:
    journal.close()
    with pytest.raises(SettingError, match="music"):
        Journal(path, "films")


def test_what_is_no_journal_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StateError, match="move it away"):
        Journal(path, "music")
    assert path.read_bytes().startswith(b"this is no database")


def test_another_programs_database_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    with pytest.raises(StateError, match="no journal"):
        Journal(path, "music")


def test_a_later_version_is_refused(journal: Journal, path: Path) -> None:
    journal.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StateError, match="upgrade"):
        Journal(path, "music")


def test_a_migration_runs_forward_in_one_transaction_after_a_copy_was_put_aside(journal: Journal, path: Path) -> None:
    _commit(journal, (b"a", _file(1)))
    journal.close()
    with pytest.raises(StateError):
        journal_schema.open_database(path, {1: "CREATE TABLE more (x);THIS IS NO SQL"}, 2)
    assert _version(path) == 1
    journal_schema.open_database(path, {1: "CREATE TABLE more (x)"}, 2).close()
    assert _version(path) == 2
    aside = sqlite3.connect(path.with_name("journal.db.version-1"))
    assert aside.execute("SELECT count(*) FROM entry").fetchone() == (1,)
    aside.close()


def _version(path: Path) -> int:
    database = sqlite3.connect(path)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    database.close()
    assert isinstance(version, int)
    return version


def test_the_golden_journal_of_version_1_is_read(tmp_path: Path) -> None:
    assert GOLDEN.exists(), "released state databases are test data"
    journal = Journal(copy_of(GOLDEN, tmp_path), "golden")
    stand = journal.stand
    assert (stand.lineage.epoch, stand.sequence, stand.lineage.salt.hex()) == GOLDEN_STATE
    assert journal.is_base_complete
    assert {known.path: (known.entry, known.identity) for known in journal.known()} == {
        change.path: (change.new, change.identity) for change in GOLDEN_CHANGES
    }
    assert [one.first for one in journal.outbox.unconfirmed()] == [1]
    scratch = BucketDigests(stand.lineage.salt)
    for known in journal.known():
        scratch.replace(known.path, None, known.entry)
    assert scratch.tree_digest() == stand.digest
    journal.close()
