"""Decides what an answer to a since question may hold, how it is cut into parts, and how long one is still to be had.

Knows no database and no message: rows and counts in, values out. The rules are those of docs/agreement.md.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from common.entries import Kind
from common.messages import INLINE_LIMIT_BYTES

ROWS_LIMIT = 262_144
"""Paths in one answer: it is pushed whole, and a replica keeps all of it on its disk until all is there."""
PART_ROWS = 4096
PART_BYTES = 1024 * 1024
BODIES_LIMIT_BYTES = 32 * 1024 * 1024
"""Bodies that one answer takes along; the rest is asked for by body."""
DIGESTS_WORTH_ROWS = 1500
"""What asking for buckets costs before the first row comes: 4,096 digests, told in rows."""
WINDOW_LIMIT_SECONDS = 30 * 86_400.0
_ROW_OVERHEAD_BYTES = 80

IndexRow = tuple[bytes, int | None, int | None, int | None, int | None, bytes | None, str | None]
"""A path and what the index has there: kind, mode, mtime_ns, size, digest, owner; all None where it has nothing."""


class Cut(NamedTuple):
    """One row of a part. `with_body`: its content goes along, if the source still has it."""

    row: IndexRow
    with_body: bool


def rows_limit(entries: int) -> int:
    """How many paths an answer may name in a tree of so many: with more, asking for buckets would cost less."""
    return min(ROWS_LIMIT, DIGESTS_WORTH_ROWS + entries)


def cut(rows: Iterable[IndexRow]) -> Iterator[list[Cut]]:
    """The rows as parts, at least one: each of at most `PART_ROWS` and about `PART_BYTES`, or of one large row."""
    part: list[Cut] = []
    part_bytes, bodies_room = 0, BODIES_LIMIT_BYTES
    for row in rows:
        body_bytes = _body_bytes(row, bodies_room)
        bodies_room -= body_bytes or 0
        row_bytes = _ROW_OVERHEAD_BYTES + len(row[0]) + (body_bytes or 0)
        if part and (len(part) >= PART_ROWS or part_bytes + row_bytes > PART_BYTES):
            yield part
            part, part_bytes = [], 0
        part.append(Cut(row, body_bytes is not None))
        part_bytes += row_bytes
    yield part


def _body_bytes(row: IndexRow, room_bytes: int) -> int | None:
    """What the body of a row weighs, None when it does not go along."""
    kind, size = row[1], row[4]
    if kind is None or kind == Kind.DIRECTORY or size is None:
        return None
    return size if size <= min(INLINE_LIMIT_BYTES, room_bytes) else None


def window_seconds(changes: int, changes_limit: int, age_seconds: float) -> float:
    """How long a replica may be away and still be served, at the rate seen: `changes` in the last `age_seconds` are served,
    and `changes_limit` would be. Never more than `WINDOW_LIMIT_SECONDS`."""
    if changes <= 0:
        return WINDOW_LIMIT_SECONDS
    return min(WINDOW_LIMIT_SECONDS, max(0.0, age_seconds) * max(1.0, changes_limit / changes))
