"""Does: answers a since question: what changed after a sequence, from one read transaction on the journal's database.

Each path once, as the index has it at S, or absent. Works on any connection to the journal, a read-only one too, that is in no
transaction. Contents are read when the turn of their part comes; what is sent, and how it is cut, stands by then. Knows no
broker. sqlite3's errors are the caller's to convert.
"""

import marshal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from common.digests import rows_digest
from common.entries import Entry, Event, Kind
from common.messages import Lineage, Question, Since, TooOld
from producer import changelog, since
from producer.source import ReadBody

Reading = Callable[[], AbstractContextManager[ReadBody]]
"""A short pass of reading bodies."""
Doubt = Callable[[bytes], None]
"""Told each path whose content in the source is not the one that the index names: it should be looked at again."""

_KINDS = (None, Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK)
_QUESTION_MARKS = 500
_COLUMNS = "path, kind, mode, mtime_ns, size, digest, owner"
_ABSENT = (None,) * 6


@dataclass(frozen=True, slots=True)
class Changed:
    """Every path that changed in (base, at], once. `digest` is over all rows, and `parts` are what is sent, packed: an answer
    may wait long for its turn, and takes a quarter of the memory so."""

    lineage: Lineage
    at: int
    base: int
    released: int
    digest: bytes
    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """The log does not reach back to the base, or the answer would cost more than buckets: from `reach` on it is served."""

    lineage: Lineage
    at: int
    reach: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """The base is beyond where the journal stands, `at`: what was published is not what it knows."""

    lineage: Lineage
    at: int


def changed_since(database: sqlite3.Connection, base: int) -> Changed | OutOfReach | Ahead:
    """What became of the tree after `base`, a sequence of the journal's epoch."""
    with _one_read(database):
        state = dict(database.execute("SELECT key, value FROM state"))
        lineage = Lineage(state["tree"], state["epoch"], state["instance"], state["salt"])
        at = int(state["sequence"])
        if base > at:
            return Ahead(lineage, at)
        reach = changelog.reach(database)
        if base < reach:
            return OutOfReach(lineage, at, reach)
        limit = _rows_limit(database, at - base)
        paths = changelog.paths_since(database, base, limit)
        if paths is None:
            return OutOfReach(lineage, at, at - limit)
        digest, parts = _pack(_index_rows(database, sorted(paths)), lineage.salt)
        return Changed(lineage, at, base, int(state.get("released", 0)), digest, parts)


def _rows_limit(database: sqlite3.Connection, changes: int) -> int:
    """How many paths an answer may name. The entries are counted only where their number matters: it costs a walk."""
    if changes <= since.rows_limit(0):
        return since.rows_limit(0)
    ((entries,),) = database.execute("SELECT count(*) FROM entry")
    return since.rows_limit(entries)


def _index_rows(database: sqlite3.Connection, paths: list[bytes]) -> Iterator[since.IndexRow]:
    for start in range(0, len(paths), _QUESTION_MARKS):
        some = paths[start : start + _QUESTION_MARKS]
        marks = ",".join("?" * len(some))
        found = {row[0]: row for row in database.execute(f"SELECT {_COLUMNS} FROM entry WHERE path IN ({marks})", some)}
        yield from (found.get(path) or (path, *_ABSENT) for path in some)


def _pack(rows: Iterator[since.IndexRow], salt: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    packed: list[bytes] = []

    def passing() -> Iterator[tuple[bytes, Entry | None]]:
        for part in since.cut(rows):
            packed.append(marshal.dumps([tuple(one) for one in part]))
            yield from ((row[0], _entry(row)) for row, _ in part)

    digest = rows_digest(salt, passing())
    return digest, tuple(packed)


def _entry(row: Any) -> Entry | None:
    _, kind, mode, mtime_ns, size, digest, owner = row
    return Entry(Kind(kind), mode, mtime_ns, size, digest, owner) if kind is not None else None


def catch_up_window_seconds(
    database: sqlite3.Connection, at: int, entries: int, log_limit_rows: int, unix_ms: int
) -> float:
    """How long a replica that goes away now, at S, will surely be served by since: see `since.window_seconds`.

    As long as the oldest change that is served is old; while there is room before it, in proportion.
    """
    limit = min(log_limit_rows, since.rows_limit(entries))
    start = max(changelog.reach(database), at - limit)
    oldest_ms = changelog.time_of(database, start + 1)
    return since.window_seconds(at - start, limit, 0 if oldest_ms is None else (unix_ms - oldest_ms) / 1000)


def answers(
    question: Question, found: Changed | OutOfReach, reading: Reading, doubt: Doubt
) -> Iterator[Since | TooOld]:
    """What is said to the one who asked, a part at a time."""
    if isinstance(found, OutOfReach):
        yield TooOld(found.lineage, question.replica, question.nonce, found.at, found.reach)
        return
    for number in range(len(found.parts)):
        with reading() as read_body:
            yield replace(heading(question, found, number), rows=rows_of(found, number, read_body, doubt))


def heading(question: Question, found: Changed, number: int) -> Since:
    """One part without its rows."""
    return Since(
        found.lineage,
        question.replica,
        question.nonce,
        at=found.at,
        base=found.base,
        part=number,
        of=len(found.parts),
        digest=found.digest,
        rows=(),
        released=found.released,
    )


def rows_of(found: Changed, number: int, read_body: ReadBody, doubt: Doubt) -> tuple[Event, ...]:
    """The rows of one part, with their contents as the source has them now."""
    return tuple(_event(row, with_body, read_body, doubt) for row, with_body in marshal.loads(found.parts[number]))


def ahead_text(replica: str, base: int, found: Ahead) -> str:
    """What the alarm says."""
    epoch = found.lineage.epoch
    return (
        f"replica {replica} asks what changed after {base} of epoch {epoch}, and the journal stands at {found.at}: "
        "an older journal was put in its place; start the producer again: a new epoch compares everything"
    )


def _event(row: since.IndexRow, with_body: bool, read_body: ReadBody, doubt: Doubt) -> Event:
    path, entry = row[0], _entry(row)
    if entry is None or not with_body:
        return Event(path, entry)
    body = read_body(path, entry)
    if body is None:
        doubt(path)
    return Event(path, entry, body)


@contextmanager
def _one_read(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.execute("COMMIT")
