"""Decides how an entry shows on this replica's disk: as it was published, or with the modes, group and owner that it is told.

The index keeps what the master published; this is only how it looks. Knows no disk and no user database: names of owners are
resolved by a function that is given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from common.entries import MODE_MASK, Entry, Kind

LEFT = -1
"""A user or group that is left as it is: as the consumer's process makes it."""

Resolve = Callable[[str], tuple[int, int]]
"""User and group number of "user:group". Raises OSError, with a sentence, where this machine does not know one of them."""


class Shown(NamedTuple):
    """What a path must have on the disk; `LEFT` where nothing is asked for."""

    mode: int
    uid: int = LEFT
    gid: int = LEFT

    @property
    def has_owner(self) -> bool:
        return self.uid != LEFT or self.gid != LEFT

    def is_owned(self, uid: int, gid: int) -> bool:
        """Whether a path of this user and group has the owner that is asked for."""
        return self.uid in (LEFT, uid) and self.gid in (LEFT, gid)


@dataclass(frozen=True, slots=True)
class Appearance:
    """`dir_mode`, `file_mode`: instead of the published ones. `gid`: the group of everything. `resolve`: owners are set."""

    dir_mode: int | None = None
    file_mode: int | None = None
    gid: int = LEFT
    resolve: Resolve | None = None

    def mode(self, entry: Entry) -> int:
        """The mode that the entry has on this disk. Of symlinks it means nothing."""
        told = self.file_mode if entry.kind == Kind.FILE else self.dir_mode if entry.is_directory else None
        return entry.mode & MODE_MASK if told is None else told

    def of(self, entry: Entry) -> Shown:
        """How the entry shows. Raises OSError where its owner is not known here."""
        uid, gid = self.resolve(entry.owner) if self.resolve is not None and entry.owner else (LEFT, LEFT)
        return Shown(self.mode(entry), uid, self.gid if self.gid != LEFT else gid)


AS_PUBLISHED = Appearance()
