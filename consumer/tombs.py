"""The tombs of a replica in its database: deletes seen live, at paths of stale buckets. Decides nothing.

What writes runs inside the caller's transaction; SQLite's errors are the caller's to convert.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping

from common.entries import Position
from consumer import tables
from consumer.index import numbers
from consumer.values import Step, Told


class TombTable:
    """How many there are is kept, so that asking where there is none costs nothing."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._count = 0
        self.recount()

    def recount(self) -> None:
        """Count anew what is there: a transaction is over without having happened."""
        self._count = self._database.execute("SELECT count(*) FROM tombs").fetchone()[0]

    def of(self, paths: Collection[bytes]) -> dict[bytes, Position]:
        """The tombs at these paths."""
        if not self._count:
            return {}
        rows = tables.of_paths(self._database, "SELECT path, epoch, sequence FROM tombs WHERE path IN", paths)
        return {path: Position(epoch, sequence) for path, epoch, sequence in rows}

    def take(self, step: Step, changed: Iterable[bytes], bucket_of: Callable[[bytes], int]) -> None:
        """A step changes these paths: a delete in a stale bucket, with the position that told it, leaves a tomb."""
        self.drop([path for path in changed if not _keeps_tomb(step.want.get(path))])
        self._bury(step.want, step.standing.stale.keys() | step.levelled, bucket_of)

    def _bury(self, want: Mapping[bytes, Told], stale: Collection[int], bucket_of: Callable[[bytes], int]) -> None:
        tombs = []
        for path, told in want.items() if stale else ():
            if told.entry is None and told.at is not None and (bucket := bucket_of(path)) in stale:
                tombs.append((path, bucket, *told.at))
        self._database.executemany("INSERT INTO tombs VALUES (?, ?, ?, ?)", tombs)
        self._count += len(tombs)

    def drop(self, paths: Collection[bytes]) -> None:
        """The tombs at these paths go."""
        if self._count:
            there = self.of(paths)
            tables.drop_paths(self._database, "tombs", there)
            self._count -= len(there)

    def drop_in(self, buckets: Collection[int]) -> None:
        """The tombs in these buckets go."""
        if self._count and buckets:
            query = f"DELETE FROM tombs WHERE bucket IN ({numbers(buckets)})"
            self._count -= self._database.execute(query).rowcount

    def drop_all(self) -> None:
        """There is no tomb."""
        self._database.execute("DELETE FROM tombs")
        self._count = 0


def _keeps_tomb(told: Told | None) -> bool:
    """An absence that is only placed again is told by nobody anew."""
    return told is not None and told.entry is None and told.at is None
