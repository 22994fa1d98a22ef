"""The embedded queue's database: one log, and one cursor per queue. Knows SQLite; knows no thread, lock file or port.

    message   id (never used again), address, body; when it came, and when it is worthless
    queue     name, a second address that it also reads, and its cursor: everything up to there is done with

A message is for every queue that is called as its address, or also reads that address. It is kept once, until every
such queue is past it, or until a limit drops the oldest. One `Store` is one connection and belongs to one thread;
processes and threads have their own. Nothing here opens the file but sqlite3: closing any other descriptor of it would
drop the locks of the whole process.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from common.errors import NoRoomError, StateError, UnreachableError
from common.transport.embedded_pruning import ROW_BYTES, Pruning
from common.transport.limits import QueueLimits

APPLICATION_ID = 0x54435131
SCHEMA_VERSION = 1
BUSY_SECONDS = 2.0
BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_LIMIT_SECONDS = 2.0
PAGE_BYTES = 16384
"""Measured: bodies of 1 MiB are read seven times as fast as with 4,096, small messages are no slower."""
WAL_PAGES = 1024
WAL_KEPT_BYTES = 64 * 1024 * 1024

_SCHEMA = f"""
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL, at REAL NOT NULL, expires REAL, body BLOB NOT NULL
);
CREATE INDEX message_address ON message (address);
CREATE INDEX message_expires ON message (expires) WHERE expires IS NOT NULL;
CREATE TABLE queue (name TEXT PRIMARY KEY, also TEXT NOT NULL, cursor INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
_LAST_ID = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'message'), 0)"
_ROWS = "SELECT id, body FROM message WHERE address = {} AND id > :after AND (expires IS NULL OR expires > :now)"
_FETCH = f"{_ROWS.format(':name')} UNION ALL {_ROWS.format(':also')} ORDER BY id LIMIT :count"


class Append(NamedTuple):
    """Put a message into the log. `life_seconds` None: worth something until it is read.

    `needs_reader`: if nobody reads the address now, it is not stored, and reported.
    """

    address: str
    body: bytes
    life_seconds: float | None = None
    needs_reader: bool = True


class Make(NamedTuple):
    """See to it that a queue exists. A new one starts behind what is in the log now, or, `from_start`, before it."""

    name: str
    also: str = ""
    from_start: bool = False


class Drop(NamedTuple):
    """See to it that a queue is there no more, nor what only it would have read."""

    name: str


Act = Append | Make | Drop


class Done(NamedTuple):
    """What came of acts: the appends nobody reads, by their place among the acts, and the queues that have news."""

    unread: list[int]
    news: set[str]


class Row(NamedTuple):
    """A message as it lies in the log."""

    id: int
    body: bytes


class Store:
    """One connection to the log. Makes directory (0700) and file if they are missing.

    Every method raises NoRoomError (no space), StateError (corrupt, foreign, newer) or UnreachableError (locked, I/O).
    After an error nothing of the call is in the log, unless the error came from the commit's own I/O: then it may be.
    """

    def __init__(self, path: Path, limits: QueueLimits | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._is_durable = True
        with _converted(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare()
                self._pruning = Pruning(self._db, path, limits or QueueLimits())
                self._identity = _identity(path)
            except BaseException:
                self._db.close()
                raise

    def is_in_place(self) -> bool:
        """Whether the path still leads to the file that is open here: it may have been removed or replaced."""
        return _identity(self.path) == self._identity

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with suppress(sqlite3.Error):
            self._db.close()

    def carry_out(self, acts: Sequence[Act], *, is_durable: bool = True) -> Done:
        """All acts in order in one transaction; pruned first when it is time. `is_durable`: it survives a power cut."""
        done = Done([], set())
        with self._transaction(is_durable):
            now = self._clock()
            self._pruning.make_room(sum(len(act.body) + ROW_BYTES for act in acts if isinstance(act, Append)), now)
            readers = self._readers()
            for place, act in enumerate(acts):
                if isinstance(act, Make):
                    self._make(act)
                    readers = self._readers()
                    done.news.add(act.name)
                elif isinstance(act, Drop):
                    self._drop(act)
                    readers = self._readers()
                    done.news.add(act.name)
                elif act.address in readers or not act.needs_reader:
                    self._append(act, now)
                    done.news.update(readers.get(act.address, ()))
                else:
                    done.unread.append(place)
        return done

    def cursor(self, name: str) -> int | None:
        """The id up to which this queue is done; None if there is no such queue."""
        with _converted(self.path):
            row = self._db.execute("SELECT cursor FROM queue WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def fetch(
        self, name: str, also: str, after: int, *, count: int, limit_bytes: int, at_least_one: bool = False
    ) -> list[Row]:
        """The next messages behind an id: at most so many, and none that would pass the bytes (but with `at_least_one`
        the first may). No transaction stays open."""
        names = {"name": name, "also": also, "after": after, "now": self._clock(), "count": count}
        rows: list[Row] = []
        with _converted(self.path), closing(self._db.execute(_FETCH, names)) as found:
            for id_, body in found:
                limit_bytes -= len(body)
                if limit_bytes < 0 and (rows or not at_least_one):
                    break
                rows.append(Row(id_, body))
        return rows

    def move_cursor(self, name: str, cursor: int) -> bool:
        """Everything up to the id is done with. False if the queue is gone.

        Not synced on its own: after a power cut what was acked last may come again, which is allowed.
        """
        with self._transaction(is_durable=False):
            moved = self._db.execute("UPDATE queue SET cursor = max(cursor, ?) WHERE name = ?", (cursor, name))
            return moved.rowcount > 0

    def _prepare(self) -> None:
        # RACE: another process may be making it. It is empty or whole; looked at in this order it is never neither.
        is_empty = self._is_empty()
        application = self._pragma("application_id")
        if application != APPLICATION_ID and not (application == 0 and is_empty):
            raise StateError(f"{self.path} is not a queue of Treecast's: choose another file in TREECAST_BROKER")
        if application == APPLICATION_ID and self._pragma("user_version") > SCHEMA_VERSION:
            raise StateError(f"{self.path} was made by a later version of Treecast: upgrade this one")
        # Off by default elsewhere, on in Debian: it would write zeros over every message that is pruned.
        self._db.execute("PRAGMA secure_delete = OFF")
        if is_empty:
            self._create()
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        self._db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")

    def _create(self) -> None:
        self._db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        os.chmod(self.path, 0o600)
        if self._switch_to_wal() != "wal":
            raise UnreachableError(f"{self.path}: this file system does not let processes share a database")
        with self._transaction():
            # RACE: another process may have made it since we looked.
            if self._is_empty():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)

    def _switch_to_wal(self) -> str:
        # RACE: while others make the same file, this fails at once, whatever the busy timeout.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return str(self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def _is_empty(self) -> bool:
        return self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _transaction(self, is_durable: bool = True) -> Iterator[None]:
        with _converted(self.path):
            if is_durable != self._is_durable:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
                self._is_durable = is_durable
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    with suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                raise

    def _readers(self) -> dict[str, list[str]]:
        """Address to the queues that read it."""
        readers: dict[str, list[str]] = {}
        for name, also in self._db.execute("SELECT name, also FROM queue"):
            readers.setdefault(name, []).append(name)
            readers.setdefault(also, []).append(name)
        return readers

    def _make(self, act: Make) -> None:
        start = "0" if act.from_start else _LAST_ID
        self._db.execute(f"INSERT OR IGNORE INTO queue VALUES (?, ?, {start})", (act.name, act.also))

    def _drop(self, act: Drop) -> None:
        self._db.execute("DELETE FROM queue WHERE name = ?", (act.name,))
        self._db.execute("DELETE FROM message WHERE address = ?", (act.name,))

    def _append(self, act: Append, now: float) -> None:
        expires = None if act.life_seconds is None else now + act.life_seconds
        self._db.execute(
            "INSERT INTO message (address, at, expires, body) VALUES (?, ?, ?, ?)",
            (act.address, now, expires, act.body),
        )


def check_store(path: Path) -> None:
    """Raises StateError if there is a file that is no queue of ours, or of a later version. Makes nothing."""
    if path.exists():
        with suppress(UnreachableError, NoRoomError):
            Store(path).close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _converted(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        # A wrong use of the library has no code of SQLite's: that is a bug of ours, and comes through.
        code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else sqlite3.SQLITE_IOERR
        if code is None:
            raise
        primary = code & 0xFF
        if primary == sqlite3.SQLITE_FULL:
            raise NoRoomError(f"{path}: {error}") from error
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StateError(f"{path}: {error}; remove it while nothing runs: what was in it is made up for") from error
        raise UnreachableError(f"{path}: {error}") from error
