"""Makes marks in the stream of a kernel's records: a file in a directory of our own, which the same inotify instance watches.

When its record has come, every record of what happened before has come too: the system's queue is one, and in order. Knows
nothing of the tree; nothing is written into it.
"""

import contextlib
import logging
import os
from pathlib import Path

from producer.watch import kernel
from producer.watch.kernel import Inotify

log = logging.getLogger("treecast")

NONE = -2
"""No watch: none of the system's, and not the one of its overflows."""


class Marks:
    """The marks of one inotify instance. Owned by one thread. `watch`: whose records are marks."""

    def __init__(self, directory: Path | None, inotify: Inotify) -> None:
        """`directory`: made if it is missing, and emptied; None, or where it cannot be watched: there are no marks."""
        self._directory = directory
        self.watch = NONE
        self._last = self._past = 0
        if directory is not None:
            try:
                self.watch = self._begin(directory, inotify)
            except OSError as error:
                log.warning(
                    "%s cannot be watched (%s): what waits for changes waits for a scan instead", directory, error
                )

    def _begin(self, directory: Path, inotify: Inotify) -> int:
        directory.mkdir(mode=0o700, exist_ok=True)
        for left in directory.iterdir():
            left.unlink()
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return inotify.add(descriptor, kernel.IN_CREATE)
        finally:
            os.close(descriptor)

    def make(self) -> int | None:
        """A new mark: a number, higher than any before; None where there are none."""
        if self.watch == NONE or self._directory is None:
            return None
        self._last += 1
        path = self._directory / str(self._last)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            path.unlink()
        except OSError as error:
            log.warning(
                "no mark can be made in %s (%s): what waits for changes waits for a scan instead", path.parent, error
            )
            return None
        return self._last

    def came(self, name: bytes, mask: int) -> None:
        """A record of our own watch came: its mark is past. The end of the watch is the end of marks."""
        with contextlib.suppress(ValueError):
            self._past = max(self._past, int(name or b"0"))
        if mask & kernel.IN_IGNORED:
            self.watch = NONE
            self.lost()

    def lost(self) -> None:
        """Records were lost: every mark counts as past, for the whole tree is compared from here on."""
        self._past = self._last

    def is_past(self, mark: int) -> bool:
        """Whether all that happened before the mark was made has been told."""
        return mark <= self._past
