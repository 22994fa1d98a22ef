"""Does: keeps the rows of since answers in a file until an answer is whole, by bucket, so that memory holds a slice of it only.

Volatile: the file is there while an answer comes, and what a crash leaves is removed. Nothing of it is ever made durable: an
answer can be asked for again. Decides nothing, and knows no message.
"""

import sqlite3
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.entries import Entry, Event, Kind
from consumer.gathering import Size
from consumer.index import numbers
from consumer.statefile import converted

CACHE_KIB = 4 * 1024

_FIELDS = ", ".join(Entry._fields)
_SCHEMA = (
    f"CREATE TABLE rows (answer, bucket, path, keep, body, {_FIELDS}, PRIMARY KEY (answer, bucket, path)) WITHOUT ROWID"
)
_INSERT = f"INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?{', ?' * len(Entry._fields)})"
_NO_ENTRY = (None,) * len(Entry._fields)


class Spool:
    """Rows of answers that are told apart by a number. Raises NoRoomError, and HaltError as the state does. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """`path` is this spool's alone; what an earlier process left there goes."""
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._unlink()

    def add(self, answer: int, rows: Iterable[tuple[int, Event]]) -> int:
        """Take in rows, each with its bucket, all or none. Returns how many paths were new to this answer."""
        records = [
            (answer, bucket, row.path, row.keep, row.body, *(row.entry if row.entry is not None else _NO_ENTRY))
            for bucket, row in rows
        ]
        with converted(self._path):
            database = self._open()
            before = database.total_changes
            with database:
                database.executemany(_INSERT, records)
            return database.total_changes - before

    def sizes(self, answer: int) -> dict[int, Size]:
        """How much the answer has in each bucket in which it has something."""
        query = "SELECT bucket, count(*), total(length(body)) FROM rows WHERE answer = ? GROUP BY bucket"
        with converted(self._path):
            return {bucket: Size(rows, int(size)) for bucket, rows, size in self._open().execute(query, (answer,))}

    def rows(self, answer: int, buckets: Collection[int], limit_bytes: int) -> list[Event]:
        """The answer's rows in these buckets, with contents as far as the limit goes."""
        query = f"SELECT path, keep, body, {_FIELDS} FROM rows WHERE answer = ? AND bucket IN ({numbers(buckets)})"
        found, left_bytes = [], limit_bytes
        with converted(self._path):
            for record in self._open().execute(query, (answer,)):
                event = _event(record)
                left_bytes -= len(event.body or b"")
                found.append(event if left_bytes >= 0 else event._replace(body=None))
        return found

    def drop(self, answer: int) -> None:
        """Forget one answer. Idempotent."""
        if self._database is not None:
            with converted(self._path), self._database as database:
                database.execute("DELETE FROM rows WHERE answer = ?", (answer,))

    def clear(self) -> None:
        """Forget everything; the file goes. Idempotent."""
        if self._database is not None:
            self._database.close()
            self._database = None
            self._unlink()

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            database = sqlite3.connect(self._path)
            # Nothing here outlives the process, so nothing is synced; what fails half way is rolled back from memory.
            for pragma in ("journal_mode = MEMORY", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
                database.execute(f"PRAGMA {pragma}")
            database.execute(_SCHEMA)
            self._database = database
        return self._database

    def _unlink(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _event(record: tuple[Any, ...]) -> Event:
    path, keep, body, kind, *others = record
    entry = Entry(Kind(kind), *others) if kind is not None else None
    return Event(path, entry, body, bool(keep))
