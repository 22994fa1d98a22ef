"""A row of the journal's index as a value, and back. Decides only how; knows no connection."""

from functools import partial

from common.entries import Entry, Kind
from producer.values import Identity, Known

ROW = "path, kind, mode, mtime_ns, size, digest, owner, inode, ctime_ns"
"""The columns that `known_of` takes, in its order."""

_KINDS = (Kind.FILE, Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK)
# A tuple's own constructor takes half the time of the named tuple's; rows are read by the million.
_make_entry = partial(tuple.__new__, Entry)
_make_identity = partial(tuple.__new__, Identity)
_make_known = partial(tuple.__new__, Known)


def known_of(row: tuple[bytes, int, int, int, int, bytes, str, int, int]) -> Known:
    """What the index knows of a path."""
    path, kind, mode, mtime_ns, size, digest, owner, inode, ctime_ns = row
    identity = _make_identity((inode if inode >= 0 else inode + (1 << 64), ctime_ns))
    return _make_known((path, _make_entry((_KINDS[kind], mode, mtime_ns, size, digest, owner)), identity))


def signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite's signed one."""
    return number - (1 << 64) if number >> 63 else number
