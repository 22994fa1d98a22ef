"""Keeps a little room on a target's disk, so that deletes can be carried out where not one block is free.

A plan stands on the disk before the first name moves, also one that only removes. Knows files, not plans.
"""

import errno
import os
from contextlib import suppress

from consumer.descriptors import CREATE

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
FILES = 4
"""Several, because inodes may be what is lacking."""
FILE_BYTES = 256 * 1024
"""Together the paths of some ten thousand deletes."""
ROOMY_BYTES = 4 * FILES * FILE_BYTES
ROOMY_INODES = 64
"""With less than that free the reserve itself would be in the way."""


def reserve_name(number: int) -> bytes:
    """The name of one of its files in the stage."""
    return b"reserve.%d" % number


class Reserve:
    """The reserve in one stage. Where it cannot be kept there is none; nothing here fails for that."""

    def __init__(self, home: int) -> None:
        """`home`: descriptor of the stage."""
        self._home = home
        self._is_whole = False
        self._least_bytes = ROOMY_BYTES

    def make(self) -> None:
        """Keep it, if the disk has room. Idempotent, and cheap when it is there."""
        if self._is_whole or not self._fits():
            return
        try:
            for number in range(FILES):
                self._make(reserve_name(number))
            self._is_whole = True
        except OSError:
            self.remove()

    def give(self) -> bool:
        """Let it go for something that is needed now; True if there was something. It is made again as soon as it fits."""
        given = self.remove()
        self._least_bytes = FILES * FILE_BYTES
        return given

    def remove(self) -> bool:
        """Take it away; True if there was something."""
        self._is_whole = False
        removed = False
        for number in range(FILES):
            with suppress(OSError):
                os.unlink(reserve_name(number), dir_fd=self._home)
                removed = True
        return removed

    def _fits(self) -> bool:
        free = os.fstatvfs(self._home)
        has_inodes = not free.f_files or free.f_favail >= ROOMY_INODES
        return has_inodes and free.f_bavail * free.f_frsize >= self._least_bytes

    def _make(self, name: bytes) -> None:
        try:
            descriptor = os.open(name, CREATE, 0o600, dir_fd=self._home)
        except FileExistsError:
            return
        try:
            os.posix_fallocate(descriptor, 0, FILE_BYTES)
        finally:
            os.close(descriptor)
