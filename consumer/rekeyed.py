"""Does: the replica's index once more under another salt, in a file of its own that is thrown away: what another epoch calls its
buckets. Filled in portions, so that whoever fills it can go on with other things.

Volatile: nothing of it is made durable, and what a crash leaves is removed. It reads the index through a connection that cannot
write, so what changes meanwhile may be in it or not.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common.digests import BucketDigests
from consumer.index import Record, as_row
from consumer.statefile import converted
from consumer.values import Row

CACHE_KIB = 8 * 1024
PORTION_ROWS = 2000
"""Some 15 milliseconds."""
_COLUMNS = "path, kind, mode, mtime_ns, size, digest, owner, epoch, sequence, found"
_READ = f"SELECT {_COLUMNS} FROM entries WHERE path > ? ORDER BY path LIMIT ?"
_SCHEMA = f"CREATE TABLE IF NOT EXISTS rekeyed (bucket, {_COLUMNS}, PRIMARY KEY (bucket, path)) WITHOUT ROWID"
_INSERT = f"INSERT OR REPLACE INTO rekeyed VALUES (?{', ?' * len(Record.__args__)})"  # type: ignore[attr-defined]
_BUCKET = f"SELECT {_COLUMNS} FROM rekeyed WHERE bucket = ? ORDER BY path"


class Rekeyed:
    """See the module. Owned by one thread. Raises NoRoomError and HaltError as the state does."""

    def __init__(self, state: Path, place: Path, salt: bytes) -> None:
        """`state`: the replica's database. `place`: this file is its alone."""
        self._place = place
        self._digests = BucketDigests(salt)
        self._after = b""
        self.is_complete = False
        """Whether all is in it."""
        remove(place)
        with converted(place):
            self._rows = _open(place)
            self._index = _reader(state)

    def fill(self) -> None:
        """Take the next portion in."""
        with converted(self._place):
            found: list[Record] = self._index.execute(_READ, (self._after, PORTION_ROWS)).fetchall()
            records = [(self._digests.replace(record[0], None, as_row(record).entry), *record) for record in found]
            with self._rows as rows:
                rows.executemany(_INSERT, records)
        self.is_complete = len(found) < PORTION_ROWS
        self._after = found[-1][0] if found else self._after

    def bucket_digest(self, bucket: int) -> bytes:
        """The digest of one bucket."""
        return self._digests.of(bucket)

    def rows_of_bucket(self, bucket: int) -> dict[bytes, Row]:
        """What is in one bucket."""
        with converted(self._place):
            return {record[0]: as_row(record) for record in self._rows.execute(_BUCKET, (bucket,))}

    def close(self) -> None:
        """The file goes. Idempotent."""
        self._index.close()
        self._rows.close()
        remove(self._place)


def remove(place: Path) -> None:
    """What an earlier process left. Idempotent."""
    with suppress(OSError):
        place.unlink(missing_ok=True)


def _reader(state: Path) -> Any:
    return sqlite3.connect(f"file:{quote(os.fsencode(state))}?mode=ro", uri=True, timeout=10.0, isolation_level=None)


def _open(place: Path) -> Any:
    database = sqlite3.connect(place)
    try:
        # Nothing here outlives the process, so nothing is synced.
        for pragma in ("journal_mode = MEMORY", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
            database.execute(f"PRAGMA {pragma}")
        database.execute(_SCHEMA)
        database.execute("DELETE FROM rekeyed")
    except sqlite3.Error:
        database.close()
        raise
    return database
