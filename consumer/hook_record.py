"""What a hook is still to be told of, in the state's database: one row for each commit, so that no crash loses a path.

Decides nothing of when. `take` and `take_everything` run inside the caller's transaction, and SQLite's errors there are the
caller's to convert; `turn` and `done` are transactions of their own.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from consumer.statefile import converted, transaction

PATHS_LIMIT = 250_000
BYTES_LIMIT = 16 * 1024 * 1024
"""With more paths, or more bytes of them, that wait: everything may have changed."""


class Pending(NamedTuple):
    """What a run is told. `number`: it covers all up to there. `raw`: paths, each ended by NUL, not sorted, some more than once;
    None: everything may have changed."""

    number: int
    raw: bytes | None


def collapsed(raw: bytes) -> bytes:
    """Each path once, in byte order, ended by NUL."""
    return b"".join(path + b"\0" for path in sorted(set(raw.split(b"\0")[:-1])))


class HookRecord:
    """The rows of one open database. While no hook is set nothing is written, and nothing is there."""

    def __init__(self, database: sqlite3.Connection, path: Path, unix_clock: Callable[[], float] = time.time) -> None:
        """`path`: the file, for errors."""
        self._database = database
        self._path = path
        self._unix_clock = unix_clock
        self._handed = 0
        self._next = 1
        self.recount()

    def recount(self) -> None:
        """See anew what is there: a transaction is over, perhaps without having happened."""
        query = "SELECT min(since), max(number), sum(count), sum(length(paths)) FROM changed"
        oldest, last, count, size = self._database.execute(query).fetchone()
        self._oldest: float | None = oldest
        self._paths, self._bytes = count or 0, size or 0
        self._next = max(self._next, (last or 0) + 1)
        everything = self._database.execute("SELECT max(number) FROM changed WHERE paths IS NULL").fetchone()[0]
        self._everything: int = everything or 0
        """Which row says that everything may have changed; 0: none does."""
        self.is_on = bool(self._database.execute("SELECT count(*) FROM hook").fetchone()[0])

    @property
    def since(self) -> float | None:
        """The unix seconds of the oldest change that waits; None: nothing waits. Costs nothing."""
        return self._oldest

    def turn(self, is_on: bool) -> None:
        """A hook is set from now on, or none is. One that is new is told of everything. Idempotent.

        Raises NoRoomError and HaltError, as all that follows.
        """
        if is_on == self.is_on:
            return
        with transaction(self._database, self._path):
            self._database.execute("DELETE FROM changed")
            self._database.execute("DELETE FROM hook")
            if is_on:
                self._database.execute("INSERT INTO hook VALUES (1)")
                self._insert(None)
        self.recount()

    # -- in the caller's transaction
    def take(self, paths: Sequence[bytes]) -> None:
        """These changed on the disk."""
        if not self.is_on or not paths or self._everything > self._handed:
            return
        self._insert(paths)
        if self._paths > PATHS_LIMIT or self._bytes > BYTES_LIMIT:
            self._shrink()

    def take_everything(self) -> None:
        """Whatever is on the disk may have changed."""
        if self.is_on and self._everything <= self._handed:
            oldest = self._oldest
            self._database.execute("DELETE FROM changed")
            self._insert(None, since=oldest)

    def _insert(self, paths: Sequence[bytes] | None, since: float | None = None) -> None:
        raw = b"\0".join((*paths, b"")) if paths is not None else None
        now = since if since is not None else self._unix_clock()
        count = len(paths) if paths is not None else 0
        self._database.execute("INSERT INTO changed VALUES (?, ?, ?, ?)", (self._next, now, count, raw))
        if paths is None:
            self._everything = self._next
        self._next += 1
        self._paths += count
        self._bytes += len(raw or b"")
        self._oldest = now if self._oldest is None else self._oldest

    def _shrink(self) -> None:
        """Paths that changed again and again stand in many rows: one row for all, if that is half of the limit at most.

        What a run is told of just now is in it too, and will be told of once more.
        """
        raw = collapsed(b"".join(row[0] or b"" for row in self._database.execute("SELECT paths FROM changed")))
        paths, oldest = raw.split(b"\0")[:-1], self._oldest
        self._database.execute("DELETE FROM changed")
        self._paths = self._bytes = 0
        if self._everything or len(paths) * 2 > PATHS_LIMIT or len(raw) * 2 > BYTES_LIMIT:
            self._insert(None, since=oldest)
        else:
            self._insert(paths, since=oldest)

    # -- runs
    def pending(self) -> Pending | None:
        """All that waits, for a run that begins now; None: nothing does."""
        with converted(self._path):
            rows = self._database.execute("SELECT number, paths FROM changed ORDER BY number").fetchall()
        if not rows:
            return None
        self._handed = rows[-1][0]
        if any(paths is None for _, paths in rows):
            return Pending(self._handed, None)
        return Pending(self._handed, b"".join(paths for _, paths in rows))

    def done(self, number: int) -> None:
        """A run was told of all up to there. Idempotent."""
        with transaction(self._database, self._path):
            self._database.execute("DELETE FROM changed WHERE number <= ?", (number,))
        self.recount()
