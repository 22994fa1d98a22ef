"""What a hold of this replica must remember behind a restart: since when it is on, and what went shortly before. Decides nothing.

What a step lets go is saved inside the caller's transaction, and SQLite's errors are converted by it; all else has its own.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from common.departures import Departed
from common.entries import Entry
from common.names import range_below
from consumer.statefile import converted
from consumer.unmet import UnmetTable
from consumer.values import Reason


class HoldRecord(NamedTuple):
    """`since`: unix seconds since when something is held, 0: nothing is. `departed`: what went lately without a release."""

    since: float = 0.0
    departed: tuple[Departed, ...] = ()


class Parked:
    """What is held or released in one open database, as of the last commit."""

    def __init__(
        self,
        database: sqlite3.Connection,
        path: Path,
        unmet: UnmetTable,
        transaction: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`path`: the file, for errors. `transaction`: one in which nothing else changes."""
        self._database = database
        self._path = path
        self._unmet = unmet
        self._transaction = transaction

    def record(self) -> HoldRecord:
        """What was saved of the hold."""
        with converted(self._path):
            row = self._database.execute("SELECT since FROM hold").fetchone()
            departed = self._database.execute("SELECT path, digest FROM departed").fetchall()
        return HoldRecord(row[0] if row is not None else 0.0, tuple(Departed(*gone) for gone in departed))

    def held(self, path: bytes, limit: int, *, after: bytes = b"") -> list[bytes]:
        """The first `limit` held paths at this one and below it (all for the root), behind `after`, in byte order."""
        where, values = ("AND (path = ? OR (path > ? AND path < ?))", [path, *range_below(path)]) if path else ("", [])
        query = f"reason = ? AND path > ? {where} ORDER BY path LIMIT ?"
        return self._paths(query, [str(Reason.HELD), after, *values, limit])

    def released(self, limit: int, *, before: bytes | None = None) -> list[bytes]:
        """The last `limit` released paths before this one (None: of all), from the last on: what is below comes first."""
        where, values = ("AND path < ?", [before]) if before is not None else ("", [])
        return self._paths(f"reason = ? {where} ORDER BY path DESC LIMIT ?", [str(Reason.RELEASED), *values, limit])

    def release(self) -> int:
        """What is held may go: from now on it is only not done yet. How many paths. Idempotent."""
        with self._transaction():
            self._put_since(0.0)
            self._drop_departed()
            return self._unmet.release()

    def save_since(self, since: float) -> None:
        """Something is held since then, in unix seconds; 0: nothing is. Idempotent."""
        with self._transaction():
            self._put_since(since)

    def forget_departed(self) -> None:
        """Nothing that went without a release counts any more. Idempotent."""
        with self._transaction():
            self._drop_departed()

    def _put_since(self, since: float) -> None:
        self._database.execute("INSERT OR REPLACE INTO hold VALUES (1, ?)", (since,))

    def _drop_departed(self) -> None:
        self._database.execute("DELETE FROM departed")

    def _paths(self, where: str, values: Sequence[object]) -> list[bytes]:
        with converted(self._path):
            rows = self._database.execute(f"SELECT path FROM unmet WHERE {where}", values).fetchall()
        return [path for (path,) in rows]


def save_departed(database: sqlite3.Connection, gone: Mapping[bytes, Entry]) -> None:
    """These went without a release."""
    if gone:
        rows = [(path, entry.digest) for path, entry in gone.items()]
        database.executemany("INSERT OR REPLACE INTO departed VALUES (?, ?)", rows)
