"""Does: the change log in the journal's database: what changed, when, under which position; pruned from the oldest.

Knows one table and one key of `state`. Every function takes the journal's connection: those that write are called inside the
transaction of the batch, so that tree, sequence and log change together. sqlite3's errors are the caller's to convert.

`reach`: only what changed after this sequence is in the log as a since question sees it: the highest sequence that was pruned,
or the first position of the epoch. Rows of earlier epochs stay readable for a person until they are pruned.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from common.names import ROOT, range_below
from producer.values import Change

SCHEMA = """
CREATE TABLE log (
    sequence INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, unix_ms INTEGER NOT NULL, path BLOB NOT NULL,
    old_kind INTEGER NOT NULL, old_size INTEGER NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL, kept INTEGER NOT NULL
)
"""
"""Kind 0: absent. `kept`: a delete that left the files on the disks, as when a pattern excludes them. Within one journal the
sequence only goes up, over epochs too, so a row is appended and never moved; about 75 bytes for a path of 40."""

SLICE_ROWS = 1024
"""Pruned at once, beside as many as were added: no commit gets slow, and few touch the other end of the table."""
_INSERT = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SET_REACH = "INSERT INTO state (key, value) VALUES ('reach', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


class Logged(NamedTuple):
    """One row. Kinds are those of `common.entries.Kind`, 0 for absent; sizes are bytes, 0 for a directory."""

    sequence: int
    epoch: int
    unix_ms: int
    path: bytes
    old_kind: int
    old_size: int
    kind: int
    size: int
    kept: int

    @property
    def what(self) -> str:
        """In one word: create, modify, delete, or exclude (a delete that touched no disk)."""
        if not self.kind:
            return "exclude" if self.kept else "delete"
        return "modify" if self.old_kind else "create"


def append(database: sqlite3.Connection, epoch: int, first: int, changes: Sequence[Change], unix_ms: int) -> None:
    """The rows of one batch."""
    rows = [
        (sequence, epoch, unix_ms, path, *(old[0:4:3] if old else (0, 0)), *(new[0:4:3] if new else (0, 0)), int(kept))
        for sequence, (path, old, new, _, _, kept) in enumerate(changes, first)
    ]
    database.executemany(_INSERT, rows)


def begin_epoch(database: sqlite3.Connection, sequence: int) -> None:
    """As far as since is concerned the log is empty now."""
    database.execute(_SET_REACH, (sequence,))


def prune(database: sqlite3.Connection, added: int, limit_rows: int) -> None:
    """Take the oldest rows out when there are more than the limit, a slice at a time; `added`: rows of this transaction."""
    slice_rows = min(SLICE_ROWS, limit_rows // 8)
    lowest, highest = _ends(database)
    excess = highest - limit_rows - lowest + 1
    if highest and excess > slice_rows:
        pruned = lowest + min(excess, 2 * added + slice_rows) - 1
        database.execute("DELETE FROM log WHERE sequence <= ?", (pruned,))
        if pruned > reach(database):
            database.execute(_SET_REACH, (pruned,))


def _ends(database: sqlite3.Connection) -> tuple[int, int]:
    """The lowest and the highest sequence in the log; 0 where it is empty. Two seeks: one statement for both would scan."""
    ((lowest,),) = database.execute("SELECT min(sequence) FROM log")
    ((highest,),) = database.execute("SELECT max(sequence) FROM log")
    return lowest or 0, highest or 0


def reach(database: sqlite3.Connection) -> int:
    """See the module."""
    row = database.execute("SELECT value FROM state WHERE key = 'reach'").fetchone()
    return int(row[0]) if row is not None else 0


def time_of(database: sqlite3.Connection, sequence: int) -> int | None:
    """When the first change at or after this sequence was numbered, in milliseconds since 1970; None: nothing was since."""
    row = database.execute(
        "SELECT unix_ms FROM log WHERE sequence >= ? ORDER BY sequence LIMIT 1", (sequence,)
    ).fetchone()
    return int(row[0]) if row is not None else None


def newest(
    database: sqlite3.Connection,
    path: bytes = ROOT,
    *,
    from_unix_ms: int | None = None,
    deleted: bool = False,
    limit: int | None = None,
) -> Iterator[Logged]:
    """Newest first: what changed at and below a path, at most `limit` of it; `deleted`: only what went away."""
    wanted, arguments = ["1"], []
    if path != ROOT:
        wanted.append("(path = ? OR (path >= ? AND path < ?))")
        arguments += [path, *range_below(path)]
    if deleted:
        wanted.append("kind = 0")
    condition = " AND ".join(wanted + ([f"unix_ms >= {from_unix_ms:d}"] if from_unix_ms is not None else []))
    statement = f"SELECT * FROM log WHERE {condition} ORDER BY sequence DESC LIMIT {-1 if limit is None else limit:d}"
    return (Logged(*row) for row in database.execute(statement, arguments))
