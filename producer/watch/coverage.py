"""Sees to it that every directory of the tree has an inotify watch, and knows which have none. It reads no records.

Directories are opened from the root without following a link, watched through their descriptor, and listed after that: what
comes in between is found twice, never missed. Opening a directory that is watched already gives the same watch again, so a
directory that was moved is known wherever it is met.
"""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from common.names import NOBODYS_AT_ROOT, ROOT, escape, join
from common.patterns import Patterns
from producer.scan import OPEN_DIRECTORY, open_directory
from producer.watch import kernel
from producer.watch.kernel import Inotify
from producer.watch.places import Place, Places

log = logging.getLogger("treecast")

LOGGED_LIMIT = 10
"""Of directories that cannot be watched only so many are logged; `uncovered` has them all."""

_TELLS = (
    kernel.IN_CREATE
    | kernel.IN_CLOSE_WRITE
    | kernel.IN_MODIFY
    | kernel.IN_ATTRIB
    | kernel.IN_DELETE
    | kernel.IN_MOVED_FROM
    | kernel.IN_MOVED_TO
)
_TELLS_ROOT = _TELLS | kernel.IN_DELETE_SELF | kernel.IN_MOVE_SELF
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

Tell = Callable[[bytes], None]
"""Called with each path that is found in a directory that came."""


def _tell_nobody(_: bytes) -> None:
    """At start everything is scanned anyway."""


class _Open(NamedTuple):
    """A directory that is being covered: what is below it is still to be done."""

    directory: int
    path: bytes
    watch: int
    names: Iterator[bytes]


class Coverage:
    """The watches of one tree. Owned by one thread; `uncovered` may be asked anywhere."""

    def __init__(self, root: bytes, patterns: Patterns, inotify: Inotify, caveat: str) -> None:
        """`caveat`: why the whole tree counts as uncovered although it is watched; "" if it does not."""
        self.places = Places()
        self._root = root
        self._patterns = patterns
        self._inotify = inotify
        self._caveat = caveat
        self.has_caveat = bool(caveat)
        self._root_fd = -1
        self._lock = threading.Lock()
        self._uncovered: dict[bytes, str] = {ROOT: caveat} if caveat else {}

    def uncovered(self) -> dict[bytes, str]:
        """Directories that cannot be watched, and why. What is below one is not watched either, and not named."""
        with self._lock:
            return dict(self._uncovered)

    def is_root_gone(self) -> bool:
        """Whether the root was deleted. The system tells that only when nobody has it open any more, and we have."""
        try:
            return self.places.root is not None and os.fstat(self._root_fd).st_nlink == 0
        except OSError:
            return True

    def is_uncovered(self, path: bytes) -> bool:
        """Whether this very directory is known to be unwatched."""
        return path in self._uncovered

    def counts(self, path: bytes, is_directory: bool) -> bool:
        """Whether the path belongs to the tree: neither the root itself, nor nobody's, nor excluded."""
        return bool(path) and path not in NOBODYS_AT_ROOT and not self._patterns.excludes(path, is_directory)

    def cover_all(self) -> None:
        """Watch the whole tree, anew or again. Directories that were believed to be in it and were not met lose their watch."""
        self._close_root()
        with self._lock:
            self._uncovered = {ROOT: self._caveat} if self._caveat else {}
        try:
            self._root_fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.places.root = self._inotify.add(self._root_fd, _TELLS_ROOT)
            met = self._cover_below(os.dup(self._root_fd), ROOT, self.places.root, _tell_nobody)
        except OSError as error:
            self.places.root = None
            self._note(ROOT, error)
            return
        self._end(self.places.others(met))

    def cover(self, path: bytes, place: Place | None, tell: Tell) -> None:
        """Watch a directory and all below it, and tell what is in it. `place`: where it is, if that is known; `path` is where to
        find it. What is no directory (any more) is left alone."""
        try:
            directory = open_directory(self._root_fd, path)
            watch = self._add(directory)
            place = place or self._place_of(path)
            if place is not None:
                self.places.put(watch, place)
            self.forget_uncovered(path)
            self._cover_below(directory, path, watch, tell)
        except OSError as error:
            self._note(path, error)

    def end_moved(self, moved: Iterable[Place]) -> None:
        """Directories that left these places and were not met elsewhere in the tree: their watches end, and those below."""
        for watch, place in self.places.at(moved):
            path = self.places.path_of(place)
            if path is None or self._watch_at(path) != watch:
                self._end(self.places.subtree(watch))

    def retry(self, tell: Tell) -> list[bytes]:
        """Try again to watch what could not be. Returns what was tried."""
        tried = [path for path in self.uncovered() if path]
        for path in tried:
            self.forget_uncovered(path)
            self.cover(path, None, tell)
        return tried

    def forget_uncovered(self, path: bytes) -> None:
        """It is watched, or gone. Idempotent."""
        with self._lock:
            self._uncovered.pop(path, None)

    def close(self) -> None:
        """Idempotent."""
        self._close_root()

    def _place_of(self, path: bytes) -> Place | None:
        above, _, name = path.rpartition(b"/")
        watch = self._watch_at(above)
        return None if watch is None else Place(watch, name)

    def _watch_at(self, path: bytes) -> int | None:
        if path == ROOT:
            return self.places.root
        try:
            directory = open_directory(self._root_fd, path)
        except OSError:
            return None
        try:
            return self._inotify.add(directory, _TELLS)
        except OSError:
            return None
        finally:
            os.close(directory)

    def _add(self, directory: int) -> int:
        """The watch of an open directory, which is closed if it can have none. Raises OSError."""
        try:
            return self._inotify.add(directory, _TELLS)
        except OSError:
            os.close(directory)
            raise

    def _end(self, watches: Iterable[int]) -> None:
        for watch in watches:
            self._inotify.remove(watch)
            self.places.drop(watch)

    def _cover_below(self, directory: int, path: bytes, watch: int, tell: Tell) -> set[int]:
        """Watch what is below a watched directory, whose descriptor is taken over. Returns the watches met. Raises OSError if it
        cannot be listed."""
        met = {watch}
        opened: list[_Open] = []
        try:
            opened.append(self._list(directory, path, watch, tell))
            while opened:
                name = next(opened[-1].names, None)
                if name is None:
                    os.close(opened.pop().directory)
                    continue
                below = self._cover_one(opened[-1], name, tell)
                if below is not None:
                    opened.append(below)
                    met.add(below.watch)
        finally:
            for here in opened:
                os.close(here.directory)
        return met

    def _cover_one(self, above: _Open, name: bytes, tell: Tell) -> _Open | None:
        path = join(above.path, name)
        if not self.counts(path, True):
            return None
        try:
            directory = os.open(name, OPEN_DIRECTORY, dir_fd=above.directory)
            watch = self._add(directory)
            self.places.put(watch, Place(above.watch, name))
            return self._list(directory, path, watch, tell)
        except OSError as error:
            self._note(path, error)
            return None

    def _list(self, directory: int, path: bytes, watch: int, tell: Tell) -> _Open:
        """The directory with the names of the directories in it; everything that is in it is told. Closes it, and raises OSError,
        when it cannot be listed."""
        below = []
        try:
            with os.scandir(directory) as listing:
                for entry in listing:
                    name = os.fsencode(entry.name)
                    is_directory = entry.is_dir(follow_symlinks=False)
                    if is_directory:
                        below.append(name)
                    if tell is not _tell_nobody and self.counts(found := join(path, name), is_directory):
                        tell(found)
        except OSError:
            os.close(directory)
            raise
        return _Open(directory, path, watch, iter(below))

    def _note(self, path: bytes, error: OSError) -> None:
        """A directory that cannot be watched is shown; one that is not there is not."""
        if error.errno in _NOT_THERE and path:
            self.forget_uncovered(path)
            return
        why = os.strerror(error.errno) if error.errno else str(error)
        if error.errno == errno.ENOSPC:
            why = "no watches left: raise fs.inotify.max_user_watches"
        with self._lock:
            self._uncovered[path] = why
        if len(self._uncovered) <= LOGGED_LIMIT:
            log.warning("cannot watch %s: %s", escape(path) or "the root", why)

    def _close_root(self) -> None:
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1
