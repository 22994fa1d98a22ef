"""Paths in the order in which they came, and whether any of them is below a directory: in no time where none is. Decides.

Directories come and go by the ten thousand, and so do names that nobody knows: to look through all paths for each would hold
the loop for minutes.
"""

from collections import Counter
from collections.abc import Iterator

from common.names import ROOT, ancestors, is_below


class PathSet:
    """A set of paths. Owned by one thread."""

    def __init__(self) -> None:
        self._paths: dict[bytes, None] = {}
        self._above: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def __iter__(self) -> Iterator[bytes]:
        """In the order in which they came."""
        return iter(self._paths)

    def add(self, path: bytes) -> None:
        """Idempotent: it keeps its place."""
        if path not in self._paths:
            self._paths[path] = None
            self._above.update(ancestors(path))

    def discard(self, path: bytes) -> None:
        """Idempotent."""
        if path not in self._paths:
            return
        del self._paths[path]
        for above in ancestors(path):
            self._above[above] -= 1
            if not self._above[above]:
                del self._above[above]

    def below(self, directory: bytes) -> list[bytes]:
        """Those below the directory; all for `ROOT`, which is below nothing. Looks at all of them only where there are any."""
        if directory != ROOT and directory not in self._above:
            return []
        return [path for path in self._paths if is_below(path, directory)]
