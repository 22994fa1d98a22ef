"""How far the scrub of this disk is, as one row of the state's database: it goes on behind a restart. Decides nothing.

Raises NoRoomError and HaltError.
"""

import sqlite3
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from consumer.statefile import converted, transaction


class Pass(NamedTuple):
    """One reading of everything, and how far it is.

    `run`: the number of the order, 0: paced. `after`: what comes behind this path is to be read. `left`: the buckets that were
    stale when their turn came; `is_swept`: they alone are to be read. `began`: unix seconds, by a clock that may jump. `salt`: by
    which a bucket has its number; b"": nothing was read yet.
    """

    run: int
    began: float
    after: bytes = b""
    is_swept: bool = False
    left: frozenset[int] = frozenset()
    salt: bytes = b""

    def under(self, salt: bytes, unix_seconds: float) -> "Pass":
        """This pass in an index that is keyed so. What other numbers told is worth nothing: then all is to be read anew."""
        if not self.salt:
            return self._replace(salt=salt)
        return self if salt == self.salt else Pass(self.run, unix_seconds, salt=salt)


class ScrubRecord(NamedTuple):
    """`under_way`: the pass to go on with. `ended`: unix seconds when all was last read and nothing left wrong; 0: never."""

    under_way: Pass | None = None
    ended: float = 0.0

    def leaving(self, buckets: Iterable[int], salt: bytes) -> "ScrubRecord":
        """With these buckets, numbered by this salt, left to be read: behind a restart nobody knows of single paths."""
        here = self.under_way
        if here is None or here.salt != salt:
            return self
        return self._replace(under_way=here._replace(left=here.left.union(buckets)))


class ScrubTable:
    """The row of one open database."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        """`path`: the file, for errors."""
        self._database = database
        self._path = path

    def read(self) -> ScrubRecord:
        """How far the scrub was when that was last saved."""
        with converted(self._path):
            return _read(self._database)

    def save(self, record: ScrubRecord) -> None:
        """The scrub is so far. Idempotent."""
        with transaction(self._database, self._path):
            _save(self._database, record)


def _read(database: sqlite3.Connection) -> ScrubRecord:
    query = "SELECT is_under_way, run, began, after, is_swept, remaining, salt, ended FROM scrub"
    row = database.execute(query).fetchone()
    if row is None:
        return ScrubRecord()
    is_under_way, run, began, after, is_swept, remaining, salt, ended = row
    here = Pass(run, began, after, bool(is_swept), frozenset(array("H", remaining)), salt)
    return ScrubRecord(here if is_under_way else None, ended)


def _save(database: sqlite3.Connection, record: ScrubRecord) -> None:
    here = record.under_way or Pass(0, 0.0)
    remaining = array("H", sorted(here.left)).tobytes()
    database.execute(
        "INSERT OR REPLACE INTO scrub VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (record.under_way is not None, *here[:4], remaining, here.salt, record.ended),
    )
