"""Does: holds the master's tree open for the rest of the producer: its root, the passes of looks, the walks, single bodies.

Knows the root's path and the patterns; nothing of the index. When another directory takes the root's place, that is opened.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.entries import Entry
from common.errors import RootGoneError
from common.patterns import Patterns, row_of
from producer.carrying import EVERYTHING, Carrying
from producer.differences import Found
from producer.guard import Root
from producer.look import Looker
from producer.parts import read_part
from producer.root import open_root, root_state
from producer.scan import walk
from producer.values import Known

LARGE_LIMIT_BYTES = 1 << 30
"""The largest file that is carried, unless it is set."""

ReadBody = Callable[[bytes, Entry], bytes | None]


class Source:
    """The tree as this process has it open. Owned by one thread."""

    def __init__(
        self,
        path: Path,
        patterns: Patterns,
        *,
        settle_seconds: float = 2.0,
        carrying: Carrying = EVERYTHING,
        large_limit_bytes: int = LARGE_LIMIT_BYTES,
    ) -> None:
        self._carrying = carrying
        self._large_limit_bytes = large_limit_bytes
        self._path = os.fsencode(path)
        self.patterns = patterns
        self.settle_seconds = settle_seconds
        self.generation = 0
        """How many directories have been the root: it grows when another one took its place."""
        self._root_fd = -1
        self._open_root: tuple[int, int] | None = None

    def check(self) -> Root:
        """What the root looks like now; opens it where it is another directory than the one that is open."""
        root = root_state(self._path)
        if root.identity is not None and root.identity != self._open_root:
            return self._open(root)
        return root

    @contextmanager
    def looking(self) -> Iterator[Looker]:
        """A short pass of looks. Raises RootGoneError, at its beginning and from its looks."""
        if self._root_fd < 0:
            raise RootGoneError("it was never there")
        with Looker(
            self._root_fd, limit_bytes=self._large_limit_bytes, root_path=self._path, carrying=self._carrying
        ) as looker:
            yield looker

    def read_part(self, known: Known, offset: int) -> bytes | None:
        """One part of a large content; None when the file is not the one that the row knows. See `producer.parts`."""
        return read_part(self._root_fd, known, offset) if self._root_fd >= 0 else None

    def walk(self, start: bytes) -> Iterator[Found]:
        """Everything at and below a path, excluded paths left out, in the byte order of paths."""
        return walk(self._root_fd, start, self.patterns, self._carrying)

    def excludes(self, path: bytes, is_directory: bool) -> bool:
        """Whether the path is no part of the tree."""
        return bool(self.patterns) and self.patterns.excludes(path, is_directory)

    def patterns_text(self, entry: Entry) -> bytes | None:
        """The content of the tree's row for its patterns, if that is this one."""
        row = row_of(self.patterns.lines)
        return row[1] if row is not None and row[0] == entry else None

    def close(self) -> None:
        """Idempotent."""
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd, self._open_root = -1, None

    def _open(self, root: Root) -> Root:
        try:
            root_fd = open_root(self._path)
        except RootGoneError as error:
            return Root(None, why=str(error))
        try:
            found = os.fstat(root_fd)
        except OSError as error:
            os.close(root_fd)
            return Root(None, why=(error.strerror or str(error)).lower())
        self.close()
        self._root_fd, self._open_root = root_fd, (found.st_dev, found.st_ino)
        self.generation += 1
        # RACE: it may have been swapped once more between the two looks; then the next check opens that.
        return root
