"""The replica's state as a file: what survives, what is refused, what a full or broken disk does."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from common.digests import EMPTY_BUCKET, content_digest
from common.entries import BEFORE_ALL, Entry, Position, file_entry
from common.errors import HaltError, NoRoomError, StateError
from consumer import statefile
from consumer.index import REMEMBERED_ROWS
from consumer.state import State
from consumer.values import Found, Outcome, Plan, Reason, Row, Stale, Step, Told, Unmet
from tests.data.golden import make_state_1 as golden
from tests.memory_state import MemoryState

GOLDEN = Path(golden.__file__).with_name("state-1.db")
AT = Position(3, 9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def opened(path: Path) -> State:
    return State.open(path, "tree", "one")


def entry(text: bytes) -> Entry:
    return file_entry(0o644, 1, len(text), content_digest(text))


def commit(state: State, want: dict[bytes, Told], unmet: dict[bytes, Unmet] | None = None) -> None:
    standing = state.standing()
    after = replace(standing, epoch=AT.epoch, sequence=standing.sequence + 1, commits=standing.commits + 1)
    state.commit(Step(after, want=want), Plan(unmet=unmet or {}), Outcome())


def test_a_fresh_state_knows_nothing_and_says_so(path: Path) -> None:
    with opened(path) as state:
        standing = state.standing()
        assert standing.position == BEFORE_ALL
        assert standing.salt == bytes(32)
        assert standing.stale == dict.fromkeys(range(4096), Stale(BEFORE_ALL, None))
        assert standing.proved is None
        assert (state.mark, state.token, state.is_released, state.first_copy_complete) == ("", b"", False, False)
        assert state.counts.entries == 0
        assert state.count_unmet() == {}
        assert state.tree_digest() == MemoryState().tree_digest()
        assert state.bucket_digest(7) == EMPTY_BUCKET


def test_what_was_committed_survives_kill_9(path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom tests.integration.test_state import *\n"
        "state = opened(Path(sys.argv[1]))\ncommit(state, {b'a': Told(entry(b'1'), AT)})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    with opened(path) as state:
        assert state.rows([b"a"]) == {b"a": Row(entry(b"1"), AT)}
        assert state.standing().commits == 1
        digest = state.tree_digest()
        assert digest == MemoryState().digest_of({b"a": entry(b"1")})


def test_bind_release_and_first_copy_are_remembered(path: Path) -> None:
    with opened(path) as state:
        state.bind("mark")
        state.complete_first_copy()
    with opened(path) as state:
        assert (state.mark, state.is_released, state.first_copy_complete) == ("mark", False, True)
        state.release()
    with opened(path) as state:
        assert (state.mark, state.is_released) == ("", True)
        state.bind("new")
        assert (state.mark, state.is_released) == ("new", False)


def test_a_scan_that_breaks_off_changes_nothing(path: Path) -> None:
    def scan() -> Iterator[Found]:
        yield Found(b"b", entry(b"2"))
        raise HaltError("the disk failed")

    with opened(path) as state:
        commit(state, {b"a": Told(entry(b"1"), AT)}, {b"a": Unmet(Reason.BODY)})
        before = (state.standing(), state.rows([b"a", b"b"]), state.tree_digest(), state.counts, state.count_unmet())
        with pytest.raises(HaltError):
            state.adopt(scan(), first_copy_complete=False)
        assert before == (
            state.standing(), state.rows([b"a", b"b"]), state.tree_digest(), state.counts, state.count_unmet()
        )  # fmt: skip


def test_rows_in_bulk_are_the_rows_one_by_one(path: Path) -> None:
    """Also for more paths than are remembered at once, and for some that are not there."""
    paths = [b"p%d" % i for i in range(REMEMBERED_ROWS + 700)]
    with opened(path) as state:
        state.adopt((Found(p, entry(p)) for p in paths[::2]), first_copy_complete=False)
        rows = state.rows(paths)
        assert rows.keys() == set(paths[::2])
        assert all(state.rows([p]) == ({p: rows[p]} if p in rows else {}) for p in paths[::501])
        assert state.rows(paths[:10]) == {p: rows[p] for p in paths[:10:2]}
        assert state.counts.files == state.counts.found == len(rows)


def test_only_the_last_thousand_batches_are_remembered(path: Path) -> None:
    with opened(path) as state:
        for last in range(1, 1011):
            state.commit(Step(state.standing(), recent=((last, b"%d" % last),)), Plan(), Outcome())
        assert state.recent(10) is None
        assert state.recent(11) == b"11"
        assert state.recent(1010) == b"1010"


def test_a_full_disk_changes_nothing_and_the_same_step_goes_through_later(path: Path) -> None:
    with opened(path) as state:
        commit(state, {b"a": Told(entry(b"1"), AT)}, {b"a": Unmet(Reason.BODY)})
        database = state._database
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages + 2}")
        want = {b"p%d" % i: Told(entry(b"%d" % i), AT) for i in range(2000)}
        before = (state.standing(), state.tree_digest(), state.counts, state.count_unmet())
        with pytest.raises(NoRoomError):
            commit(state, want, {b"p1": Unmet(Reason.BODY)})
        assert before == (state.standing(), state.tree_digest(), state.counts, state.count_unmet())
        assert state.rows([b"p1"]) == {}
        database.execute("PRAGMA max_page_count = 1000000")
        commit(state, want)
        assert len(state.rows(list(want))) == 2000


def test_a_failing_disk_halts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as state:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

        def fail(*args: object) -> None:
            raise error

        monkeypatch.setattr(state._index, "save_digests", fail)
        with pytest.raises(HaltError, match="disk I/O error"):
            commit(state, {b"a": Told(entry(b"1"), AT)})
        monkeypatch.undo()
        assert state.rows([b"a"]) == {}


# -- what is refused


def test_an_error_of_the_database_names_the_file_also_where_it_is_only_read(path: Path) -> None:
    with State.open(path, "t", "r") as state:
        state._database.execute("DROP TABLE entries")
        with pytest.raises(HaltError, match=path.name):
            state.bucket_counts()


def test_another_trees_state_is_refused(path: Path) -> None:
    opened(path).close()
    with pytest.raises(StateError, match="belongs to the tree 'tree'"):
        State.open(path, "shop", "one")


def test_another_programs_database_is_refused_and_left_as_it_was(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE theirs (x)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match="another program's"):
        opened(path)
    assert path.read_bytes() == before
    database = sqlite3.connect(path)
    database.execute("PRAGMA application_id = 77")
    database.close()
    with pytest.raises(StateError, match="no replica's state"):
        opened(path)


def test_a_newer_state_is_refused_and_left_as_it_was(path: Path) -> None:
    opened(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {statefile.VERSION + 1}")
    database.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match="upgrade this program"):
        opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("spoil", ["text", "header", "middle", "directory", "unreadable"])
def test_a_corrupt_state_is_refused_with_what_to_do_and_never_taken_for_empty(path: Path, spoil: str) -> None:
    with opened(path) as state:
        commit(state, {b"p%d" % i: Told(entry(b"1"), AT) for i in range(500)})
    content = bytearray(path.read_bytes())
    if spoil == "text":
        content = bytearray(b"not a database at all" * 1000)
    elif spoil == "header":
        content[:100] = os.urandom(100)
    elif spoil == "middle":
        content[4096:40960] = b"\xff" * (40960 - 4096)
    path.write_bytes(content)
    if spoil in {"directory", "unreadable"}:
        path.unlink()
        path.mkdir()
    with pytest.raises((StateError, HaltError)) as refused:
        opened(path)
    assert str(path) in str(refused.value)


# -- versions


def test_a_state_of_the_first_released_version_opens_and_reads_as_it_was_written(path: Path) -> None:
    shutil.copy(GOLDEN, path)
    with State.open(path, golden.TREE, golden.REPLICA) as state:
        standing = state.standing()
        assert standing.position == golden.AT
        assert (standing.instance, standing.salt, standing.head) == (b"i" * 16, golden.SALT, golden.RECENT[1])
        assert standing.stale == {7: Stale(golden.AT, 40), 9: Stale(golden.AT, None)}
        assert (standing.proved, standing.is_forked, standing.commits) == (Position(golden.AT.epoch, 40), True, 2)
        assert (state.mark, state.token, state.first_copy_complete) == (golden.MARK, golden.TOKEN, True)
        assert state.rows([*golden.ENTRIES, b"gone"]) == golden.ROWS
        assert state.tombs([b"gone"]) == {b"gone": golden.AT}
        assert state.unmet_paths(10) == golden.UNMET
        assert state.recent(41) == golden.RECENT[1]
        assert state.tree_digest() == MemoryState(golden.SALT).digest_of(golden.ENTRIES)
        counts = state.counts
        assert (counts.files, counts.directories, counts.symlinks, counts.found) == (3, 1, 1, 1)


def test_todays_program_still_writes_what_the_golden_file_holds(path: Path) -> None:
    """As long as the version is 1: another content under the same version would be another format."""
    golden.make(path)

    def dump(file: Path) -> list[str]:
        database = sqlite3.connect(file)
        try:
            return sorted(database.iterdump())
        finally:
            database.close()

    copy = shutil.copy(GOLDEN, path.with_name("golden.db"))
    assert dump(path) == dump(Path(copy))


def test_an_older_state_is_migrated_and_a_copy_is_put_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as state:
        commit(state, {b"a": Told(entry(b"1"), AT)})
    monkeypatch.setattr(statefile, "MIGRATIONS", (*statefile.MIGRATIONS, "CREATE TABLE more (x); SELECT 1"))
    monkeypatch.setattr(statefile, "VERSION", statefile.VERSION + 1)
    with opened(path) as state:
        assert state.rows([b"a"]) == {b"a": Row(entry(b"1"), AT)}
        assert state._database.execute("SELECT count(*) FROM more").fetchone() == (0,)
    monkeypatch.undo()
    copy = path.with_name("state.db.version-1")
    with opened(copy) as old:
        assert old.rows([b"a"]) == {b"a": Row(entry(b"1"), AT)}


def test_a_migration_that_fails_leaves_the_state_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(path).close()
    monkeypatch.setattr(statefile, "MIGRATIONS", (*statefile.MIGRATIONS, "CREATE TABLE more (x); DROP TABLE missing"))
    monkeypatch.setattr(statefile, "VERSION", statefile.VERSION + 1)
    with pytest.raises(StateError):
        opened(path)
    monkeypatch.undo()
    with opened(path) as state:
        assert state._database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone() == (0,)
