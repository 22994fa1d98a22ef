"""One sweep over a replica: the disk beside the index, in path order, each path read again. It only looks.

The index is read through a connection of its own, read only, in short pages: what it says may be older than the last commit. So
what comes out is a suspicion, which the thread that applies looks at again.
"""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from common.digests import BUCKETS, bucket_of
from common.entries import Entry, Kind
from common.names import NOBODYS_AT_ROOT, PATTERNS_PATH
from consumer.appearance import AS_PUBLISHED, Appearance
from consumer.clearing import Protects
from consumer.drifting import Seen, drift_at
from consumer.rereading import Pulse, Unlisted, Walk, look
from consumer.walking import Directories

PAGE_ROWS = 500
_BUSY_TIMEOUT_SECONDS = 10.0
_KINDS = {int(kind): kind for kind in Kind}
_ON_DISK = f"path != x'{PATTERNS_PATH.hex()}'"
_ROWS = f"""SELECT path, bucket, kind, mode, mtime_ns, size, digest, owner FROM entries
    WHERE path > ? AND {_ON_DISK} ORDER BY path LIMIT ?"""


class IndexRow(NamedTuple):
    """What the index has at a path."""

    path: bytes
    bucket: int
    entry: Entry


class Page(NamedTuple):
    """A stretch of the index from one read. `last`: its end; None: there is no more. `unmet`: in the same stretch."""

    rows: list[IndexRow]
    last: bytes | None
    unmet: frozenset[bytes]
    stale: frozenset[int]
    salt: bytes


class RekeyedError(Exception):
    """The buckets of the index have other numbers than when the sweep began."""


class IndexReader:
    """The state's database, read only. Raises sqlite3.Error. Belongs to the thread that made it."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None
        )

    def close(self) -> None:
        """Idempotent."""
        self._database.close()

    def stale(self) -> frozenset[int]:
        """The buckets that are not level."""
        return frozenset(bucket for (bucket,) in self._database.execute("SELECT bucket FROM stale"))

    def salt(self) -> bytes:
        """By which paths have their buckets now."""
        salt: bytes = self._database.execute("SELECT salt FROM standing").fetchone()[0]
        return salt

    def totals(self, after: bytes = b"") -> tuple[int, int]:
        """How many paths are indexed behind this one, and how many bytes their files have."""
        query = f"SELECT count(*), sum(size) FROM entries WHERE path > ? AND {_ON_DISK}"
        paths, size_bytes = self._database.execute(query, (after,)).fetchone()
        return paths, size_bytes or 0

    def entry(self, path: bytes) -> Entry | None:
        """What the index has at a path."""
        query = "SELECT kind, mode, mtime_ns, size, digest, owner FROM entries WHERE path = ?"
        record = self._database.execute(query, (path,)).fetchone()
        return _entry(*record) if record is not None else None

    def page(self, after: bytes) -> Page:
        """The stretch behind a path, of one moment; no transaction stays open behind it."""
        self._database.execute("BEGIN")
        try:
            records = self._database.execute(_ROWS, (after, PAGE_ROWS)).fetchall()
            rows = [IndexRow(path, bucket, _entry(*entry)) for path, bucket, *entry in records]
            last = rows[-1].path if len(rows) == PAGE_ROWS else None
            return Page(rows, last, self._unmet(after, last), self.stale(), self.salt())
        finally:
            self._database.execute("ROLLBACK")

    def _unmet(self, after: bytes, last: bytes | None) -> frozenset[bytes]:
        if last is None:
            found = self._database.execute("SELECT path FROM unmet WHERE path > ?", (after,))
        else:
            found = self._database.execute("SELECT path FROM unmet WHERE path > ? AND path <= ?", (after, last))
        return frozenset(path for (path,) in found)


def _entry(kind: int, *rest: object) -> Entry:
    return Entry(_KINDS[kind], *rest)  # type: ignore[arg-type]  # columns of our own schema


class _Pages:
    """The index in order, a page at a time, with what its stretch is known to lack."""

    def __init__(self, reader: IndexReader, after: bytes, salt: bytes) -> None:
        self._reader = reader
        self._salt = salt
        self.page = self._page(after)
        self._number = 0

    def _page(self, after: bytes) -> Page:
        page = self._reader.page(after)
        if page.salt != self._salt:
            raise RekeyedError
        return page

    def peek(self) -> IndexRow | None:
        """The next row. What is before it on the disk lies in this page's stretch."""
        if self._number == len(self.page.rows) and self.page.last is not None:
            self.page, self._number = self._page(self.page.last), 0
        return self.page.rows[self._number] if self._number < len(self.page.rows) else None

    def drop(self) -> None:
        """The next row was taken."""
        self._number += 1


class Passed(NamedTuple):
    """One path is done. `seen`: what was there, where that is a suspicion, or could not be read (`seen.why`)."""

    path: bytes
    seen: Seen | None = None
    is_read: bool = False
    """Whether it was looked at: it is not where it was left out."""


Selects = Callable[[int], bool]
"""Whether a bucket is to be looked at."""


def every_bucket(bucket: int) -> bool:
    """All of them."""
    return True


class Sweep:
    """See the module. `left_out`: buckets that were stale when their turn came; it grows."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        directories: Directories,
        reader: IndexReader,
        protects: Protects | None,
        *,
        after: bytes,
        salt: bytes,
        selects: Selects = every_bucket,
        pulse: Pulse,
        appearance: Appearance = AS_PUBLISHED,
    ) -> None:
        """`salt`: by which `selects` and `left_out` number buckets; where the index has another, RekeyedError is raised, here or
        while it is gone through."""
        self.left_out: set[int] = set()
        self._appearance = appearance
        self._directories = directories
        self._walk = Walk(directories, after, protects)
        self._pages = _Pages(reader, after, salt)
        self._selects = selects
        self._pulse = pulse
        self._closed = b""
        """Nothing is known of what is below this directory; "" for none."""
        self._is_root_closed = False

    def __iter__(self) -> Iterator[Passed]:
        pages = self._pages
        for found in self._walk:
            if isinstance(found, Unlisted):
                yield from self._close(found)
                continue
            while (row := pages.peek()) is not None and row.path < found:
                yield self._judge(row.path, row)
                pages.drop()
            is_indexed = row is not None and row.path == found
            if row is None or not is_indexed or not row.entry.is_directory:
                # What is below a path that is no directory of ours is judged with it, as a whole.
                self._walk.leave_out(found)
            yield self._judge(found, row if is_indexed else None)
            if is_indexed:
                pages.drop()
        while (row := pages.peek()) is not None:
            yield self._judge(row.path, row)
            pages.drop()

    def _close(self, unlisted: Unlisted) -> Iterator[Passed]:
        self._closed, self._is_root_closed = unlisted.path, not unlisted.path
        if unlisted.why:
            yield Passed(unlisted.path, Seen(None, why=unlisted.why), is_read=True)

    def _is_closed(self, path: bytes) -> bool:
        return self._is_root_closed or bool(self._closed and path.startswith(self._closed + b"/"))

    def _judge(self, path: bytes, row: IndexRow | None) -> Passed:
        page = self._pages.page
        bucket = row.bucket if row is not None else bucket_of(page.salt, path)
        if bucket in page.stale:
            self.left_out.add(bucket)
        elif self._selects(bucket) and not (path in page.unmet or self._is_closed(path) or path in NOBODYS_AT_ROOT):
            entry = row.entry if row is not None else None
            seen = look(self._directories, path, entry, self._pulse)
            is_suspect = seen.why or seen.is_busy or drift_at(entry, seen, self._appearance) is not None
            return Passed(path, seen if is_suspect else None, is_read=True)
        return Passed(path)


def is_mostly_stale(stale: frozenset[int]) -> bool:
    """Whether there is not much to look at yet, as in a first copy."""
    return len(stale) > BUCKETS // 2
