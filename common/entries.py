"""What a tree holds at a path, and what changes it. Values only: knows no disk and no encoding."""

from enum import IntEnum
from typing import NamedTuple

MODE_MASK = 0o777
SYMLINK_MODE = 0o777


class Kind(IntEnum):
    """What stands at a path. 0 is left to say "absent" on the wire."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3


class Entry(NamedTuple):
    """One path of a tree, as the master published it.

    Directories have no size, no mtime and no digest (0, 0, b""). A symlink's content is its target: size and digest are
    the target's, mode is 0o777, mtime 0. Modes are masked to 0o777. `mtime_ns` may be negative. `owner`: "user:group", numbers
    or names, where the tree carries owners; else "".
    """

    kind: Kind
    mode: int
    mtime_ns: int
    size: int
    digest: bytes
    owner: str = ""

    @property
    def is_directory(self) -> bool:
        return self.kind == Kind.DIRECTORY

    def same_content(self, other: "Entry | None") -> bool:
        """Whether the other holds the same bytes in the same kind; only mode and time may differ."""
        return other is not None and self.kind == other.kind and self.digest == other.digest


class Event(NamedTuple):
    """A change that was given a sequence number, which its place in a batch tells.

    `entry` None: the path is absent from now on (a delete). `body`: the content of a file or the target of a symlink,
    None where it does not travel here (a delete, a directory, a change of mode or time alone, a large content).
    `keep`: a delete that leaves the index only; the disk is not touched.
    """

    path: bytes
    entry: Entry | None
    body: bytes | None = None
    keep: bool = False


class Position(NamedTuple):
    """A pair (epoch, sequence); compares as a pair."""

    epoch: int
    sequence: int


BEFORE_ALL = Position(0, 0)


def directory_entry(mode: int, owner: str = "") -> Entry:
    """The entry of a directory."""
    return Entry(Kind.DIRECTORY, mode & MODE_MASK, 0, 0, b"", owner)


def file_entry(mode: int, mtime_ns: int, size: int, digest: bytes, owner: str = "") -> Entry:
    """The entry of a regular file."""
    return Entry(Kind.FILE, mode & MODE_MASK, mtime_ns, size, digest, owner)


def symlink_entry(target_size: int, digest: bytes, owner: str = "") -> Entry:
    """The entry of a symlink; the digest is over the target's bytes."""
    return Entry(Kind.SYMLINK, SYMLINK_MODE, 0, target_size, digest, owner)
