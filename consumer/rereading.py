"""Reads the target's disk again, path by path, in the byte order of whole paths. Changes nothing and follows no link.

It does not know what should be there, beyond the entry that a caller expects at a path. An error of the disk is a value here:
what cannot be read is nothing that may be judged.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import NamedTuple

from common.digests import DIGEST_BYTES, content_digest
from common.entries import Entry, Kind, symlink_entry
from common.names import NOBODYS_AT_ROOT, ROOT, basename, is_path, join, parent
from consumer.clearing import Protects
from consumer.descriptors import READ, chunks
from consumer.drifting import ABSENT, STRANGE, UNREAD, Inode, Seen
from consumer.faults import NOT_THERE
from consumer.stagefiles import is_trial_name
from consumer.walking import Directories

ODD_BITS = stat.S_ISUID | stat.S_ISGID
"""Bits that no tree carries, and that no file of a replica may gain."""
_OWNER_READS, _OWNER_LISTS = 0o400, 0o500

Pulse = Callable[[int], None]
"""Told of so many bytes more that were read. What it raises ends the work."""


def no_pulse(size_bytes: int) -> None:
    """Nobody counts."""


class Unlisted(NamedTuple):
    """A directory that could not be listed: nothing is known of what is below. `why` "": its own mode forbids it."""

    path: bytes
    why: str


# ------------------------------------------------------------------------------------------------------------- one path


def look(directories: Directories, path: bytes, expected: Entry | None, pulse: Pulse = no_pulse) -> Seen:
    """What stands at a path. A file is read only where its size is the expected one: another size tells enough."""
    if not is_path(path):
        return STRANGE
    try:
        above = directories.open(parent(path))
        seen = os.lstat(basename(path), dir_fd=above)
        if stat.S_ISREG(seen.st_mode):
            return _file(above, path, seen, expected, pulse)
        if stat.S_ISDIR(seen.st_mode):
            return _seen(Entry(Kind.DIRECTORY, seen.st_mode & 0o777, 0, 0, b""), seen)
        if stat.S_ISLNK(seen.st_mode):
            target = os.readlink(basename(path), dir_fd=above)
            return _seen(symlink_entry(len(target), content_digest(target)), seen)
    except OSError as error:
        return ABSENT if error.errno in NOT_THERE else Seen(None, why=_words(error))
    return STRANGE


def why_unlisted(directories: Directories, path: bytes) -> str:
    """Why a directory cannot be listed; "" when it can be, or is none any more."""
    try:
        os.close(directories.listed(path))
    except OSError as error:
        return "" if error.errno in NOT_THERE else _words(error)
    return ""


def has_stayed(directories: Directories, path: bytes, seen: Seen) -> bool:
    """Whether the file that was read stands there still, unchanged: by its inode and the system's own time of change."""
    with suppress(OSError):
        now = os.lstat(basename(path), dir_fd=directories.open(parent(path)))
        return seen.inode == _inode(now)
    return False


def look_twice(directories: Directories, path: bytes, expected: Entry | None, before: Seen, limit_bytes: int) -> Seen:
    """Look at what was seen before. A file over the limit is not read again: it must be the one that was read, unchanged; where
    it is not, it is busy, unless what can be told without reading is enough."""
    is_large = expected is not None and expected.kind is Kind.FILE and expected.size > limit_bytes
    if expected is None or not is_large:
        return look(directories, path, expected)
    if before.entry is not None and _tells_enough(before.entry) and has_stayed(directories, path, before):
        return before
    seen = look(directories, path, None)
    is_same_size = seen.entry is not None and seen.entry.kind is Kind.FILE and seen.entry.size == expected.size
    return seen._replace(is_busy=is_same_size)


def _tells_enough(entry: Entry) -> bool:
    """Whether another look would tell no more: it was read, or its own mode forbids that."""
    return entry.digest != UNREAD or not entry.mode & _OWNER_READS


def _file(above: int, path: bytes, seen: os.stat_result, expected: Entry | None, pulse: Pulse) -> Seen:
    if expected is None or expected.kind is not Kind.FILE or expected.size != seen.st_size:
        return _seen(_entry(seen, UNREAD), seen)
    try:
        descriptor = os.open(basename(path), READ, dir_fd=above)
    except PermissionError:
        if seen.st_mode & _OWNER_READS:
            raise
        # Its own mode forbids it, rightly or not: that is judged by what can be seen. Where even its time is another, nobody
        # knows what is in it.
        is_as_old = seen.st_mtime_ns == expected.mtime_ns
        return _seen(_entry(seen, expected.digest if is_as_old else UNREAD), seen)
    try:
        digest = blake2b(digest_size=DIGEST_BYTES)
        for piece in chunks(descriptor):
            digest.update(piece)
            pulse(len(piece))
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return _seen(_entry(after, digest.digest()), after)._replace(is_busy=_inode(after) != _inode(seen))


def _seen(entry: Entry, seen: os.stat_result) -> Seen:
    return Seen(entry, _inode(seen), (seen.st_uid, seen.st_gid))


def _entry(seen: os.stat_result, digest: bytes) -> Entry:
    return Entry(Kind.FILE, seen.st_mode & (0o777 | ODD_BITS), seen.st_mtime_ns, seen.st_size, digest)


def _inode(seen: os.stat_result) -> Inode:
    return Inode(seen.st_dev, seen.st_ino, seen.st_ctime_ns)


def _words(error: OSError) -> str:
    return f"cannot be read: {os.strerror(error.errno) if error.errno else error}"


# ------------------------------------------------------------------------------------------------------------- the walk


class Walk:
    """Every path behind one, in ascending byte order (a < a-b < a/x), and what could not be listed, at its place.

    A directory's names are taken when it is entered: what comes into it later is seen by the next walk.
    """

    def __init__(self, directories: Directories, after: bytes, protects: Protects | None) -> None:
        self._directories = directories
        self._after = after
        self._protects = protects
        self._left_out: list[set[bytes]] = []
        """For each directory that it is in."""

    def leave_out(self, path: bytes) -> None:
        """Do not go into this directory, which was just given."""
        self._left_out[-1].add(path)

    def __iter__(self) -> Iterator[bytes | Unlisted]:
        levels: list[tuple[bytes, Iterator[bytes]]] = []
        entered = self._enter(levels, ROOT)
        if entered is not None:
            yield entered
        while levels:
            here, keys = levels[-1]
            key = next(keys, None)
            if key is None:
                levels.pop()
                self._left_out.pop()
            elif not key.endswith(b"/"):
                yield join(here, key)
            elif (below := join(here, key[:-1])) in self._left_out[-1]:
                continue
            elif (entered := self._enter(levels, below)) is not None:
                yield entered

    def _enter(self, levels: list[tuple[bytes, Iterator[bytes]]], path: bytes) -> Unlisted | None:
        try:
            levels.append((path, iter(self._keys(path))))
            self._left_out.append(set())
        except OSError as error:
            if error.errno in NOT_THERE and path:
                return None
            return Unlisted(path, "" if self._forbids(path, error) else _words(error))
        return None

    def _forbids(self, path: bytes, error: OSError) -> bool:
        """Whether a directory's own mode is why its owner may not list it. Whether that mode is right is judged beside it."""
        with suppress(OSError):
            mode = os.fstat(self._directories.open(path)).st_mode
            return error.errno == errno.EACCES and mode & _OWNER_LISTS != _OWNER_LISTS
        return False

    def _keys(self, here: bytes) -> list[bytes]:
        """What is in a directory, as far as it lies behind: each name, and once more with a slash for what is to be entered."""
        descriptor = self._directories.listed(here)
        try:
            with os.scandir(descriptor) as entries:
                found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(descriptor)
        keys = []
        for name, is_directory in found:
            path = join(here, name)
            if self._is_nobodys(path, is_directory):
                continue
            if path > self._after:
                keys.append(name)
            if is_directory and not path + b"0" <= self._after:
                keys.append(name + b"/")
        keys.sort()
        return keys

    def _is_nobodys(self, path: bytes, is_directory: bool) -> bool:
        if path in NOBODYS_AT_ROOT or (b"/" not in path and is_trial_name(path)):
            return True
        return self._protects is not None and self._protects(path, is_directory)
