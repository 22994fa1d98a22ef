"""Does: everything that stands aside, as a whole: what is there, how large it is, and what goes for good.

Knows `aside/` in a stage; not why something was set aside. What cannot be removed stays, for the next time.
"""

import os
import stat
from contextlib import suppress

from common.names import basename, join, parent
from common.quantities import AsideLimits
from consumer.aside import ASIDE
from consumer.walking import Directories

_BLOCK_BYTES = 512


class Shelf:
    """The `aside/` of one stage. Sizes are remembered: what was set aside by an earlier commit does not grow any more."""

    def __init__(self, home: int) -> None:
        """`home`: a descriptor of the stage, which stays the caller's."""
        self._home = home
        self._sizes: dict[bytes, int] = {}

    def prune(self, limits: AsideLimits, unix_seconds: float) -> int:
        """Remove what is too old, and then the oldest while all of it takes more than its share of the free space.

        Returns the bytes that are left.
        """
        oldest = unix_seconds - limits.limit_seconds
        kept = [place for place in list_aside(self._home) if _since(place) >= oldest or not self._remove(place)]
        sizes = {place: self._size(place) for place in kept}
        total = sum(sizes.values())
        room = os.fstatvfs(self._home)
        free_bytes = room.f_bavail * room.f_frsize
        for place in kept[:-1]:  # the newest stays: it may be what somebody looks for just now
            if total <= limits.share * (free_bytes + total):
                break
            if self._remove(place):
                free_bytes, total = free_bytes + sizes[place], total - sizes[place]
        return total

    def _remove(self, place: bytes) -> bool:
        directories = Directories(self._home)
        try:
            remove_tree(directories, place)
        except OSError:
            return False
        finally:
            directories.close()
        self._sizes.pop(place, None)
        return True

    def _size(self, place: bytes) -> int:
        if place not in self._sizes:
            directories = Directories(self._home)
            try:
                self._sizes[place] = _bytes_below(directories, place)
            finally:
                directories.tighten()
                directories.close()
        return self._sizes[place]


def list_aside(home: int) -> list[bytes]:
    """The labels that stand aside now, oldest first."""
    try:
        shelf = os.open(ASIDE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=home)
    except FileNotFoundError:
        return []
    try:
        return sorted(
            (join(ASIDE, os.fsencode(name)) for name in os.listdir(shelf)), key=lambda place: (_since(place), place)
        )
    finally:
        os.close(shelf)


def remove_tree(directories: Directories, path: bytes) -> None:
    """Files first, then the directories in the reverse of the order in which they were found: no recursion, few descriptors.

    Raises OSError at the first thing that cannot be removed.
    """
    found = [path]
    for here in found:
        directories.loosen(here)
        for name in directories.names(here):
            if stat.S_ISDIR(os.lstat(name, dir_fd=directories.open(here)).st_mode):
                found.append(join(here, name))
            else:
                os.unlink(name, dir_fd=directories.open(here))
    for here in reversed(found):
        directories.forget(here)
        os.rmdir(basename(here), dir_fd=directories.open(parent(here)))


def _since(place: bytes) -> float:
    """When it was set aside; what is named otherwise is nobody's, and never too old."""
    since = basename(place).partition(b"-")[0]
    return int(since) if since.isdigit() else float("inf")


def _bytes_below(directories: Directories, path: bytes) -> int:
    total, pending = 0, [path]
    with suppress(OSError):
        while pending:
            here = pending.pop()
            for name in directories.names(here):
                seen = os.lstat(name, dir_fd=directories.open(here))
                total += seen.st_blocks * _BLOCK_BYTES
                if stat.S_ISDIR(seen.st_mode):
                    pending.append(join(here, name))
    return total
