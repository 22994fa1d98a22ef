"""Walks the master's tree by descriptors and says what lstat says, in the byte order of whole paths.

It follows no link, opens directories only, and reads no content. It knows nothing of the index; `producer.differences`
joins the two. What a walk yields is a hint: the tree changes while it is walked.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator

from common.entries import Kind
from common.errors import PathError
from common.names import (
    COMPONENT_LIMIT_BYTES,
    COMPONENTS_LIMIT,
    NOBODYS_AT_ROOT,
    PATH_LIMIT_BYTES,
    ROOT,
    check_path,
    depth,
    parent,
)
from common.patterns import Patterns
from producer.carrying import EVERYTHING, Carrying
from producer.differences import Difference, Found, Sort, differences
from producer.values import Identity, Problem, Seen, Unreadable

__all__ = ["Difference", "Found", "Sort", "differences", "kind_of", "walk"]

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK}
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def kind_of(mode: int) -> Kind | None:
    """The kind that `st_mode` tells; None for one that is not carried."""
    return _KINDS.get(mode & 0o170000)


def walk(
    root_fd: int,
    start: bytes,
    patterns: Patterns,
    carrying: Carrying = EVERYTHING,
) -> Iterator[Found]:
    """Everything at and below `start` (for `ROOT`: below it), in exactly ascending byte order of the path: a < a-b < a/x.

    Yields Seen for each path, also of kinds that are not carried (`kind` None); Unreadable, at its place in the order, for
    what could not be listed or looked at; Problem for a path that no tree may hold, below which nothing is walked. What is
    excluded, nobody's or skipped is not yielded; what vanishes meanwhile is absent; a start that is not there yields nothing.
    Never raises for the tree's sake. Holds one descriptor for each level; `root_fd` stays the caller's.
    """
    if start == ROOT:
        yield from _walk_below(root_fd, ROOT, patterns, carrying)
        return
    if start.partition(b"/")[0] in NOBODYS_AT_ROOT:
        return
    try:
        above = open_directory(root_fd, parent(start))
    except OSError as error:
        if not _is_absence(error):
            yield Unreadable(start, _reason(error))
        return
    try:
        yield from _walk_one(above, start, patterns, carrying)
    finally:
        os.close(above)


def open_directory(root_fd: int, path: bytes) -> int:
    """A descriptor of the directory, reached from the root without following a link. Raises OSError."""
    directory = os.open(b".", OPEN_DIRECTORY, dir_fd=root_fd)
    for name in path.split(b"/") if path else ():
        try:
            below = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
        finally:
            os.close(directory)
        directory = below
    return directory


def _walk_one(above: int, path: bytes, patterns: Patterns, carrying: Carrying) -> Iterator[Found]:
    name = path.rpartition(b"/")[2]
    try:
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
    except OSError as error:
        if not _is_absence(error):
            yield Unreadable(path, _reason(error))
        return
    is_directory = stat.S_ISDIR(found.st_mode)
    if patterns.excludes(path, is_directory):
        return
    yield _seen(path, found, carrying)
    if is_directory:
        yield from _walk_below(above, path, patterns, carrying)


class _Level:
    """One directory that is being walked: its names, sorted twice, as `name` and, for directories, as `name/`."""

    __slots__ = ("directory", "entries", "keys", "name_limit", "prefix")

    def __init__(self, above: int, name: bytes, path: bytes) -> None:
        """Raises OSError when it cannot be listed whole."""
        self.directory = os.open(name, OPEN_DIRECTORY, dir_fd=above)
        try:
            with os.scandir(self.directory) as listing:
                self.entries = {entry.name.encode(_ENCODING, _ERRORS): entry for entry in listing}
            if not path:
                self.entries = {name: entry for name, entry in self.entries.items() if name not in NOBODYS_AT_ROOT}
            keys = [name + b"/" for name, entry in self.entries.items() if entry.is_dir(follow_symlinks=False)]
        except BaseException:
            os.close(self.directory)
            raise
        keys += self.entries
        keys.sort()
        self.keys = iter(keys)
        self.prefix = path + b"/" if path else b""
        # The longest name that a tree may hold here. What a disk can hold breaks no other rule of names.
        self.name_limit = min(COMPONENT_LIMIT_BYTES, PATH_LIMIT_BYTES - len(self.prefix))
        if depth(path) >= COMPONENTS_LIMIT:
            self.name_limit = 0


def _walk_below(above: int, path: bytes, patterns: Patterns, carrying: Carrying) -> Iterator[Found]:
    levels: list[_Level] = []
    problem = _descend(levels, above, b"." if not path else path.rpartition(b"/")[2], path)
    if problem:
        yield problem
    try:
        while levels:
            level = levels[-1]
            for key in level.keys:
                if key[-1] != 0x2F:
                    found = _look_at(level, key, patterns, carrying)
                    if found is not None:
                        yield found
                    continue
                below = level.prefix + key[:-1]
                if len(key) - 1 > level.name_limit or patterns.excludes(below, True):
                    continue
                problem = _descend(levels, level.directory, key[:-1], below)
                if problem:
                    yield problem
                break
            else:
                os.close(levels.pop().directory)
    finally:
        for level in levels:
            os.close(level.directory)


def _descend(levels: list[_Level], above: int, name: bytes, path: bytes) -> Unreadable | None:
    """One level deeper; not into what is no directory any more, nor through a link that took its place."""
    try:
        levels.append(_Level(above, name, path))
    except OSError as error:
        # A root that is gone is the guard's business: here it must never read as "empty".
        return None if path and _is_absence(error) else Unreadable(path, _reason(error))
    return None


def _look_at(level: _Level, name: bytes, patterns: Patterns, carrying: Carrying) -> Found | None:
    path = level.prefix + name
    if len(name) > level.name_limit:
        return Problem(path, _impossible(path))
    entry = level.entries[name]
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as error:
        return None if _is_absence(error) else Unreadable(path, _reason(error))
    if patterns and patterns.excludes(path, stat.S_ISDIR(found.st_mode)):
        return None
    if stat.S_ISLNK(found.st_mode) and carrying.symlinks == "skip":
        return None
    return _seen(path, found, carrying)


def _seen(path: bytes, found: os.stat_result, carrying: Carrying) -> Seen:
    mode = found.st_mode
    identity = Identity(found.st_ino, found.st_ctime_ns)
    owner = carrying.owner(found.st_uid, found.st_gid)
    return Seen(path, _KINDS.get(mode & 0o170000), mode & 0o777, found.st_mtime_ns, found.st_size, identity, owner)


def _is_absence(error: OSError) -> bool:
    """Whether it says that there is no such thing here (any more), rather than that we may not see it."""
    return error.errno in _NOT_THERE


def _impossible(path: bytes) -> str:
    try:
        check_path(path)
    except PathError as error:
        return str(error)
    return "no tree may hold this path"


def _reason(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
