"""Looks at one path of the master's tree and says what is really there: the stable look.

It walks by descriptors, follows no link, opens regular files only, and answers with content only if the file had it, at that
path, from before the read until after it. It knows no index (the caller passes what is known) and decides nothing about what
to publish. Paths that fail are values (`Problem`, `Busy`); only the root's loss and a lack of descriptors are raised.
"""

import errno
import os
import stat
import time
from types import TracebackType
from typing import NamedTuple, Self

from common.digests import content_digest
from common.entries import Entry, Kind, directory_entry, file_entry, symlink_entry
from common.errors import NoRoomError, PathError, RootGoneError
from common.names import NOBODYS_AT_ROOT, ancestors, basename, check_path, parent
from producer.guard import Root, RootIdentity
from producer.values import Absent, Busy, Identity, Known, Looked, Present, Problem

AGAIN_SECONDS = 0.05
"""When to look again at what changed while it was read."""
FRESH_NS = 20_000_000
"""A content younger than this may change again without a change of its times."""
FRESH_COARSE_NS = 2_000_000_000
"""The same where times are whole seconds."""
AHEAD_NS = 60_000_000_000
"""A file server's clock may run ahead of ours by so much; a time further in the future tells nothing."""
HELD_DIRECTORIES = 256
"""How many directories a pass keeps open; beyond that it forgets them all."""

_OPEN_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_MOVED_ON = _NOT_THERE | {errno.ESTALE, errno.ENXIO}


def open_root(path: str | bytes) -> int:
    """A descriptor of the source's root, for the caller to close. The path may be, or lead through, a symlink: it is followed
    here, and nowhere below. Raises RootGoneError when it is missing, no directory, or cannot be listed."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RootGoneError(_words(error)) from error


def check_root(root_fd: int, root_path: str | bytes | None) -> None:
    """Raises RootGoneError unless the open root still exists and, where its path is given, is what the path leads to."""
    try:
        here = os.fstat(root_fd)
        there = os.stat(root_path) if root_path is not None else here
    except OSError as error:
        raise RootGoneError(_words(error)) from error
    if here.st_nlink == 0:
        raise RootGoneError("it was deleted")
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        raise RootGoneError("another directory took its place")


def root_state(path: str | bytes) -> Root:
    """What the guard needs to know of the root. What is nobody's does not count as content."""
    try:
        root_fd = open_root(path)
    except RootGoneError as error:
        return Root(None, why=str(error))
    try:
        found = os.fstat(root_fd)
        with os.scandir(root_fd) as listing:
            is_empty = all(os.fsencode(entry.name) in NOBODYS_AT_ROOT for entry in listing)
    except OSError as error:
        return Root(None, why=_words(error))
    finally:
        os.close(root_fd)
    return Root(RootIdentity(found.st_dev, found.st_ino), is_empty)


def look(
    root_fd: int,
    path: bytes,
    known: Known | None,
    *,
    limit_bytes: int,
    force: bool = False,
    settle_seconds: float = 0.0,
    now_ns: int | None = None,
) -> Looked:
    """One look, without a pass around it. See `Looker.look`."""
    with Looker(root_fd, limit_bytes=limit_bytes) as looker:
        return looker.look(path, known, force=force, settle_seconds=settle_seconds, now_ns=now_ns)


def read_body(root_fd: int, path: bytes, entry: Entry) -> bytes | None:
    """One content, without a pass around it. See `Looker.read_body`."""
    with Looker(root_fd, limit_bytes=entry.size) as looker:
        return looker.read_body(path, entry)


class _Step(NamedTuple):
    """An open directory of the tree, and how it was reached."""

    directory: int
    above: int
    name: bytes
    identity: tuple[int, int]


class Looker:
    """Looks at the paths of one short pass and keeps their directories open meanwhile.

    A directory that is kept open may be moved away; so every look ends by checking that each directory on the way is still
    reached by its name, and walks anew if not. Owned by one thread.
    """

    def __init__(self, root_fd: int, *, limit_bytes: int, root_path: str | bytes | None = None) -> None:
        """`root_fd` stays the caller's. `limit_bytes`: the largest file that is carried. With `root_path` the pass also notices
        that another directory took the root's place."""
        self._root_fd = root_fd
        self._root_path = root_path
        self._limit_bytes = limit_bytes
        self._steps: dict[bytes, _Step] = {}

    def __enter__(self) -> Self:
        """Raises RootGoneError."""
        check_root(self._root_fd, self._root_path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()

    def look(
        self,
        path: bytes,
        known: Known | None,
        *,
        force: bool = False,
        settle_seconds: float = 0.0,
        now_ns: int | None = None,
    ) -> Looked:
        """What is at the path now.

        Present: with `body` unless the content is the known one; a file whose identity, size and mtime are the known ones is not
        read, unless `force`. Absent: nothing there, and the way there could be walked. Busy: it changed while it was read,
        or it would be read and its times are younger than `settle_seconds`. Problem: too large, of a kind that is not carried,
        no permission, or a path that no tree may hold. `now_ns`: the clock, for tests.
        Raises RootGoneError when something is absent because the root is, NoRoomError when descriptors run out.
        """
        try:
            check_path(path)
        except PathError as error:
            return Problem(path, str(error))
        for _ in range(2):
            looked = self._look(path, known, force, settle_seconds, time.time_ns() if now_ns is None else now_ns)
            if self._is_in_place(path):
                if isinstance(looked, Absent):
                    check_root(self._root_fd, self._root_path)
                return looked
            self._forget()
        return Busy(path, AGAIN_SECONDS)

    def read_body(self, path: bytes, entry: Entry) -> bytes | None:
        """The content of a file or the target of a symlink, if its digest is the entry's now; None if it is anything else, for
        any reason. The digest proves it, so it need not be stable. Raises NoRoomError when descriptors run out."""
        try:
            check_path(path)
            above = self._above(path)
            if entry.kind == Kind.SYMLINK:
                content = os.readlink(basename(path), dir_fd=above)
            elif entry.kind == Kind.FILE:
                content, _ = _read(above, basename(path), entry.size)
            else:
                return None
        except PathError:
            return None
        except OSError as error:
            _raise_for_room(error)
            self._forget()
            return None
        is_it = len(content) == entry.size and content_digest(content) == entry.digest
        return content if is_it and self._is_in_place(path) else None

    def _look(self, path: bytes, known: Known | None, force: bool, settle_seconds: float, now_ns: int) -> Looked:
        try:
            above = self._above(path)
            found = os.stat(basename(path), dir_fd=above, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                if not force and _is_known(found, known):
                    return _as_known(path, found, known)
                return self._look_at_file(path, above, found, known, settle_seconds, now_ns)
            if stat.S_ISDIR(found.st_mode):
                return Present(path, directory_entry(found.st_mode), None, _identity(found))
            if stat.S_ISLNK(found.st_mode):
                return _look_at_symlink(path, above, found, known)
            return Problem(path, f"{_special(found.st_mode)} is not carried")
        except OSError as error:
            return _looked_in_vain(path, error)

    def _look_at_file(
        self, path: bytes, above: int, found: os.stat_result, known: Known | None, settle_seconds: float, now_ns: int
    ) -> Looked:
        """Open, fstat, read, lstat of the name. The last one is of the inode that was read, so it stands for the second fstat."""
        if found.st_size > self._limit_bytes:
            return _too_large(path, found.st_size, self._limit_bytes)
        unsettled_ns = _unsettled_ns(found, int(settle_seconds * 1e9), now_ns)
        if unsettled_ns > 0:
            return Busy(path, unsettled_ns / 1e9)
        try:
            content, before = _read(above, basename(path), self._limit_bytes)
            after = os.stat(basename(path), dir_fd=above, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _MOVED_ON:
                raise
            return Busy(path, AGAIN_SECONDS)
        if len(content) != before.st_size or not _is_same(before, after):
            return Busy(path, AGAIN_SECONDS)
        entry = file_entry(after.st_mode, after.st_mtime_ns, after.st_size, content_digest(content))
        is_new = known is None or not entry.same_content(known.entry)
        return Present(path, entry, content if is_new else None, _identity(after), _fresh_ns(after, now_ns) / 1e9)

    def _above(self, path: bytes) -> int:
        """The open directory above a path. Raises OSError."""
        directory = parent(path)
        if not directory:
            return self._root_fd
        step = self._steps.get(directory)
        return step.directory if step is not None else self._walk_to(directory)

    def _walk_to(self, directory: bytes) -> int:
        if len(self._steps) > HELD_DIRECTORIES:
            self._forget()
        above = self._root_fd
        for path in (*ancestors(directory), directory):
            step = self._steps.get(path)
            if step is None:
                name = basename(path)
                opened = os.open(name, _OPEN_STEP, dir_fd=above)
                found = os.fstat(opened)
                step = self._steps[path] = _Step(opened, above, name, (found.st_dev, found.st_ino))
            above = step.directory
        return above

    def _is_in_place(self, path: bytes) -> bool:
        """Whether every directory on the way, as far as one was found, is still reached by its name."""
        for directory in ancestors(path):
            step = self._steps.get(directory)
            if step is None:
                return True
            try:
                found = os.stat(step.name, dir_fd=step.above, follow_symlinks=False)
            except OSError:
                return False
            if (found.st_dev, found.st_ino) != step.identity:
                return False
        return True

    def _forget(self) -> None:
        for step in self._steps.values():
            os.close(step.directory)
        self._steps.clear()


def _read(above: int, name: bytes, limit_bytes: int) -> tuple[bytes, os.stat_result]:
    """A regular file's content, at most one byte over its size, and what fstat said before. Raises OSError; ENXIO for what is no
    regular file any more, or has grown over the limit."""
    file = os.open(name, _OPEN_FILE, dir_fd=above)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit_bytes:
            raise OSError(errno.ENXIO, "no such file any more")
        content = os.read(file, found.st_size + 1)
        while 0 < len(content) < found.st_size:
            more = os.read(file, found.st_size + 1 - len(content))
            if not more:
                break
            content += more
        return content, found
    finally:
        os.close(file)


def _look_at_symlink(path: bytes, above: int, found: os.stat_result, known: Known | None) -> Looked:
    try:
        target = os.readlink(basename(path), dir_fd=above)
        after = os.stat(basename(path), dir_fd=above, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {*_MOVED_ON, errno.EINVAL}:
            raise
        return Busy(path, AGAIN_SECONDS)
    if not _is_same(found, after):
        return Busy(path, AGAIN_SECONDS)
    entry = symlink_entry(len(target), content_digest(target))
    is_new = known is None or not entry.same_content(known.entry)
    return Present(path, entry, target if is_new else None, _identity(after))


def _identity(found: os.stat_result) -> Identity:
    return Identity(found.st_ino, found.st_ctime_ns)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_ino == other.st_ino
        and one.st_ctime_ns == other.st_ctime_ns
        and one.st_mtime_ns == other.st_mtime_ns
        and one.st_size == other.st_size
        and one.st_dev == other.st_dev
    )


def _is_known(found: os.stat_result, known: Known | None) -> bool:
    return (
        known is not None
        and known.entry.kind == Kind.FILE
        and known.entry.size == found.st_size
        and known.entry.mtime_ns == found.st_mtime_ns
        and known.identity == (found.st_ino, found.st_ctime_ns)
    )


def _as_known(path: bytes, found: os.stat_result, known: Known | None) -> Present:
    assert known is not None
    entry = known.entry._replace(mode=found.st_mode & 0o777)
    return Present(path, entry, None, known.identity)


def _unsettled_ns(found: os.stat_result, settle_ns: int, now_ns: int) -> int:
    """How long until both times are `settle_ns` old. A time in the future waits for nothing."""
    ages = (now_ns - found.st_mtime_ns, now_ns - found.st_ctime_ns)
    return max((settle_ns - age for age in ages if age >= 0), default=0)


def _fresh_ns(found: os.stat_result, now_ns: int) -> int:
    """How long the content may still change without a change of its times; 0 when it no longer can. ctime is the system's own."""
    is_coarse = found.st_ctime_ns % 1_000_000_000 == 0 and found.st_mtime_ns % 1_000_000_000 == 0
    age_ns = now_ns - found.st_ctime_ns
    return max(0, (FRESH_COARSE_NS if is_coarse else FRESH_NS) - age_ns) if age_ns >= -AHEAD_NS else 0


def _looked_in_vain(path: bytes, error: OSError) -> Looked:
    _raise_for_room(error)
    if error.errno in _NOT_THERE:
        return Absent(path)
    if error.errno == errno.ESTALE:
        return Busy(path, AGAIN_SECONDS)
    return Problem(path, _words(error))


def _raise_for_room(error: OSError) -> None:
    if error.errno in _NO_ROOM:
        raise NoRoomError(_words(error)) from error


def _too_large(path: bytes, size: int, limit_bytes: int) -> Problem:
    return Problem(path, f"too large: {size} bytes, the limit is {limit_bytes}")


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a fifo"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "a file of this kind"


def _words(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
