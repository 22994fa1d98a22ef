"""The system's inotify, by ctypes: descriptors, watches, and records as (watch, name, mask). It knows no paths of a tree."""

import ctypes
import errno
import os
from struct import Struct

from common.errors import NoRoomError, UnreachableError

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_DONT_FOLLOW = 0x2000000
IN_EXCL_UNLINK = 0x4000000
IN_ISDIR = 0x40000000

NO_WATCH = -1
"""The watch of an overflow record."""
READ_BYTES = 1 << 20

_DIRECTORY = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK
_RECORD = Struct("=iIII")
_PROC = b"/proc/self/fd/"

Pending = dict[tuple[int, bytes], int]
"""(watch, name) to all masks that came for it, in the order in which it came first. Name "" is the watched directory itself."""


class Inotify:
    """One inotify instance. Its descriptor is `fileno`; closing it ends every watch."""

    def __init__(self) -> None:
        """Raises NoRoomError when the user has too many instances, UnreachableError where there is no inotify."""
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._add = self._libc.inotify_add_watch
            self.fileno: int = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, AttributeError) as error:
            raise UnreachableError("this system has no inotify") from error
        if self.fileno < 0:
            number = ctypes.get_errno()
            if number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise NoRoomError(f"no inotify instance: {os.strerror(number)} (fs.inotify.max_user_instances)")
            raise UnreachableError(f"no inotify: {os.strerror(number)}")

    def add(self, directory: int, mask: int) -> int:
        """Watch an open directory: the watch, the same one as before if it is watched already. Raises OSError.

        Through the descriptor, not through a path: what is watched is what was opened, whatever was renamed meanwhile.
        """
        watch: int = self._add(self.fileno, _PROC + b"%d/." % directory, mask | _DIRECTORY)
        if watch < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return watch

    def remove(self, watch: int) -> None:
        """End a watch. Idempotent."""
        self._libc.inotify_rm_watch(self.fileno, watch)

    def read(self) -> bytes:
        """Records as bytes; empty when there are none. Raises OSError."""
        try:
            return os.read(self.fileno, READ_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """End. Idempotent."""
        if self.fileno >= 0:
            os.close(self.fileno)
            self.fileno = -1


def collect(records: bytes, pending: Pending) -> None:
    """Add records to what is pending. Lean: a burst comes at 30,000 records per second, and the system's queue is short."""
    unpack, size, end, seen = _RECORD.unpack_from, _RECORD.size, len(records), pending.get
    offset = 0
    while offset < end:
        watch, mask, _, length = unpack(records, offset)
        start = offset + size
        offset = start + length
        key = (watch, records[start:offset].rstrip(b"\0"))
        pending[key] = seen(key, 0) | mask
