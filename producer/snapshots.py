"""Does: reads the journal's database beside its owner: a snapshot is one read transaction on a connection that cannot write.

So the position, the rows and the bucket digests of one snapshot belong together, whatever is committed meanwhile. Knows tables,
and not what is read for. Snapshots are short: while one is open the database's log cannot be cut.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.digests import EMPTY_BUCKET
from common.messages import Lineage
from producer import journal_schema
from producer.changed import Ahead, Changed, OutOfReach, changed_since
from producer.journal_rows import ROW, known_of
from producer.values import Known

_CACHE_KIB = 16 * 1024
_HEAD = "SELECT key, value FROM state WHERE key IN ('tree', 'epoch', 'instance', 'salt', 'sequence', 'released')"


class Snapshot:
    """The journal at one moment. Valid inside the `with` that it came from."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        state: dict[str, Any] = dict(database.execute(_HEAD).fetchall())
        self.lineage = Lineage(state["tree"], state["epoch"], state["instance"], state["salt"])
        self.sequence: int = state["sequence"]
        """S: what is read here is as after the batch that ended there."""
        self.released: int = state.get("released", 0)

    def digests(self) -> dict[int, bytes]:
        """The digests of the buckets that are not empty, and perhaps of some that are."""
        return dict(self._database.execute("SELECT number, digest FROM bucket"))

    def digest(self, bucket: int) -> bytes:
        """The digest of one bucket."""
        row = self._database.execute("SELECT digest FROM bucket WHERE number = ?", (bucket,)).fetchone()
        return row[0] if row is not None else EMPTY_BUCKET

    def rows_in_bucket(self, bucket: int) -> list[Known]:
        """Everything that one bucket holds, in byte order."""
        rows = self._database.execute(f"SELECT {ROW} FROM entry WHERE bucket = ? ORDER BY path", (bucket,))
        return [known_of(row) for row in rows]

    def known(self, path: bytes) -> Known | None:
        """What the index has at a path."""
        row = self._database.execute(f"SELECT {ROW} FROM entry WHERE path = ?", (path,)).fetchone()
        return known_of(row) if row is not None else None


class Snapshots:
    """See the module. Owned by one thread. Raises what `journal_schema.converted` says."""

    def __init__(self, path: Path) -> None:
        """The database must be there; it is opened through sqlite3 alone, as its owner does."""
        self._path = path
        self._database = journal_schema.open_reader(path)
        with journal_schema.converted(path):
            self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._snapshot: Snapshot | None = None
        self._is_begun = self._is_held = False

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """One read transaction; within `held` it is the same for all readings."""
        with journal_schema.converted(self._path):
            try:
                yield self._begun()
            finally:
                if not self._is_held:
                    self._end()

    @contextmanager
    def held(self) -> Iterator[None]:
        """A short spell of readings in one transaction: to begin one each time costs more than to read a row or two."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            with journal_schema.converted(self._path):
                self._end()

    def _begun(self) -> Snapshot:
        if self._snapshot is None:
            self._database.execute("BEGIN")
            self._is_begun = True
            self._snapshot = Snapshot(self._database)
        return self._snapshot

    def _end(self) -> None:
        self._snapshot = None
        if self._is_begun:
            self._is_begun = False
            self._database.execute("ROLLBACK")

    def changed_since(self, base: int) -> Changed | OutOfReach | Ahead:
        """What became of the tree after a sequence, in a transaction of its own; see `producer.changed`."""
        with journal_schema.converted(self._path):
            self._end()
            return changed_since(self._database, base)

    def close(self) -> None:
        """Idempotent."""
        self._database.close()
