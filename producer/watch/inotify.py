"""Watches a tree with Linux's inotify. A thread collects (watch, name); the owner's `drain` turns them into hints.

A record says that something happened at a name, never what is there now: so a directory is handled by opening it and seeing
which it is, with no pairing of moves. `coverage` has the watches, `places` where they are, `kernel` the system's calls.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from common.names import NOBODYS_AT_ROOT, ROOT, join
from common.patterns import Patterns
from producer.watch import kernel
from producer.watch.coverage import Coverage
from producer.watch.gathering import Gathering
from producer.watch.kernel import Inotify, Pending, collect
from producer.watch.marks import Marks
from producer.watch.places import Place
from producer.watch.port import Hint

log = logging.getLogger("treecast")

PENDING_LIMIT = 500_000
"""More names than this are not kept while nobody drains: a scan is cheaper then."""
RETRY_SECONDS = 60.0
"""How often a directory that could not be watched is tried again."""
BURST_BYTES = 4096
BREATH_MS = 2
"""After so much was read at once, more is let come before the next read: the system's queue lasts for some 300 ms."""

_ROOT_LOST = kernel.IN_DELETE_SELF | kernel.IN_MOVE_SELF | kernel.IN_UNMOUNT | kernel.IN_IGNORED
_CAME = kernel.IN_CREATE | kernel.IN_MOVED_TO
_RARE = kernel.IN_ISDIR | kernel.IN_Q_OVERFLOW | _ROOT_LOST
"""What is not about a file in a watched directory."""


class InotifyWatch:
    """The watch port on inotify. `start`, `drain` and `close` belong to the owner's thread; the rest may be asked anywhere."""

    def __init__(
        self,
        root: str | bytes,
        patterns: Patterns,
        wake: Callable[[], None],
        *,
        caveat: str = "",
        marks: Path | None = None,
    ) -> None:
        """`caveat`: why a scan must see what this cannot (a file system that other hosts write too), shown as uncovered.
        `marks`: where marks are made.
        Raises NoRoomError or UnreachableError where inotify cannot be had."""
        self.wake = wake
        self._inotify = Inotify()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._read, name="inotify", daemon=True)
        self._lock = threading.Lock()
        self._pending: Pending = {}
        self._coverage = Coverage(os.fsencode(root), patterns, self._inotify, caveat)
        self._patterns = patterns
        self._places = self._coverage.places
        self._marks = Marks(marks, self._inotify)
        self._overflows = 0
        self._retry_at = 0.0

    def start(self) -> None:
        """See the port. The thread reads meanwhile, so that a busy tree does not overflow the queue."""
        self._thread.start()
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self._coverage.cover_all()
        log.info("watching %d directories, %d cannot be watched", len(self._places), len(self.uncovered()))

    def drain(self) -> list[Hint]:
        """See the port. Directories that came are watched, and listed, here."""
        with self._lock:
            pending, self._pending = self._pending, {}
        gathering = Gathering()
        moved: list[Place] = []
        ended = self._resolve(pending, gathering, moved)
        self._coverage.end_moved(moved)
        for watch in ended:
            self._places.drop(watch)
        if self._coverage.is_root_gone():
            self._lose_root(gathering)
        if time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            for path in self._coverage.retry(gathering.tell_found):
                gathering.tell(path, subtree=True)
        return gathering.hints()

    def overflows(self) -> int:
        """See the port."""
        return self._overflows

    def uncovered(self) -> dict[bytes, str]:
        """See the port. What is below such a directory is not watched either, and not named."""
        return self._coverage.uncovered()

    def mark(self) -> int | None:
        """See the port. None also where another host may write: its changes have no records here."""
        return None if self._coverage.has_caveat or not self.is_alive() else self._marks.make()

    def is_past(self, mark: int) -> bool:
        """See the port."""
        return not self.is_alive() or self._marks.is_past(mark)

    def is_alive(self) -> bool:
        """See the port. False for good after the root was deleted, moved or unmounted: make a new watch when it is back."""
        return self._thread.is_alive() and self._places.root is not None and not self._coverage.is_root_gone()

    def close(self) -> None:
        """See the port."""
        if self._stop < 0:
            return
        os.eventfd_write(self._stop, 1)
        if self._thread.ident is not None:
            self._thread.join()
        self._inotify.close()
        os.close(self._stop)
        self._stop = -1
        self._coverage.close()

    def _read(self) -> None:
        """The thread: reads as fast as the system tells, in large pieces."""
        ready, stop = select.poll(), select.poll()
        ready.register(self._inotify.fileno, select.POLLIN)
        ready.register(self._stop, select.POLLIN)
        stop.register(self._stop, select.POLLIN)
        breath_ms = 0
        try:
            while not stop.poll(breath_ms):
                ready.poll()
                records = self._inotify.read()
                self._collect(records)
                breath_ms = BREATH_MS if len(records) > BURST_BYTES else 0
        except OSError:
            log.exception("reading from inotify failed")
        finally:
            self.wake()

    def _collect(self, records: bytes) -> None:
        with self._lock:
            is_first = not self._pending
            collect(records, self._pending)
            if len(self._pending) > PENDING_LIMIT:
                log.warning("more than %d changed names wait: the whole tree will be compared", PENDING_LIMIT)
                self._pending = {key: mask for key, mask in self._pending.items() if mask & _RARE}
                self._pending[kernel.NO_WATCH, b""] = kernel.IN_Q_OVERFLOW
            is_first = is_first and bool(self._pending)
        if is_first:
            self.wake()

    def _resolve(self, pending: Pending, gathering: Gathering, moved: list[Place]) -> list[int]:
        """Turn names into hints. Returns the watches that ended; adds the places that directories left to `moved`."""
        ended: list[int] = []
        paths: dict[int, bytes | None] = {}
        for (watch, name), mask in pending.items():
            if watch == self._marks.watch:
                self._marks.came(name, mask)
                continue
            if mask & _RARE:
                paths.clear()
                self._resolve_rare(watch, name, mask, gathering, moved)
                if mask & kernel.IN_IGNORED:
                    ended.append(watch)
                continue
            if watch not in paths:
                paths[watch] = self._places.path(watch)
            above = paths[watch]
            if above is None or (not above and name in NOBODYS_AT_ROOT):
                continue
            path = join(above, name)
            if not self._patterns or not self._patterns.excludes(path, False):
                gathering.tell(path)
        return ended

    def _resolve_rare(self, watch: int, name: bytes, mask: int, gathering: Gathering, moved: list[Place]) -> None:
        """Directories, and what the system says of itself."""
        if watch == kernel.NO_WATCH:
            self._marks.lost()
            self._overflowed(gathering)
        elif watch not in self._places:
            return
        elif name:
            self._resolve_directory(Place(watch, name), mask, gathering, moved)
        elif watch == self._places.root:
            if mask & _ROOT_LOST:
                self._lose_root(gathering)
        else:
            self._resolve_itself(watch, mask, gathering)

    def _resolve_itself(self, watch: int, mask: int, gathering: Gathering) -> None:
        """Records of a watched directory itself: its attributes, its end, or the end of the mount that it was."""
        path = self._places.path(watch)
        if path is None or not self._coverage.counts(path, True):
            return
        gathering.tell(path)
        if mask & kernel.IN_UNMOUNT:
            self._coverage.cover(path, None, gathering.tell_found)
            gathering.tell(path, subtree=True)

    def _resolve_directory(self, place: Place, mask: int, gathering: Gathering, moved: list[Place]) -> None:
        path = self._places.path_of(place)
        if path is None:
            return
        # A file may have stood, or stand now, where a directory does not count.
        if not self._coverage.counts(path, False) and not self._coverage.counts(path, True):
            return
        gathering.tell(path)
        came = bool(mask & _CAME) or self._coverage.is_uncovered(path)
        if mask & kernel.IN_MOVED_FROM:
            moved.append(place)
        if came and self._coverage.counts(path, True):
            self._coverage.cover(path, place, gathering.tell_found)
        # RACE: before it was watched, a scan may have seen in it what is gone by now; and what was here before may be indexed.
        if came or mask & kernel.IN_MOVED_FROM:
            gathering.tell(path, subtree=True)

    def _overflowed(self, gathering: Gathering) -> None:
        self._overflows += 1
        log.warning("the system lost events (fs.inotify.max_queued_events): the whole tree will be compared")
        gathering.tell(ROOT, subtree=True)
        self._coverage.cover_all()

    def _lose_root(self, gathering: Gathering) -> None:
        log.error("the source's root was deleted, moved or unmounted: it is not watched any more")
        gathering.tell(ROOT, subtree=True)
        self._places.root = None
