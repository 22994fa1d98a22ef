"""What goes from the embedded queue's log: what all have read, what is worthless by now, and the oldest beyond the limits.

Knows SQLite and the tables that `embedded_store` made. Runs inside the caller's transaction; SQLite's errors are its to convert.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from common.transport.limits import QueueLimits

log = logging.getLogger("treecast")

PRUNE_SECONDS = 1.0
PRUNE_BYTES = 2 * 1024 * 1024
"""Pruned so often that it is never much at once: a batch would wait for it."""
ROW_BYTES = 100
"""What a message costs beside its body, about."""


class Pruning:
    """See the module. Of one connection."""

    def __init__(self, database: sqlite3.Connection, path: Path, limits: QueueLimits) -> None:
        """`path`: the file, for the log."""
        self._db = database
        self._path = path
        self._limits = limits
        self._pruned_at = float("-inf")
        self._unpruned_bytes = 0
        self._page_bytes = self._pragma("page_size")

    def make_room(self, needed_bytes: int, now: float) -> None:
        """For so much, when it is time or the log would pass its limit. `now`: unix seconds."""
        excess = self._used_bytes() + needed_bytes - self._limits.limit_bytes
        self._unpruned_bytes += needed_bytes
        is_due = abs(now - self._pruned_at) >= PRUNE_SECONDS or self._unpruned_bytes >= PRUNE_BYTES
        if excess <= 0 and not is_due:
            return
        self._pruned_at, self._unpruned_bytes = now, 0
        self._forget_read()
        self._db.execute("DELETE FROM message WHERE expires <= ?", (now,))
        dropped = self._drop_older(now - self._limits.limit_seconds)
        excess = self._used_bytes() + needed_bytes - self._limits.limit_bytes
        dropped += self._drop_oldest(excess) if excess > 0 else 0
        if dropped:
            log.warning(
                "%s is at its limit: dropped its %d oldest messages, which somebody had not read", self._path, dropped
            )

    def _used_bytes(self) -> int:
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._page_bytes

    def _forget_read(self) -> None:
        """Delete what every queue that it is for is past."""
        behind = self._db.execute(
            "SELECT name, cursor FROM queue"
            " UNION ALL SELECT also, min(cursor) FROM queue WHERE also <> '' GROUP BY also"
        ).fetchall()
        self._db.executemany("DELETE FROM message WHERE address = ? AND id <= ?", behind)

    def _drop_older(self, than: float) -> int:
        """Drop from the front while what is there is older. The log is in order of time, unless the clock was set."""
        last = 0
        with closing(self._db.execute("SELECT id, at FROM message ORDER BY id")) as rows:
            for id_, at in rows:
                if at >= than:
                    break
                last = id_
        return self._drop_until(last) if last else 0

    def _drop_oldest(self, excess_bytes: int) -> int:
        """Drop from the front until so many bytes are free, or the log is empty."""
        last = 0
        with closing(self._db.execute("SELECT id, length(body) FROM message ORDER BY id")) as rows:
            for id_, length in rows:
                last = id_
                excess_bytes -= length + ROW_BYTES
                if excess_bytes <= 0:
                    break
        return self._drop_until(last) if last else 0

    def _drop_until(self, last: int) -> int:
        return self._db.execute("DELETE FROM message WHERE id <= ?", (last,)).rowcount

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
