"""Does: the journal's tables of deletes that are held, and of those that went lately. Knows tables, not why a delete is held.

A row of `held` belongs to a hold, by number. That of the current one waits; of an earlier one it was released by a person; of
none (0) it is free after all. Rows leave when their path is published, or found to be there. `departed` is what counts against
the limit after a restart.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import Any

from common.departures import Departed
from common.names import PATTERNS_PATH, ROOT, range_below
from producer.access import Access
from producer.values import Change
from producer.withholding import is_of_disks

SCHEMA = """
CREATE TABLE held (
    path BLOB PRIMARY KEY, hold INTEGER NOT NULL, counts INTEGER NOT NULL, since INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE departed (path BLOB PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID
"""
"""`counts` 0: no delete of its own that counts, it waits for what is held below it. `since`: unix seconds."""

_FREE = 0
_PAGE_ROWS = 2000
_QUESTION_MARKS = 500
_END = b"\xff" * 2
_PUT = "INSERT INTO held VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET hold = excluded.hold, counts = excluded.counts"
_SET = "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

Tally = Counter[tuple[int, int]]
"""How many rows there are of a hold that count, and that do not."""


class Mark(Enum):
    """What is known of a path whose delete was held."""

    HELD = "held"
    FREE = "free"
    RELEASED = "released"


class HeldPaths:
    """See the module. Part of a journal: shares its connection, its transactions and its errors."""

    def __init__(self, access: Access) -> None:
        self._database, self._transaction, self._converted = access
        self._hold = int(self._state("hold", 1))
        self._tally = self._counted()
        self.departed_noted = int(self._rows("SELECT count(*) FROM departed")[0][0])
        """How many went lately, at most."""
        self.is_counting = True
        """Whether what goes is noted, so that it counts after a restart."""
        self.is_emptied = bool(self._state("emptied", 0))
        """Whether a person said that the source was emptied on purpose."""

    def _counted(self) -> Tally:
        rows = self._rows("SELECT hold, counts, count(*) FROM held GROUP BY hold, counts")
        return Counter({(hold, counts): number for hold, counts, number in rows})

    # -- how much

    @property
    def count(self) -> int:
        """How many deletes are held that count against the limit."""
        return self._tally[self._hold, 1]

    @property
    def total(self) -> int:
        """How many paths are held, those that wait for others among them."""
        return self._tally[self._hold, 0] + self._tally[self._hold, 1]

    @property
    def going(self) -> int:
        """How many are not held any more, and not published yet."""
        return sum(self._tally.values()) - self.total

    def since(self) -> int | None:
        """Since when something is held, in unix seconds."""
        ((since,),) = self._rows("SELECT min(since) FROM held WHERE hold = ?", (self._hold,))
        return since if since is None else int(since)

    # -- which

    def of(self, paths: Iterable[bytes]) -> dict[bytes, Mark]:
        """Those of these paths that are in the table."""
        found: dict[bytes, Mark] = {}
        if self._is_empty:
            return found
        for part, marks in _parts(paths):
            rows = self._rows(f"SELECT path, hold FROM held WHERE path IN ({marks})", part)
            found.update((path, self._mark(hold)) for path, hold in rows)
        return found

    def held(self) -> Iterator[Departed]:
        """The deletes that are held and count, with what the index has there, in byte order; in pages."""
        statement = f"""
        SELECT held.path, entry.digest FROM held JOIN entry ON entry.path = held.path
        WHERE held.path > ? AND hold = ? AND counts = 1 ORDER BY held.path LIMIT {_PAGE_ROWS}
        """
        after = b""
        while page := self._rows(statement, (after, self._hold)):
            yield from map(Departed._make, page)
            after = page[-1][0]

    def paths(self, at: bytes = ROOT, limit: int = -1, after: bytes = ROOT) -> list[bytes]:
        """The paths that are held, at and below a path and after another, in byte order."""
        low, high = (ROOT, _END) if at == ROOT else range_below(at)
        statement = """
        SELECT path FROM held WHERE hold = ? AND path > ? AND (path = ? OR (path >= ? AND path < ?)) ORDER BY path LIMIT ?
        """
        return [path for (path,) in self._rows(statement, (self._hold, after, at, low, high, limit))]

    def page(self, low: bytes, high: bytes) -> list[bytes]:
        """The next paths of the table after `low` and before `high`, held or not."""
        statement = f"SELECT path FROM held WHERE path > ? AND path < ? ORDER BY path LIMIT {_PAGE_ROWS}"
        return [path for (path,) in self._rows(statement, (low, high))]

    def departed(self) -> list[Departed]:
        """What went lately, as far as it counted."""
        if not self.departed_noted:
            return []
        return [Departed(*row) for row in self._rows("SELECT path, digest FROM departed")]

    # -- changing

    def park(self, counting: Sequence[bytes], waiting: Sequence[bytes]) -> None:
        """Hold these. One that is held already keeps its time."""
        now = int(time.time())
        rows = [(path, self._hold, 1, now) for path in counting] + [(path, self._hold, 0, now) for path in waiting]
        with self._transaction():
            before = self._count([path for path, *_ in rows])
            self._database.executemany(_PUT, rows)
        self._tally -= before
        self._tally.update({(self._hold, 1): len(counting), (self._hold, 0): len(waiting)})

    def take_out(self, paths: Sequence[bytes]) -> int:
        """These are there, or were never ours. Returns how many were in the table."""
        if self._is_empty:
            return 0
        with self._transaction():
            taken = self._take_out(paths)
        self._tally -= taken
        return taken.total()

    def free(self, paths: Sequence[bytes]) -> None:
        """These may go, and so may what waits for others: it is held again if it must."""
        with self._transaction():
            before = self._count(paths)
            rows = [(path,) for path in paths]
            self._database.executemany(f"UPDATE held SET hold = {_FREE} WHERE path = ?", rows)
            self._database.execute(f"UPDATE held SET hold = {_FREE} WHERE hold = ? AND counts = 0", (self._hold,))
        self._tally -= before
        self._tally[_FREE, 1] += before.total()
        self._tally[_FREE, 0] += self._tally.pop((self._hold, 0), 0)

    def release(self) -> None:
        """All that is held may go, and what went until now counts no more: a person says that it is meant."""
        with self._transaction():
            self._database.execute(_SET, ("hold", self._hold + 1))
            self._database.execute("DELETE FROM departed")
        self._hold += 1
        self.departed_noted = 0

    def park_all(self) -> None:
        """Hold everything that is known, and note that the source was emptied on purpose."""
        with self._transaction():
            statement = "INSERT OR REPLACE INTO held SELECT path, ?, 1, ? FROM entry WHERE path != ?"
            self._database.execute(statement, (self._hold, int(time.time()), PATTERNS_PATH))
            self._database.execute(_SET, ("emptied", 1))
            tally = self._counted()
        self._tally = tally
        self.is_emptied = True

    def forget_emptied(self) -> None:
        """What was said of an empty source is over."""
        with self._transaction():
            self._database.execute(_SET, ("emptied", 0))
        self.is_emptied = False

    def keep_departed(self, counts: Callable[[bytes], bool]) -> None:
        """Of what went lately keep what counts still."""
        if not self.departed_noted:
            return
        rows = [(path,) for path, _ in self.departed()]
        gone = [row for row in rows if not counts(row[0])]
        with self._transaction():
            self._database.executemany("DELETE FROM departed WHERE path = ?", gone)
        self.departed_noted = len(rows) - len(gone)

    # -- with a batch

    def published(self, changes: Sequence[Change]) -> Tally:
        """Inside the transaction of a batch: its paths are held no more, and what goes is noted. Returns what left the table,
        for `settle` when the transaction is done."""
        gone = [(c.path, c.old.digest) for c in changes if c.new is None and c.old is not None and is_of_disks(c)]
        if gone and self.is_counting:
            marks = self.of(path for path, _ in gone)
            rows = [row for row in gone if marks.get(row[0]) is not Mark.RELEASED]
            self._database.executemany("INSERT OR REPLACE INTO departed VALUES (?, ?)", rows)
            self.departed_noted += len(rows)
        if self.departed_noted:
            back = [(change.path,) for change in changes if change.old is None]
            self._database.executemany("DELETE FROM departed WHERE path = ?", back)
        return self._take_out([change.path for change in changes])

    def settle(self, taken: Tally) -> None:
        """The transaction in which `published` took these out is done."""
        self._tally -= taken

    def clear(self) -> None:
        """Inside a transaction, with `cleared` after it: nothing is held, and nothing went lately."""
        for table in ("held", "departed"):
            self._database.execute(f"DELETE FROM {table}")

    def cleared(self) -> None:
        """The transaction of `clear` is done."""
        self._tally, self.departed_noted = Counter(), 0

    # -- inner

    @property
    def _is_empty(self) -> bool:
        return not self._tally.total()

    def _mark(self, hold: int) -> Mark:
        if hold == self._hold:
            return Mark.HELD
        return Mark.FREE if hold == _FREE else Mark.RELEASED

    def _count(self, paths: Iterable[bytes]) -> Tally:
        found: Tally = Counter()
        if not self._is_empty:
            for part, marks in _parts(paths):
                statement = f"SELECT hold, counts, count(*) FROM held WHERE path IN ({marks}) GROUP BY hold, counts"
                for hold, counts, number in self._rows(statement, part):
                    found[hold, counts] += number
        return found

    def _take_out(self, paths: Sequence[bytes]) -> Tally:
        taken = self._count(paths)
        if taken:
            self._database.executemany("DELETE FROM held WHERE path = ?", [(path,) for path in paths])
        return taken

    def _state(self, key: str, default: int) -> int:
        rows = self._rows("SELECT value FROM state WHERE key = ?", (key,))
        return rows[0][0] if rows else default

    def _rows(self, statement: str, arguments: Sequence[Any] = ()) -> list[Any]:
        with self._converted():
            return self._database.execute(statement, arguments).fetchall()


def _parts(paths: Iterable[bytes]) -> Iterator[tuple[list[bytes], str]]:
    rest = iter(paths)
    while part := list(islice(rest, _QUESTION_MARKS)):
        yield part, ",".join("?" * len(part))
