"""Decides where a walk of the disk and the index disagree. Both come in the byte order of their paths; memory is O(1).

A difference is a hint and no more: the path's own look judges it. It knows no disk and no database.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from common.entries import Kind
from producer.values import Known, Problem, Seen, Unreadable

Found = Seen | Unreadable | Problem
"""What a walk yields."""


class Sort(StrEnum):
    """What kind of difference."""

    NEW = "new"
    GONE = "gone"
    CHANGED = "changed"
    PROBLEM = "problem"
    """Nothing is concluded about this path and what is below it; `why` says what is in the way."""


class Difference(NamedTuple):
    """One path at which disk and index disagree, or about which nothing can be said."""

    path: bytes
    sort: Sort
    why: str = ""


def differences(seen: Iterable[Found], known: Iterable[Known]) -> Iterator[Difference]:
    """Merge-join of a walk and the index, each in ascending byte order of the path, each path at most once.

    Nothing is `GONE` at or below an unreadable path. A kind that is not carried differs from every index row.
    """
    rows = iter(known)
    row = next(rows, None)
    closed: list[bytes] = []
    for found in seen:
        path = found.path
        while row is not None and row.path < path:
            if not _is_closed(row.path, closed):
                yield Difference(row.path, Sort.GONE)
            row = next(rows, None)
        is_known = row is not None and row.path == path
        if not isinstance(found, Seen):
            closed = [p for p in closed if p > path or path.startswith(p)] + [_below(path)]
            yield Difference(path, Sort.PROBLEM, found.why)
        elif not is_known:
            yield Difference(path, Sort.NEW)
        elif row is not None and differs(found, row):
            yield Difference(path, Sort.CHANGED)
        if is_known:
            row = next(rows, None)
    while row is not None:
        if not _is_closed(row.path, closed):
            yield Difference(row.path, Sort.GONE)
        row = next(rows, None)


def differs(seen: Seen, known: Known) -> bool:
    """Whether lstat says that the index may be wrong. Of directories only kind, mode and owner count; of symlinks also size and
    identity."""
    entry = known.entry
    if seen.kind != entry.kind or seen.owner != entry.owner:
        return True
    if seen.kind == Kind.DIRECTORY:
        return seen.mode != entry.mode
    if seen.size != entry.size or seen.identity != known.identity:
        return True
    return seen.kind == Kind.FILE and (seen.mode != entry.mode or seen.mtime_ns != entry.mtime_ns)


def _below(path: bytes) -> bytes:
    """The prefix of what is below a path; the empty prefix for the root."""
    return path + b"/" if path else b""


def _is_closed(path: bytes, closed: list[bytes]) -> bool:
    return any(path.startswith(prefix) for prefix in closed)
