"""Does: what may be asked of one path, as the verb `trace` of the control socket and the listener, and out of a journal alone.

`path` (base64; in the tree, or absolute below the source), `n` changes at most. The loop tells how the path stands; the change
log is read in the thread of the one who asks, on a connection of its own: one at a time, and not for long.
"""

import threading
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import SettingError, UnreachableError
from common.names import ROOT
from common.orders import Finish, Handler
from producer import changelog, journal_schema, traced
from producer.journal_rows import ROW, known_of
from producer.pipeline import Pipeline
from producer.typed_paths import in_tree
from producer.values import Known, Logged

CHANGES = 10
CHANGES_LIMIT = 1000
READING_SECONDS = 4.0


def trace_handlers(
    pipeline: Pipeline, journal: Path, source: bytes, clock: Callable[[], float] = time.monotonic
) -> dict[str, Handler]:
    """The verb. `journal`: its database; `source`: the master's directory; `clock`: that of the loop."""
    reading = threading.Lock()

    def traced_now(arguments: dict[str, Any]) -> Finish:
        path, count = _asked(arguments, source)
        tracing = pipeline.tracing
        standing, view, times_of = tracing.standing(path), pipeline.members.view(clock()), tracing.times()
        sequence = tracing.sequence

        def finish() -> dict[str, Any]:
            if not reading.acquire(timeout=READING_SECONDS):
                raise UnreachableError("others are asking too, and their paths take long to find; try again")
            try:
                rows, read_back_to = _read(journal, path, count, sequence)
            finally:
                reading.release()
            changes = traced.told_of_all(rows, times_of, view)
            return {
                **traced.told(path, changes, read_back_to),
                "is_running": True,
                "of": len(view.replicas),
                "now": traced.told_of_standing(standing),
            }

        return finish

    return {"trace": traced_now}


def _asked(arguments: dict[str, Any], source: bytes) -> tuple[bytes, int]:
    path = in_tree(b64decode(str(arguments["path"])), source)
    if path == ROOT:
        raise SettingError("PATH", "the root", "a path in the tree, as in a/b")
    return path, checked_count(int(arguments.get("n", CHANGES)))


def checked_count(count: int) -> int:
    """The number of changes, if so many may be asked for. Raises SettingError."""
    if not 1 <= count <= CHANGES_LIMIT:
        raise SettingError("-n", count, f"1 to {CHANGES_LIMIT}")
    return count


def _read(journal: Path, path: bytes, count: int, up_to: int) -> tuple[list[Logged], int | None]:
    until = time.monotonic() + READING_SECONDS
    with journal_schema.converted(journal):
        database = journal_schema.open_reader(journal)
        try:
            return changelog.newest_at(database, path, count, up_to, lambda: time.monotonic() > until)
        finally:
            database.close()


def told_by_journal(journal: Path, path: bytes, count: int) -> dict[str, Any]:
    """What a journal tells of a path while no producer runs: its changes, and what was published of it. Raises as
    `journal_schema.converted` says."""
    with journal_schema.converted(journal):
        database = journal_schema.open_reader(journal)
        try:
            rows, _ = changelog.newest_at(database, path, count, (1 << 62), lambda: False)
            row = database.execute(f"SELECT {ROW} FROM entry WHERE path = ?", (path,)).fetchone()
        finally:
            database.close()
    known: Known | None = known_of(row) if row is not None else None
    entry = traced.told_of_entry(known.entry if known is not None else None)
    changes = [traced.told_of_change(one) for one in rows]
    return {**traced.told(path, changes, None), "is_running": False, "now": {"entry": entry}}
