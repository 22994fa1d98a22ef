"""Reads which contents are missing in a replica's database, and at which paths a large one is already. Changes nothing.

A content is large when it is over the inline limit: it travels in parts, and is found by its digest.
"""

import sqlite3
from pathlib import Path

from common.entries import Entry, Kind
from common.messages import INLINE_LIMIT_BYTES
from consumer.statefile import converted
from consumer.values import Reason

LARGE = f"size > {INLINE_LIMIT_BYTES}"
"""Spelled as in the database's own index of large contents by digest: else that is not used."""
INSERT_UNMET = f"""INSERT INTO unmet VALUES (?1, ?2, ?3, coalesce((SELECT {LARGE} FROM entries WHERE path = ?1), 0))"""
"""Path, reason, detail; when what is indexed at the path is written already."""

_IS_MISSING = f"reason = '{Reason.BODY}'"
_OF_DIGEST = f"SELECT path FROM entries e WHERE digest = ? AND {LARGE}"
_UNMET_THERE = "EXISTS (SELECT 1 FROM unmet u WHERE u.path = e.path"


class Missing:
    """Reads of one open database, as of the last commit."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        """`path`: the file, for errors."""
        self._database = database
        self._path = path

    def contents(self, limit: int, *, after: bytes = b"", large: bool) -> dict[bytes, Entry]:
        """The first `limit` paths behind `after`, in byte order, whose content is missing, with their entries: large contents,
        or all others."""
        # What is unmet for other reasons may be a hundred thousand paths, and this is asked in each round.
        query = f"""SELECT e.path, e.kind, e.mode, e.mtime_ns, e.size, e.digest, e.owner
            FROM unmet u INDEXED BY {"unmet_large" if large else "unmet_by_reason"} CROSS JOIN entries e ON e.path = u.path
            WHERE u.is_large = {int(large)} AND u.{_IS_MISSING} AND u.path > ? ORDER BY u.path LIMIT ?"""
        with converted(self._path):
            rows = self._database.execute(query, (after, limit)).fetchall()
        return {path: Entry(Kind(kind), *rest) for path, kind, *rest in rows}

    def is_unmet(self, digest: bytes) -> bool:
        """Whether any path should have this large content and has not, for whatever reason."""
        return bool(self._paths(f"{_OF_DIGEST} AND {_UNMET_THERE})", digest, 1))

    def places(self, digest: bytes, limit: int) -> list[bytes]:
        """Paths at which this large content is missing, and nothing else is in the way."""
        return self._paths(f"{_OF_DIGEST} AND {_UNMET_THERE} AND u.{_IS_MISSING})", digest, limit)

    def holders(self, digest: bytes, limit: int) -> list[bytes]:
        """Paths at which the disk should show this large content."""
        return self._paths(f"{_OF_DIGEST} AND NOT {_UNMET_THERE})", digest, limit)

    def _paths(self, query: str, digest: bytes, limit: int) -> list[bytes]:
        with converted(self._path):
            rows = self._database.execute(f"{query} ORDER BY path LIMIT ?", (digest, limit)).fetchall()
        return [path for (path,) in rows]
