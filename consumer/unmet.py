"""The unmet paths of a replica in its database: published, but not so on this disk, and why. Decides nothing.

What is parked is held, or released and not removed yet. What writes runs inside the caller's transaction; SQLite's errors are
the caller's to convert.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from common.names import range_below
from consumer import tables
from consumer.missing import INSERT_UNMET
from consumer.values import PARKED, Reason, Unmet


class UnmetTable:
    """Counts are kept, so that asking where nothing is unmet costs nothing."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._counts: Counter[Reason] = Counter()
        self.recount()

    def recount(self) -> None:
        """Count anew what is there: a transaction is over without having happened."""
        rows = self._database.execute("SELECT reason, count(*) FROM unmet GROUP BY reason")
        self._counts = Counter({Reason(reason): count for reason, count in rows})

    # -- reading
    @property
    def counts(self) -> dict[Reason, int]:
        """How many paths are unmet, by reason, without those that are none."""
        return dict(self._counts)

    @property
    def has_parked(self) -> bool:
        """Whether anything is parked."""
        return any(self._counts[reason] for reason in PARKED)

    def of(self, paths: Collection[bytes]) -> dict[bytes, Unmet]:
        """The unmet ones of these paths."""
        if not self._counts:
            return {}
        query = "SELECT path, reason, detail FROM unmet WHERE path IN"
        rows = tables.of_paths(self._database, query, paths)
        return {path: Unmet(Reason(reason), detail) for path, reason, detail in rows}

    def first(self, limit: int, reason: Reason | None, after: bytes) -> dict[bytes, Unmet]:
        """The first `limit` behind `after` in byte order, of one reason or of all."""
        where, values = ("AND reason = ?", [str(reason)]) if reason is not None else ("", [])
        query = f"SELECT path, reason, detail FROM unmet WHERE path > ? {where} ORDER BY path LIMIT ?"
        rows = self._database.execute(query, [after, *values, limit])
        return {path: Unmet(Reason(of), detail) for path, of, detail in rows}

    def parked_below(self, path: bytes) -> Iterator[tuple[bytes, Reason]]:
        """What is parked below this path, and why."""
        if self.has_parked:
            reasons = [str(reason) for reason in PARKED]
            query = "SELECT path, reason FROM unmet WHERE path > ? AND path < ? AND reason IN (?, ?)"
            for found, reason in self._database.execute(query, [*range_below(path), *reasons]):
                yield found, Reason(reason)

    # -- writing
    def put(self, unmet: Mapping[bytes, Unmet]) -> None:
        """These are unmet, for these reasons."""
        if unmet:
            self.drop(unmet.keys())
            rows = [(path, str(why.reason), why.detail) for path, why in unmet.items()]
            self._database.executemany(INSERT_UNMET, rows)
            self._counts.update(why.reason for why in unmet.values())

    def drop(self, paths: Collection[bytes]) -> None:
        """These are not unmet any more."""
        if self._counts:
            there = self.of(paths)
            tables.drop_paths(self._database, "unmet", there)
            self._counts -= Counter(unmet.reason for unmet in there.values())

    def drop_all(self) -> None:
        """Nothing is unmet."""
        self._database.execute("DELETE FROM unmet")
        self._counts = Counter()

    def release(self) -> int:
        """What is held is released; how many paths."""
        query = "UPDATE unmet SET reason = ? WHERE reason = ?"
        count = self._database.execute(query, (str(Reason.RELEASED), str(Reason.HELD))).rowcount
        self._counts += Counter({Reason.RELEASED: count})
        self._counts -= Counter({Reason.HELD: count})
        return count
