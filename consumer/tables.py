"""The small tables of the replica's state as values: standing, flags, stale buckets. Opens no file.

The functions that write run inside the caller's transaction. SQLite's errors are the caller's to convert.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common.digests import BUCKETS, SALT_BYTES, content_digest
from common.entries import BEFORE_ALL, Position, file_entry
from common.errors import StateError
from common.names import PATTERNS_PATH
from consumer.index import Counts
from consumer.values import Row, Stale, Standing

ALL_STALE: Mapping[int, Stale] = dict.fromkeys(range(BUCKETS), Stale(BEFORE_ALL, None))
FRESH = Standing(0, b"", bytes(SALT_BYTES), 0, b"", b"", ALL_STALE, None, 0)
"""Where a replica stands that knows nothing."""

_PATHS_PER_QUERY = 500


class Flags(NamedTuple):
    """What a state knows beside its standing. See the properties of `State`."""

    token: bytes
    mark: str
    is_released: bool
    first_copy_complete: bool
    patterns: bytes


def patterns_row(flags: Flags) -> dict[bytes, Row | None]:
    """The index's row for the patterns that are in force, where there are any: a guess."""
    content = flags.patterns
    entry = file_entry(0, 0, len(content), content_digest(content))
    return {PATTERNS_PATH: Row(entry, None)} if content else {}


def make_fresh(database: sqlite3.Connection, tree: str, replica: str) -> None:
    """The one row of `standing` and every bucket stale, where there is none yet."""
    if database.execute("SELECT count(*) FROM standing").fetchone()[0]:
        return
    database.execute("BEGIN IMMEDIATE")
    database.execute(
        "INSERT INTO standing VALUES (1, ?, ?, 0, x'', ?, 0, x'', x'', NULL, NULL, 0, 0, 0, x'', '', 0, 0, x'', 0, 0, 0, 0)",
        (tree, replica, FRESH.salt),
    )
    save_stale(database, {}, ALL_STALE)
    database.execute("COMMIT")


def check_tree(database: sqlite3.Connection, path: Path, tree: str) -> None:
    """Raises StateError for a state of another tree. A replica may be renamed."""
    ours: str = database.execute("SELECT tree FROM standing").fetchone()[0]
    if ours != tree:
        raise StateError(f"{path} belongs to the tree {ours!r}, not to {tree!r}; name another state directory")


def read_standing(database: sqlite3.Connection) -> Standing:
    """Where the replica stands."""
    names = "epoch, instance, salt, sequence, head, digest, proved_epoch, proved_sequence, commits, is_forked, released"
    row = database.execute(f"SELECT {names} FROM standing").fetchone()
    epoch, instance, salt, sequence, head, digest, proved_epoch, proved_sequence, commits, is_forked, released = row
    stale = {
        bucket: Stale(Position(floor_epoch, floor_sequence), base)
        for bucket, floor_epoch, floor_sequence, base in database.execute("SELECT * FROM stale")
    }
    proved = Position(proved_epoch, proved_sequence) if proved_epoch is not None else None
    return Standing(epoch, instance, salt, sequence, head, digest, stale, proved, commits, bool(is_forked), released)


def read_flags(database: sqlite3.Connection) -> Flags:
    """Token, mark, and what happened once."""
    row = database.execute("SELECT token, mark, is_released, first_copy_complete, patterns FROM standing").fetchone()
    return Flags(row[0], row[1], bool(row[2]), bool(row[3]), row[4])


def read_counts(database: sqlite3.Connection) -> Counts:
    """How much is indexed."""
    return Counts(*database.execute("SELECT files, directories, symlinks, found FROM standing").fetchone())


def save_standing(database: sqlite3.Connection, standing: Standing, flags: Flags, counts: Counts) -> None:
    """The one row, whole."""
    proved_epoch, proved_sequence = standing.proved or (None, None)
    database.execute(
        """UPDATE standing SET epoch = ?, instance = ?, salt = ?, sequence = ?, head = ?, digest = ?, proved_epoch = ?,
        proved_sequence = ?, commits = ?, is_forked = ?, released = ?, token = ?, mark = ?, is_released = ?,
        first_copy_complete = ?, patterns = ?, files = ?, directories = ?, symlinks = ?, found = ?""",
        (
            *(standing.epoch, standing.instance, standing.salt, standing.sequence, standing.head, standing.digest),
            *(proved_epoch, proved_sequence, standing.commits, standing.is_forked, standing.released, *flags),
            *(counts.files, counts.directories, counts.symlinks, counts.found),
        ),
    )


def save_stale(database: sqlite3.Connection, old: Mapping[int, Stale], new: Mapping[int, Stale]) -> None:
    """Only the rows that changed."""
    if old is new:
        return
    level = [(bucket,) for bucket in old if bucket not in new]
    database.executemany("DELETE FROM stale WHERE bucket = ?", level)
    rows = [(bucket, *stale.floor, stale.base) for bucket, stale in new.items() if old.get(bucket) != stale]
    database.executemany("INSERT OR REPLACE INTO stale VALUES (?, ?, ?, ?)", rows)


def drop_paths(database: sqlite3.Connection, table: str, paths: Iterable[bytes]) -> None:
    """Rows of `tombs` or `unmet` go."""
    database.executemany(f"DELETE FROM {table} WHERE path = ?", [(path,) for path in paths])


def of_paths(database: sqlite3.Connection, query: str, paths: Collection[bytes]) -> Iterator[Any]:
    """The rows that a query that ends in "IN" finds at these paths."""
    asked = list(paths)
    for start in range(0, len(asked), _PATHS_PER_QUERY):
        chunk = asked[start : start + _PATHS_PER_QUERY]
        yield from database.execute(f"{query} ({','.join('?' * len(chunk))})", chunk)
