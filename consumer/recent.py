"""The hashes of the last batches of a replica in its database: a batch that comes again with another hash is a fork.

Decides nothing. What writes runs inside the caller's transaction; SQLite's errors are the caller's to convert.
"""

import sqlite3
from collections.abc import Sequence

RECENT_KEPT = 1000
_OLDEST = "SELECT last FROM recent ORDER BY last DESC LIMIT 1 OFFSET ?"


class RecentTable:
    """See the module."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def of(self, last: int) -> bytes | None:
        """The hash of the batch of this epoch that ended at `last`, if it is among the last 1,000."""
        row = self._database.execute("SELECT hash FROM recent WHERE last = ?", (last,)).fetchone()
        return row[0] if row is not None else None

    def put(self, recent: Sequence[tuple[int, bytes]]) -> None:
        """These batches came; the oldest beyond the last 1,000 go."""
        if recent:
            self._database.executemany("INSERT OR REPLACE INTO recent VALUES (?, ?)", recent)
            self._database.execute(f"DELETE FROM recent WHERE last <= ({_OLDEST})", (RECENT_KEPT,))

    def drop_all(self) -> None:
        """Another epoch begins, or nothing is known."""
        self._database.execute("DELETE FROM recent")
