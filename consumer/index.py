"""The replica's index in its database: path to row, bucket digests, counts. Knows the tables `entries` and `buckets` only.

What it computes ahead (digests, counts) becomes current with `accept`, which the owner calls when its transaction is
durable; `forget` drops it. Reads are in bulk, and some rows are remembered: those read or written last, and directories.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from common.digests import BUCKETS, EMPTY_BUCKET, BucketDigests, bucket_of
from common.entries import Entry, Kind, Position
from common.names import PATTERNS_PATH, range_below
from consumer.missing import LARGE
from consumer.values import Found, Row

ROWS_PER_QUERY = 500
"""Measured: 3 microseconds a row; one at a time costs 7."""
REMEMBERED_ROWS = 20_000

Record = tuple[bytes, int, int, int, int, bytes, str, int | None, int | None, int]

_COLUMNS = "path, kind, mode, mtime_ns, size, digest, owner, epoch, sequence, found"
_UPSERT = """INSERT INTO entries (bucket, path, kind, mode, mtime_ns, size, digest, owner, epoch, sequence, found)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, mode = excluded.mode,
    mtime_ns = excluded.mtime_ns, size = excluded.size, digest = excluded.digest, owner = excluded.owner, epoch = excluded.epoch,
    sequence = excluded.sequence, found = excluded.found"""
_COPY_FOUND = """INSERT OR REPLACE INTO scanned VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, NULL,
    coalesce((SELECT found FROM entries WHERE path = ?1), NOT EXISTS (SELECT 1 FROM unmet WHERE path = ?1)))"""
"""What was unmet as an absence was published once: it is not found."""
_KINDS = {int(kind): kind for kind in Kind}


@dataclass(slots=True)
class Counts:
    """How many paths of each kind are indexed, and how many of all were found on the disk and published by nobody."""

    files: int = 0
    directories: int = 0
    symlinks: int = 0
    found: int = 0

    @property
    def entries(self) -> int:
        return self.files + self.directories + self.symlinks

    def add(self, row: Row, times: int) -> None:
        """Count a row in (times 1) or out (times -1)."""
        if row.entry.kind is Kind.FILE:
            self.files += times
        elif row.entry.kind is Kind.DIRECTORY:
            self.directories += times
        else:
            self.symlinks += times
        self.found += times * row.found

    def copy(self) -> "Counts":
        return Counts(self.files, self.directories, self.symlinks, self.found)


@dataclass(slots=True)
class _Ahead:
    """Digests looked ahead for a set of changes: what `write` needs again when the same set comes."""

    changes: dict[bytes, Entry | None]
    digests: BucketDigests
    buckets: dict[bytes, int]


@dataclass(slots=True)
class Draft:
    """What becomes current with `accept`."""

    digests: BucketDigests
    counts: Counts
    changed: set[int] = field(default_factory=set)


class Index:
    """Reads at any time; writes only inside the owner's transaction."""

    def __init__(self, database: sqlite3.Connection, salt: bytes, counts: Counts) -> None:
        self._database = database
        self._digests = BucketDigests(salt)
        self._counts = counts
        self._draft: Draft | None = None
        self._ahead: _Ahead | None = None
        self._remembered: dict[bytes, Row | None] = {}
        for bucket, digest in database.execute("SELECT bucket, digest FROM buckets"):
            self._digests.put(bucket, digest)

    # -- reading: as of the last commit
    @property
    def salt(self) -> bytes:
        """The salt of the transaction that runs, else the current one."""
        return (self._draft.digests if self._draft is not None else self._digests).salt

    @property
    def counts(self) -> Counts:
        """As they will be after the transaction that runs, else as they are."""
        return self._draft.counts if self._draft is not None else self._counts

    def rows(self, paths: Collection[bytes]) -> dict[bytes, Row]:
        """The indexed ones of these paths."""
        remembered = self._remembered
        missing = [path for path in paths if path not in remembered]
        if len(remembered) + len(missing) > REMEMBERED_ROWS:
            remembered = _directories(remembered)
            missing = [path for path in paths if path not in remembered]
        if missing:
            self._read_into(remembered, missing)
        self._remembered = remembered if len(remembered) <= REMEMBERED_ROWS else {}
        return {path: row for path in paths if (row := remembered[path]) is not None}

    def below(self, path: bytes) -> list[bytes]:
        """Every indexed path below this one (all of them for the root), in byte order."""
        if not path:
            query = self._database.execute("SELECT path FROM entries ORDER BY path")
        else:
            query = self._database.execute("SELECT path FROM entries WHERE path > ? AND path < ?", range_below(path))
        return [found for (found,) in query]

    def in_buckets(self, buckets: Collection[int]) -> set[bytes]:
        """Every indexed path of these buckets."""
        query = f"SELECT path FROM entries WHERE bucket IN ({numbers(buckets)})"
        return {path for (path,) in self._database.execute(query)}

    def bucket_counts(self) -> dict[int, int]:
        """How many paths each bucket holds; those that hold none are left out. Reads the whole index's keys."""
        return dict(self._database.execute("SELECT bucket, count(*) FROM entries GROUP BY bucket").fetchall())

    def rows_of_bucket(self, bucket: int) -> dict[bytes, Row]:
        """What is indexed in one bucket, in byte order."""
        query = f"SELECT {_COLUMNS} FROM entries WHERE bucket = ? ORDER BY path"
        return {record[0]: as_row(record) for record in self._database.execute(query, (bucket,))}

    def bucket_of(self, path: bytes) -> int:
        """The path's bucket under the current salt."""
        return bucket_of(self.salt, path)

    def bucket_digest(self, bucket: int) -> bytes:
        """The digest of one bucket."""
        return self._digests.of(bucket)

    def filled_buckets(self) -> list[tuple[int, bytes]]:
        """Every bucket that is not empty, with its digest, in order."""
        query = "SELECT DISTINCT bucket FROM entries ORDER BY bucket"
        return [(bucket, self._digests.of(bucket)) for (bucket,) in self._database.execute(query)]

    def tree_digest(self) -> bytes:
        """The digest over the whole index."""
        return self._digests.tree_digest()

    def tree_digest_with(self, changes: Mapping[bytes, Entry | None]) -> bytes:
        """The digest that the index would have after these changes."""
        return self._look_ahead(dict(changes), self.rows(changes.keys())).digests.tree_digest()

    # -- writing: inside a transaction
    def write(self, changes: Mapping[bytes, Row | None]) -> None:
        """These paths become these rows, or leave the index (None)."""
        if not changes:
            return
        old = self.rows(changes.keys())
        ahead = self._look_ahead({path: row.entry if row is not None else None for path, row in changes.items()}, old)
        self._ahead = None
        draft = self._drafted()
        draft.digests = ahead.digests
        draft.changed.update(ahead.buckets.values())
        for path, row in old.items():
            if path != PATTERNS_PATH:
                draft.counts.add(row, -1)
        for path, new in changes.items():
            if new is not None and path != PATTERNS_PATH:
                draft.counts.add(new, 1)
        self._remembered.update(changes)
        gone = [(path,) for path in sorted(old) if changes[path] is None]
        self._database.executemany("DELETE FROM entries WHERE path = ?", gone)
        self._database.executemany(_UPSERT, _records(changes, ahead.buckets))

    def publish(self, buckets: Collection[int]) -> None:
        """What is indexed in these buckets was published: `found` no more, but where the disk still shows what was found."""
        if not buckets or not self.counts.found:
            return
        query = (
            f"UPDATE entries SET found = 0 WHERE found = 1 AND bucket IN ({numbers(buckets)})"
            " AND path NOT IN (SELECT path FROM unmet)"
        )
        self._drafted().counts.found -= self._database.execute(query).rowcount
        self._remembered = {}

    def rekey(self, salt: bytes) -> None:
        """Another salt: every bucket and digest is made anew, in one pass and flat memory."""
        self._database.create_function("new_bucket", 1, lambda path: bucket_of(salt, path), deterministic=True)
        # The rows move between buckets: rebuilding the order by bucket once is cheaper than moving each.
        self._database.execute("DROP INDEX entries_by_bucket")
        self._database.execute("UPDATE entries SET bucket = new_bucket(path)")
        self._database.execute("CREATE INDEX entries_by_bucket ON entries (bucket)")
        self._database.execute("UPDATE tombs SET bucket = new_bucket(path)")
        self._reckon(salt)

    def reckon(self) -> None:
        """The digests are made anew from the rows: what is written down of them may have rotted. One pass."""
        self._reckon(self.salt)

    def _reckon(self, salt: bytes) -> None:
        digests = BucketDigests(salt)
        for record in self._database.execute(f"SELECT {_COLUMNS} FROM entries"):
            digests.replace(record[0], None, as_row(record).entry)
        self._replace_digests(digests)

    def replace_all(self, scan: Iterable[Found]) -> None:
        """The index becomes what a scan found: guesses. A path that was not indexed before counts as found."""
        digests, counts = BucketDigests(self.salt), Counts()
        schema: str = self._database.execute("SELECT sql FROM sqlite_master WHERE name = 'entries'").fetchone()[0]
        self._database.execute(schema.replace("entries", "scanned", 1))
        self._database.executemany(_COPY_FOUND, _scanned(scan, digests, counts))
        self._database.execute("DROP TABLE entries")
        self._database.execute("ALTER TABLE scanned RENAME TO entries")
        self._database.execute("CREATE INDEX entries_by_bucket ON entries (bucket)")
        self._database.execute(f"CREATE INDEX entries_large ON entries (digest) WHERE {LARGE}")
        counts.found = self._database.execute("SELECT count(*) FROM entries WHERE found = 1").fetchone()[0]
        self._drafted().counts = counts
        self._replace_digests(digests)

    def save_digests(self) -> None:
        """Write the bucket digests that the transaction changed; an empty bucket has no row."""
        if self._draft is not None:
            digests = [(bucket, self._draft.digests.of(bucket)) for bucket in sorted(self._draft.changed)]
            filled = [row for row in digests if row[1] != EMPTY_BUCKET]
            empty = [(bucket,) for bucket, digest in digests if digest == EMPTY_BUCKET]
            self._database.executemany("INSERT OR REPLACE INTO buckets VALUES (?, ?)", filled)
            self._database.executemany("DELETE FROM buckets WHERE bucket = ?", empty)

    def accept(self) -> None:
        """The transaction is durable: what was drafted is current."""
        if self._draft is not None:
            self._digests, self._counts = self._draft.digests, self._draft.counts
        self._draft, self._ahead = None, None

    def forget(self) -> None:
        """The transaction is over: nothing is drafted, nothing remembered."""
        self._draft, self._ahead, self._remembered = None, None, {}

    # -- inside
    def _read_into(self, rows: dict[bytes, Row | None], paths: Sequence[bytes]) -> None:
        rows.update(dict.fromkeys(paths))
        for start in range(0, len(paths), ROWS_PER_QUERY):
            chunk = paths[start : start + ROWS_PER_QUERY]
            marks = ",".join("?" * len(chunk))
            for record in self._database.execute(f"SELECT {_COLUMNS} FROM entries WHERE path IN ({marks})", chunk):
                rows[record[0]] = as_row(record)

    def _look_ahead(self, changes: dict[bytes, Entry | None], old: Mapping[bytes, Row]) -> _Ahead:
        if self._draft is None and self._ahead is not None and self._ahead.changes == changes:
            return self._ahead
        digests = (self._draft.digests if self._draft is not None else self._digests).copy()
        buckets = {}
        for path, entry in changes.items():
            row = old.get(path)
            buckets[path] = digests.replace(path, row.entry if row is not None else None, entry)
        self._ahead = _Ahead(changes, digests, buckets)
        return self._ahead

    def _drafted(self) -> Draft:
        if self._draft is None:
            self._draft = Draft(self._digests.copy(), self._counts.copy())
        return self._draft

    def _replace_digests(self, digests: BucketDigests) -> None:
        draft = self._drafted()
        draft.digests, draft.changed = digests, set(range(BUCKETS))
        self._remembered, self._ahead = {}, None


def _directories(rows: Mapping[bytes, Row | None]) -> dict[bytes, Row | None]:
    """The rows that every batch asks for again: what is above the paths that change. None of them where there are too many."""
    kept: dict[bytes, Row | None] = {
        path: row for path, row in rows.items() if row is not None and row.entry.is_directory
    }
    return kept if len(kept) <= REMEMBERED_ROWS // 2 else {}


def numbers(values: Iterable[int]) -> str:
    """Whole numbers as a list for SQL."""
    return ",".join(str(int(value)) for value in values)


def as_row(record: Record) -> Row:
    """A row of `entries` as a value."""
    _, kind, mode, mtime_ns, size, digest, owner, epoch, sequence, found = record
    at = Position(epoch, sequence) if epoch is not None and sequence is not None else None
    return Row(Entry(_KINDS[kind], mode, mtime_ns, size, digest, owner), at, bool(found))


def _records(changes: Mapping[bytes, Row | None], buckets: Mapping[bytes, int]) -> Iterator[tuple[object, ...]]:
    for path in sorted(changes):
        row = changes[path]
        if row is not None:
            epoch, sequence = row.at or (None, None)
            yield (buckets[path], path, *row.entry, epoch, sequence, row.found)


def _scanned(scan: Iterable[Found], digests: BucketDigests, counts: Counts) -> Iterator[tuple[object, ...]]:
    for found in scan:
        path, entry = found.path, found.entry
        counts.add(Row(entry, None), 1)
        yield (path, digests.replace(path, None, entry), *entry)
