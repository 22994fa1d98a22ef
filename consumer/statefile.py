"""Opens the replica's database file: whose it is, which version, migrations. Knows no row of it.

SQLite's errors become ours here, and nowhere else. The file is opened through sqlite3 alone.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from common.errors import HaltError, NoRoomError, StateError

APPLICATION_ID = 0x54435243  # "TCRC"
BUSY_TIMEOUT_SECONDS = 10.0
CACHE_KIB = 32 * 1024
CHECKPOINT_PAGES = 10_000
"""A batch touches a page for nearly each of its rows; a page that several batches touched is checkpointed once."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE standing (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        tree TEXT NOT NULL, replica TEXT NOT NULL,
        epoch INTEGER NOT NULL, instance BLOB NOT NULL, salt BLOB NOT NULL, sequence INTEGER NOT NULL,
        head BLOB NOT NULL, digest BLOB NOT NULL, proved_epoch INTEGER, proved_sequence INTEGER,
        commits INTEGER NOT NULL, is_forked INTEGER NOT NULL, released INTEGER NOT NULL,
        token BLOB NOT NULL, mark TEXT NOT NULL, is_released INTEGER NOT NULL, first_copy_complete INTEGER NOT NULL,
        patterns BLOB NOT NULL,
        files INTEGER NOT NULL, directories INTEGER NOT NULL, symlinks INTEGER NOT NULL, found INTEGER NOT NULL
    );
    CREATE TABLE entries (
        path BLOB PRIMARY KEY, bucket INTEGER NOT NULL, kind INTEGER NOT NULL, mode INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL, digest BLOB NOT NULL, owner TEXT NOT NULL,
        epoch INTEGER, sequence INTEGER, found INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX entries_by_bucket ON entries (bucket);
    CREATE TABLE buckets (bucket INTEGER PRIMARY KEY, digest BLOB NOT NULL);
    CREATE TABLE stale (bucket INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, base INTEGER);
    CREATE TABLE tombs (
        path BLOB PRIMARY KEY, bucket INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX entries_large ON entries (digest) WHERE size > 1048576;
    CREATE TABLE unmet (
        path BLOB PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL, is_large INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX unmet_large ON unmet (path) WHERE is_large = 1;
    CREATE INDEX unmet_by_reason ON unmet (reason, path);
    CREATE TABLE departed (path BLOB PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE hold (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), since REAL NOT NULL);
    CREATE TABLE aside (label BLOB PRIMARY KEY, born REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE shelf (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1), lived REAL NOT NULL, here REAL NOT NULL, master REAL NOT NULL
    );
    CREATE TABLE hook (only_row INTEGER PRIMARY KEY CHECK (only_row = 1));
    CREATE TABLE changed (number INTEGER PRIMARY KEY, since REAL NOT NULL, count INTEGER NOT NULL, paths BLOB);
    CREATE TABLE recent (last INTEGER PRIMARY KEY, hash BLOB NOT NULL);
    CREATE TABLE scrub (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1), is_under_way INTEGER NOT NULL, run INTEGER NOT NULL,
        began REAL NOT NULL, after BLOB NOT NULL, is_swept INTEGER NOT NULL, remaining BLOB NOT NULL,
        salt BLOB NOT NULL, ended REAL NOT NULL
    );
    """,
)
"""Migration n brings a file of version n to n + 1. One that was released is never edited."""

VERSION = len(MIGRATIONS)


@contextmanager
def converted(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: NoRoomError for a full disk, HaltError for all that means the file cannot be trusted."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise NoRoomError(f"no room for the state {path}: {error}") from error
        raise HaltError(
            f"the state {path} cannot be used: {error}. Restart; if it stays so, move the file away and restart:"
            " it is made again from what is on the disk"
        ) from error


@contextmanager
def transaction(database: sqlite3.Connection, path: Path) -> Iterator[None]:
    """What is done inside becomes durable as one, or not at all. Raises as `converted`."""
    with converted(path):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if database.in_transaction:
                    database.execute("ROLLBACK")
            raise


def connect(path: Path) -> sqlite3.Connection:
    """Open or make the file, bring it to this version. Transactions are the caller's: nothing is implicit.

    Raises StateError for a file that is corrupt, somebody else's or of a newer version; it is left as it was.
    """
    try:
        database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise StateError(f"{path} cannot be opened: {error}") from error
    try:
        _prepare(database, path)
    except sqlite3.DatabaseError as error:
        database.close()
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise NoRoomError(f"no room for the state {path}: {error}") from error
        raise StateError(f"{path} is corrupt or no database ({error}); {_AWAY}") from error
    except StateError:
        database.close()
        raise
    return database


_AWAY = "move it away and start again: the state is made again from what is on the disk"


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    version = _version(database, path)
    # A file of ours is not touched before it is known to be ours and of a version that we know.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    database.execute("PRAGMA temp_store = MEMORY")
    database.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if 0 < version < VERSION:
        _put_copy_aside(database, path, version)
    if version < VERSION:
        _migrate(database, version)


def _version(database: sqlite3.Connection, path: Path) -> int:
    application: int = database.execute("PRAGMA application_id").fetchone()[0]
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and version == 0:
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StateError(f"{path} is another program's database; name another state directory")
        return 0
    if application != APPLICATION_ID:
        raise StateError(
            f"{path} is no replica's state (application id {application:#x}); name another state directory"
        )
    if not 0 < version <= VERSION:
        raise StateError(f"{path} has version {version}, this program knows {VERSION}: upgrade this program")
    return version


def _put_copy_aside(database: sqlite3.Connection, path: Path, version: int) -> None:
    """A copy of the older file beside it, before it is changed. One that is there already is from the same version."""
    copy = path.with_name(f"{path.name}.version-{version}")
    if copy.exists():
        return
    partial = copy.with_name(f"{copy.name}.partial")
    partial.unlink(missing_ok=True)
    # Never by open() and close() of the file itself: that would drop SQLite's locks.
    with closing(sqlite3.connect(partial)) as backup:
        database.backup(backup)
    os.replace(partial, copy)


def _migrate(database: sqlite3.Connection, version: int) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        for migration in MIGRATIONS[version:]:
            for statement in migration.split(";"):
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION}")
    except sqlite3.Error:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
