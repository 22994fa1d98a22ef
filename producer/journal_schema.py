"""Does: the journal's database file as such: opening, checking, migrating. Knows tables, not what is done with them.

The file is opened through sqlite3 alone: an open() and close() of it elsewhere in the process would drop SQLite's locks.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from common.errors import HaltError, NoRoomError, StateError
from producer import changelog, held, roster_record

JOURNAL_NAME = "journal.db"
"""In the producer's state directory."""
APPLICATION_ID = 0x5443504A  # "TCPJ"
VERSION = 1
_CACHE_KIB = 16 * 1024
_BUSY_TIMEOUT_SECONDS = 10.0

SCHEMA = f"""
CREATE TABLE entry (
    path BLOB PRIMARY KEY, kind INTEGER NOT NULL, mode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL,
    digest BLOB NOT NULL, owner TEXT NOT NULL, bucket INTEGER NOT NULL, inode INTEGER NOT NULL, ctime_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX entry_by_bucket ON entry (bucket);
CREATE TABLE bucket (number INTEGER PRIMARY KEY, digest BLOB NOT NULL);
CREATE TABLE outbox (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, message BLOB NOT NULL);
CREATE TABLE state (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
{changelog.SCHEMA};
{held.SCHEMA};
{roster_record.SCHEMA};
"""
"""Version 1. `inode` is the unsigned number as a signed one. `state`: see the keys in `journal`."""

MIGRATIONS: Mapping[int, str] = {}
"""From version N to N + 1, as a script of statements. Released ones are never edited."""

_NO_ROOM = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_NOMEM")
_UNUSABLE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_ERROR")


@contextmanager
def converted(path: Path) -> Iterator[None]:
    """sqlite3's errors become ours: NoRoomError (try again), StateError (not a journal we can use), HaltError (the disk)."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(_NO_ROOM):
            raise NoRoomError(f"the journal {path} cannot be written: {error}") from error
        if name.startswith(_UNUSABLE) or isinstance(error, sqlite3.ProgrammingError):
            raise StateError(_advice(path, f"is corrupt ({error})")) from error
        raise HaltError(
            f"the journal {path} cannot be used ({name}: {error}); see to the disk, then start again"
        ) from error


def open_database(path: Path, migrations: Mapping[int, str] = MIGRATIONS, version: int = VERSION) -> sqlite3.Connection:
    """The journal's database, made if it is missing, migrated forward if it is of an older version.

    Raises StateError where it is corrupt, another program's, or of a later version; see `converted` for the rest.
    """
    with converted(path):
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)
        try:
            _prepare(connection, path, migrations, version)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A journal that is there, to be read only, beside the producer that writes it or while none runs.

    Raises StateError where it is none that this program reads; see `converted` for the rest.
    """
    with converted(path):
        uri = f"file:{quote(os.fsencode(path))}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None)
        try:
            _check_version(connection, path, VERSION)
        except BaseException:
            connection.close()
            raise
    return connection


def _check_version(connection: sqlite3.Connection, path: Path, version: int) -> int:
    """The version that the database is of."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StateError(_advice(path, "is no journal of a producer"))
    if found > version:
        raise StateError(
            f"the journal {path} is of version {found}, this program knows {version}: upgrade this producer"
        )
    return int(found)


def _prepare(connection: sqlite3.Connection, path: Path, migrations: Mapping[int, str], version: int) -> None:
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    found = 0 if is_new else _check_version(connection, path, version)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    if is_new:
        _run(connection, SCHEMA, VERSION)
        found = VERSION
    if found < version:
        _migrate(connection, path, migrations, found, version)


def _migrate(
    connection: sqlite3.Connection, path: Path, migrations: Mapping[int, str], found: int, version: int
) -> None:
    """Forward in one transaction, after a copy was put aside."""
    aside = path.with_name(f"{path.name}.version-{found}")
    aside.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(aside),))
    _run(connection, "".join(migrations[step] for step in range(found, version)), version)


def _run(connection: sqlite3.Connection, script: str, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in script.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _advice(path: Path, what: str) -> str:
    return f"the journal {path} {what}; move it away and start again: the source is then scanned into a new one"
