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
from common.entries import MODE_MASK, Entry, Kind, directory_entry, file_entry, symlink_entry
from common.errors import NoRoomError, PathError, RootGoneError
from common.messages import INLINE_LIMIT_BYTES
from common.names import ancestors, basename, check_path, parent
from producer.carrying import EVERYTHING, Carrying
from producer.freshness import fresh_ns, unsettled_ns
from producer.reading import OPEN_FILE, read_file
from producer.root import check_root, open_root, root_state
from producer.scan import kind_of
from producer.values import Absent, Busy, Hashed, Identity, Known, Large, LeftOut, Looked, Present, Problem

__all__ = ["Looker", "RootGoneError", "check_root", "look", "open_root", "read_body", "root_state"]

AGAIN_SECONDS = 0.05
"""When to look again at what changed while it was read."""
HELD_DIRECTORIES = 256
"""How many directories a pass keeps open; beyond that it forgets them all."""

_OPEN_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_MOVED_ON = frozenset({errno.ENXIO, errno.EINVAL, errno.ESTALE})


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

    def __init__(
        self,
        root_fd: int,
        *,
        limit_bytes: int,
        root_path: str | bytes | None = None,
        carrying: Carrying = EVERYTHING,
    ) -> None:
        """`root_fd` stays the caller's. `limit_bytes`: the largest file that is carried. With `root_path` the pass also notices
        that another directory took the root's place."""
        self._root_fd = root_fd
        self._root_path = root_path
        self._limit_bytes = limit_bytes
        self._carrying = carrying
        self._inline_bytes = min(limit_bytes, INLINE_LIMIT_BYTES)
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
        hashed: Hashed | None = None,
    ) -> Looked:
        """What is at the path now.

        Present: with `body` unless the content is the known one or a large file's; a file whose identity, size and mtime are the
        known ones is not read, unless `force`. LeftOut: a symlink that is not carried. Absent: nothing there, and the way there
        could be walked. Busy: it changed while it was read, or it would be read and its times are younger than `settle_seconds`.
        Large: it must be hashed first, and `hashed`, what came of that, is not of the file that is there now; one that became
        small is read. Problem: too large, of a kind that is not carried, no permission, or a path that no tree may hold.
        `now_ns`: the clock, for tests.
        Raises RootGoneError when something is absent because the root is, NoRoomError when descriptors run out.
        """
        try:
            check_path(path)
        except PathError as error:
            return Problem(path, str(error))
        for _ in range(2):
            try:
                looked = self._look(path, known, force, settle_seconds, now_ns, hashed)
            except OSError as error:
                looked = _looked_in_vain(path, error)
            if isinstance(looked, Present):
                return looked
            if self._is_in_place(path):
                if isinstance(looked, Absent):
                    check_root(self._root_fd, self._root_path)
                return looked
            self._forget()
        return Busy(path, AGAIN_SECONDS)

    def open_large(self, path: bytes) -> int | Busy | Problem:
        """A descriptor of the file at the path, which is the caller's then, or why there is none. Raises NoRoomError."""
        try:
            return os.open(basename(path), OPEN_FILE, dir_fd=self._above(path))
        except OSError as error:
            looked = _looked_in_vain(path, error)
            # What is absent here may have been moved with its directory: the next look tells.
            return looked if isinstance(looked, Problem) else Busy(path, AGAIN_SECONDS)

    def read_body(self, path: bytes, entry: Entry) -> bytes | None:
        """The content of a file or the target of a symlink, if its digest is the entry's now; None if it is anything else, for
        any reason. The digest proves it, so it need not be stable. Raises NoRoomError when descriptors run out."""
        for _ in range(2):
            content = self._content(path, entry)
            if self._is_in_place(path):
                is_it = content is not None and len(content) == entry.size and content_digest(content) == entry.digest
                return content if is_it else None
            self._forget()
        return None

    def _content(self, path: bytes, entry: Entry) -> bytes | None:
        """The bytes of this kind that are there, as far as they can be read."""
        try:
            check_path(path)
            above = self._above(path)
            if entry.kind == Kind.SYMLINK:
                return os.readlink(basename(path), dir_fd=above)
            return read_file(above, basename(path), entry.size)[0] if entry.kind == Kind.FILE else None
        except PathError:
            return None
        except OSError as error:
            _raise_for_room(error)
            return None

    def _look(
        self,
        path: bytes,
        known: Known | None,
        force: bool,
        settle_seconds: float,
        now_ns: int | None,
        hashed: Hashed | None,
    ) -> Looked:
        """A Present is proven; anything else holds only if the directories on the way are in place. Raises OSError."""
        above = self._above(path)
        name = path[path.rfind(b"/") + 1 :]
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
        kind = kind_of(found.st_mode)
        owner = self._carrying.owner(found.st_uid, found.st_gid)
        if kind is Kind.DIRECTORY:
            return self._prove(path, found, directory_entry(found.st_mode, owner), None)
        if kind is Kind.SYMLINK:
            return self._look_at_link(path, found, os.readlink(name, dir_fd=above), owner, known)
        if kind is None:
            return Problem(path, f"{_special(found.st_mode)} is not carried")
        if hashed is not None and found.st_size > self._inline_bytes and _is_hashed(found, hashed):
            entry = file_entry(found.st_mode, found.st_mtime_ns, found.st_size, hashed.digest, owner)
            return self._prove(path, found, entry, None)
        if not force and known is not None and _is_known(found, known):
            return self._prove(path, found, known.entry._replace(mode=found.st_mode & MODE_MASK, owner=owner), None)
        now_ns = time.time_ns() if now_ns is None else now_ns
        refused = self._refuse_to_read(path, found, int(settle_seconds * 1e9), now_ns)
        return refused if refused is not None else self._read(path, known, now_ns)

    def _refuse_to_read(self, path: bytes, found: os.stat_result, settle_ns: int, now_ns: int) -> Looked | None:
        """Why a file is not read here and now."""
        if found.st_size > self._limit_bytes:
            return Problem(path, f"too large: {found.st_size:,} bytes, the limit is {self._limit_bytes:,}")
        young_ns = unsettled_ns(found.st_mtime_ns, found.st_ctime_ns, settle_ns, now_ns)
        if young_ns > 0:
            return Busy(path, young_ns / 1e9)
        return Large(path) if found.st_size > self._inline_bytes else None

    def _read(self, path: bytes, known: Known | None, now_ns: int) -> Present | Busy:
        """Raises OSError."""
        content, found = read_file(self._above(path), path[path.rfind(b"/") + 1 :], self._inline_bytes)
        owner = self._carrying.owner(found.st_uid, found.st_gid)
        entry = file_entry(found.st_mode, found.st_mtime_ns, found.st_size, content_digest(content), owner)
        if len(content) != found.st_size:
            return Busy(path, AGAIN_SECONDS)
        fresh_seconds = fresh_ns(found.st_mtime_ns, found.st_ctime_ns, now_ns) / 1e9
        return self._prove(path, found, entry, content, known, fresh_seconds)

    def _look_at_link(
        self, path: bytes, found: os.stat_result, target: bytes, owner: str, known: Known | None
    ) -> Present | Busy | LeftOut:
        why_not = self._carrying.why_not(path, target)
        if why_not is not None:
            return LeftOut(path, why_not)
        return self._prove(path, found, symlink_entry(len(target), content_digest(target), owner), target, known)

    def _prove(
        self,
        path: bytes,
        found: os.stat_result,
        entry: Entry,
        content: bytes | None,
        known: Known | None = None,
        fresh_seconds: float = 0.0,
    ) -> Present | Busy:
        """Present, if the whole path from the root still leads to what was found, unchanged. Raises OSError.

        This lstat is of the inode that was read, so it stands for the second fstat; and it proves that the directories that are
        kept open are still what the path leads through. They themselves were reached without following a link.
        """
        after = os.stat(path, dir_fd=self._root_fd, follow_symlinks=False)
        if not _is_same(found, after):
            return Busy(path, AGAIN_SECONDS)
        if known is not None and entry.same_content(known.entry):
            content = None
        return Present(path, entry, content, Identity(after.st_ino, after.st_ctime_ns), fresh_seconds)

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


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether nothing moved between two looks at one inode. What is in a directory may."""
    if one.st_ino != other.st_ino or one.st_dev != other.st_dev or one.st_mode != other.st_mode:
        return False
    return stat.S_ISDIR(one.st_mode) or (
        one.st_ctime_ns == other.st_ctime_ns and one.st_mtime_ns == other.st_mtime_ns and one.st_size == other.st_size
    )


def _is_known(found: os.stat_result, known: Known) -> bool:
    return (
        known.identity == (found.st_ino, found.st_ctime_ns)
        and known.entry.mtime_ns == found.st_mtime_ns
        and known.entry.size == found.st_size
        and known.entry.kind == Kind.FILE
    )


def _is_hashed(found: os.stat_result, hashed: Hashed) -> bool:
    identity = (found.st_ino, found.st_ctime_ns) == hashed.identity
    return identity and (found.st_mtime_ns, found.st_size) == (hashed.mtime_ns, hashed.size)


def _looked_in_vain(path: bytes, error: OSError) -> Looked:
    _raise_for_room(error)
    if error.errno in _NOT_THERE:
        return Absent(path)
    if error.errno in _MOVED_ON:
        return Busy(path, AGAIN_SECONDS)
    return Problem(path, _words(error))


def _raise_for_room(error: OSError) -> None:
    if error.errno in _NO_ROOM:
        raise NoRoomError(_words(error)) from error


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a fifo"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "a file of this kind"


def _words(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
