"""Does: the change log in the journal's database: what changed, when, under which position; pruned from the oldest.

Knows one table and one key of `state`. Every function takes the journal's connection: those that write are called inside the
transaction of the batch, so that tree, sequence and log change together. sqlite3's errors are the caller's to convert.

`reach`: only what changed after this sequence is in the log as a since question sees it: the highest sequence that was pruned,
or the first position of the epoch. Rows of earlier epochs stay readable for a person until they are pruned.
"""

import sqlite3
from collections.abc import Iterator, Sequence

from common.names import ROOT, range_below
from producer.values import Change, Logged

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
_PAGE_ROWS = 5000
_INSERT = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SET_REACH = "INSERT INTO state (key, value) VALUES ('reach', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


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


def history(
    database: sqlite3.Connection,
    path: bytes = ROOT,
    *,
    from_unix_ms: int | None = None,
    deleted: bool = False,
    newest: int | None = None,
) -> Iterator[Logged]:
    """What changed at and below a path, newest last; `deleted`: only what went away; `newest`: so many at most.

    In pages: who reads it slowly holds no transaction open, behind which the journal's own log could only grow.
    """
    condition, arguments = _condition(path, from_unix_ms, deleted)
    after = 0 if newest is None else _before_newest(database, condition, arguments, newest)
    statement = f"SELECT * FROM log WHERE sequence > ? AND {condition} ORDER BY sequence LIMIT {_PAGE_ROWS}"
    while page := database.execute(statement, (after, *arguments)).fetchall():
        yield from map(Logged._make, page)
        after = page[-1][0]


def _condition(path: bytes, from_unix_ms: int | None, deleted: bool) -> tuple[str, list[bytes | int]]:
    wanted, arguments = ["1"], list[bytes | int]()
    if path != ROOT:
        wanted.append("(path = ? OR (path >= ? AND path < ?))")
        arguments += [path, *range_below(path)]
    if from_unix_ms is not None:
        wanted.append("unix_ms >= ?")
        arguments.append(from_unix_ms)
    if deleted:
        wanted.append("kind = 0")
    return " AND ".join(wanted), arguments


def _before_newest(database: sqlite3.Connection, condition: str, arguments: list[bytes | int], newest: int) -> int:
    found = f"SELECT sequence FROM log WHERE {condition} ORDER BY sequence DESC LIMIT ?"
    ((lowest,),) = database.execute(f"SELECT min(sequence) FROM ({found})", (*arguments, newest))
    return lowest - 1 if lowest is not None else 0
