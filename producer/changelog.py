"""Does: the change log in the journal's database: what changed, when, under which position; pruned from the oldest.

Knows one table and one key of `state`. Every function takes the journal's connection: those that write are called inside the
transaction of the batch, so that tree, sequence and log change together. sqlite3's errors are the caller's to convert.

`reach`: only what changed after this sequence is in the log as a since question sees it: the highest sequence that was pruned,
or the first position of the epoch. Rows of earlier epochs stay readable for a person until they are pruned.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from common.names import ROOT, is_below
from producer.logrows import pack_rows, unpack_paths, unpack_rows
from producer.values import Change, Logged

SCHEMA = """
CREATE TABLE log (
    last INTEGER PRIMARY KEY, first INTEGER NOT NULL, epoch INTEGER NOT NULL, unix_ms INTEGER NOT NULL, rows BLOB NOT NULL
)
"""
"""A row for each batch; `rows` as in `logrows`. Within one journal the sequence only goes up, over epochs too, so a row is
appended and never moved."""

PRUNE_EVERY_ROWS = 64
SLICE_BATCHES = 128
"""Pruned at once, so that no commit gets slow; in steps, so that few small ones touch the other end of the table."""
_PAGE_BATCHES = 16
_SELECT = "SELECT rows, first, last, epoch, unix_ms FROM log WHERE "
_SET_REACH = "INSERT INTO state (key, value) VALUES ('reach', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def append(database: sqlite3.Connection, epoch: int, first: int, changes: Sequence[Change], unix_ms: int) -> None:
    """The rows of one batch."""
    row = (first + len(changes) - 1, first, epoch, unix_ms, pack_rows(changes))
    database.execute("INSERT INTO log (last, first, epoch, unix_ms, rows) VALUES (?, ?, ?, ?, ?)", row)


def begin_epoch(database: sqlite3.Connection, sequence: int) -> None:
    """As far as since is concerned the log is empty now."""
    database.execute(_SET_REACH, (sequence,))


def prune(database: sqlite3.Connection, highest: int, added: int, limit_rows: int) -> None:
    """Take the oldest batches out while the younger ones are as many rows as the limit: a slice of batches at a time.

    `highest`: the last sequence in the log; `added`: rows of this transaction.
    """
    every = max(1, min(PRUNE_EVERY_ROWS, limit_rows // 8))
    if highest // every == (highest - added) // every:
        return
    surplus = "SELECT last FROM log WHERE last <= ? ORDER BY last LIMIT ?"
    found = database.execute(surplus, (highest - limit_rows, SLICE_BATCHES)).fetchall()
    if found:
        ((pruned,),) = found[-1:]
        database.execute("DELETE FROM log WHERE last <= ?", (pruned,))
        if pruned > reach(database):
            database.execute(_SET_REACH, (pruned,))


def reach(database: sqlite3.Connection) -> int:
    """See the module."""
    row = database.execute("SELECT value FROM state WHERE key = 'reach'").fetchone()
    return int(row[0]) if row is not None else 0


def time_of(database: sqlite3.Connection, sequence: int) -> int | None:
    """When the first change at or after this sequence was numbered, in milliseconds since 1970; None: nothing was since."""
    row = database.execute("SELECT unix_ms FROM log WHERE last >= ? ORDER BY last LIMIT 1", (sequence,)).fetchone()
    return int(row[0]) if row is not None else None


def paths_since(database: sqlite3.Connection, base: int, limit: int) -> set[bytes] | None:
    """The paths that changed after a sequence; None when they are more than the limit."""
    found: set[bytes] = set()
    for packed, first, last in database.execute(
        "SELECT rows, first, last FROM log WHERE last > ? ORDER BY last", (base,)
    ):
        found.update(unpack_paths(packed, last - first + 1)[max(0, base - first + 1) :])
        if len(found) > limit:
            return None
    return found


def history(
    database: sqlite3.Connection,
    path: bytes = ROOT,
    *,
    from_unix_ms: int = 0,
    deleted: bool = False,
    newest: int | None = None,
) -> Iterator[Logged]:
    """What changed at and below a path, newest last; `deleted`: only what went away; `newest`: so many at most.

    In pages: who reads it slowly holds no transaction open, behind which the journal's own log could only grow.
    """

    def is_wanted(row: Logged) -> bool:
        return (row.path == path or is_below(row.path, path)) and not (deleted and row.kind)

    if newest is None:
        yield from filter(is_wanted, _rows_upwards(database, path, from_unix_ms))
    else:
        found = islice(filter(is_wanted, _rows_downwards(database, path, from_unix_ms)), newest)
        yield from reversed(list(found))


def newest_at(
    database: sqlite3.Connection, path: bytes, limit: int, up_to: int, is_over: Callable[[], bool]
) -> tuple[list[Logged], int | None]:
    """The newest changes at one path, none after the sequence `up_to`, newest last; and back to which time the log was read, in
    milliseconds since 1970: None: all of it. `is_over`: asked now and then, whether that took too long."""
    found: list[Logged] = []
    before = up_to + 1
    where = f"last < ? ORDER BY last DESC LIMIT {_PAGE_BATCHES}"
    while page := database.execute(_SELECT + where, (before,)).fetchall():
        for batch in page:
            found += [row for row in reversed(list(unpack_rows(*batch, holding=path))) if row.path == path]
            if len(found) >= limit:
                return found[limit - 1 :: -1], None
        before = page[-1][2]
        if is_over():
            return found[::-1], page[-1][4]
    return found[::-1], None


def _rows_upwards(database: sqlite3.Connection, path: bytes, from_unix_ms: int) -> Iterator[Logged]:
    after = -1
    where = f"last > ? AND unix_ms >= ? ORDER BY last LIMIT {_PAGE_BATCHES}"
    while page := database.execute(_SELECT + where, (after, from_unix_ms)).fetchall():
        for batch in page:
            yield from unpack_rows(*batch, holding=path)
        after = page[-1][2]


def _rows_downwards(database: sqlite3.Connection, path: bytes, from_unix_ms: int) -> Iterator[Logged]:
    before = 1 << 62
    where = f"last < ? AND unix_ms >= ? ORDER BY last DESC LIMIT {_PAGE_BATCHES}"
    while page := database.execute(_SELECT + where, (before, from_unix_ms)).fetchall():
        for batch in page:
            yield from reversed(list(unpack_rows(*batch, holding=path)))
        before = page[-1][2]
