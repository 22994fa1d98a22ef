"""Watches a tree with watchdog, on systems without inotify. It knows nothing of what that does underneath.

watchdog loses events without a word when too much happens at once, so `overflows` stays 0 and proves nothing: only scans do.
"""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from common.names import NOBODYS_AT_ROOT, ROOT
from common.patterns import Patterns
from producer.watch.port import Hint

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

CLOSE_SECONDS = 5.0
_SILENT = frozenset({"opened", "closed_no_write"})


class ObserverWatch:
    """The watch port on watchdog."""

    def __init__(self, root: str | bytes, patterns: Patterns, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._root = os.path.realpath(os.fsencode(root))
        self._patterns = patterns
        self._lock = threading.Lock()
        self._hints: dict[Hint, None] = {}
        self._uncovered: dict[bytes, str] = {}
        self._observer: BaseObserver | None = None
        self._has_root = True

    def start(self) -> None:
        """See the port. When watchdog cannot watch the root, all of it is uncovered."""
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

        watch = self

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: "FileSystemEvent") -> None:
                watch._take(event)

        observer = Observer()
        observer.daemon = True
        try:
            observer.schedule(Handler(), os.fsdecode(self._root), recursive=True)
            observer.start()
        except OSError as error:
            self._uncovered[ROOT] = os.strerror(error.errno) if error.errno else str(error)
            return
        self._observer = observer

    def drain(self) -> list[Hint]:
        """See the port."""
        with self._lock:
            hints, self._hints = self._hints, {}
        return list(hints)

    def overflows(self) -> int:
        """See the port: watchdog does not tell."""
        return 0

    def uncovered(self) -> dict[bytes, str]:
        """See the port."""
        return dict(self._uncovered)

    def mark(self) -> int | None:
        """None: watchdog loses events without a word."""
        return None

    def is_past(self, mark: int) -> bool:
        """There are no marks."""
        return True

    def is_alive(self) -> bool:
        """See the port. watchdog's own answer leaves out the threads that read from the system."""
        observer = self._observer
        if observer is None or not self._has_root or not observer.is_alive():
            return False
        return all(emitter.is_alive() for emitter in observer.emitters)

    def close(self) -> None:
        """See the port."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(CLOSE_SECONDS)

    def _take(self, event: "FileSystemEvent") -> None:
        """In watchdog's thread."""
        if event.event_type in _SILENT:
            return
        # A directory's "modified" is about itself: what a name in it did comes by itself.
        is_subtree = event.is_directory and event.event_type in {"created", "moved", "deleted"}
        paths = [os.fsencode(path) for path in (event.src_path, event.dest_path) if path]
        hints = [hint for path in paths if (hint := self._hint(path, is_subtree, event.is_directory))]
        if hints:
            with self._lock:
                is_first = not self._hints
                self._hints.update(dict.fromkeys(hints))
            if is_first:
                self.wake()

    def _hint(self, full: bytes, is_subtree: bool, is_directory: bool) -> Hint | None:
        if full == self._root:
            if is_subtree:
                self._has_root = False
            return Hint(ROOT, True) if is_subtree else None
        if not full.startswith(self._root + b"/"):
            return None
        path = full[len(self._root) + 1 :]
        if path.partition(b"/")[0] in NOBODYS_AT_ROOT or self._patterns.excludes(path, is_directory):
            return None
        return Hint(path, is_subtree)
