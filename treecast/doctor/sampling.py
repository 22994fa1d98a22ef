"""Does: counts and tries what is in a tree, for a moment and up to a limit: it must not be noticed. Opens no file."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from common.names import NOBODYS_AT_ROOT, escape
from common.patterns import Patterns
from treecast.doctor.access import Sample
from treecast.doctor.limits import TreeSize

LOOK_SECONDS = 3.0
PATHS_LIMIT = 200_000
_ASK_CLOCK_EVERY = 256


class Walk:
    """One walk from a root, not into links, shallow directories first. `is_whole`: whether it came to its end."""

    def __init__(self, root: Path, patterns: Patterns, seconds: float = LOOK_SECONDS) -> None:
        self._root = os.fsencode(root)
        self._patterns = patterns
        self._deadline = time.monotonic() + seconds
        self._passed = 0
        self.is_whole = True
        self.unlisted: list[bytes] = []
        """Directories that this user may not list."""

    def entries(self) -> Iterator[tuple[bytes, "os.DirEntry[bytes]"]]:
        """Path and entry of what belongs to the tree, until time or number is up."""
        waiting = [b""]
        for here in waiting:
            for path, entry in self._listed(here):
                self._passed += 1
                if self._passed > PATHS_LIMIT or self._is_late():
                    self.is_whole = False
                    return
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                yield path, entry

    def _listed(self, here: bytes) -> Iterator[tuple[bytes, "os.DirEntry[bytes]"]]:
        try:
            with os.scandir(os.path.join(self._root, here) if here else self._root) as listing:
                for entry in listing:
                    path = here + b"/" + entry.name if here else entry.name
                    if path not in NOBODYS_AT_ROOT and not self._is_excluded(path, entry):
                        yield path, entry
        except OSError:
            self.unlisted.append(here)

    def _is_excluded(self, path: bytes, entry: "os.DirEntry[bytes]") -> bool:
        return bool(self._patterns) and self._patterns.excludes(path, entry.is_dir(follow_symlinks=False))

    def _is_late(self) -> bool:
        return self._passed % _ASK_CLOCK_EVERY == 0 and time.monotonic() > self._deadline


def try_reading(root: Path, patterns: Patterns) -> tuple[Sample, TreeSize]:
    """Which files and directories this user may not read; and how many directories there are."""
    walk, refused, directories = Walk(root, patterns), [], 1
    looked = 0
    for path, entry in walk.entries():
        looked += 1
        if entry.is_dir(follow_symlinks=False):
            directories += 1
        elif entry.is_file(follow_symlinks=False) and not _may(entry.path, os.R_OK):
            refused.append(path)
    refused += walk.unlisted
    return _sample(refused, looked, walk.is_whole), TreeSize(directories, walk.is_whole, "counted")


def try_writing(root: Path, patterns: Patterns) -> Sample:
    """Which directories this user may not change."""
    walk, refused, looked = Walk(root, patterns), [], 1
    if not _may(os.fsencode(root), os.W_OK | os.X_OK):
        refused.append(b"")
    for path, entry in walk.entries():
        if entry.is_dir(follow_symlinks=False):
            looked += 1
            if not _may(entry.path, os.W_OK | os.X_OK):
                refused.append(path)
    return _sample(refused, looked, walk.is_whole)


def is_empty(root: Path, patterns: Patterns) -> bool:
    """Whether nothing stands there that could be part of a tree."""
    return next(Walk(root, patterns).entries(), None) is None


def _may(path: bytes, how: int) -> bool:
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def _sample(refused: list[bytes], looked: int, is_whole: bool) -> Sample:
    first = escape(refused[0]) or "the root" if refused else ""
    return Sample(looked, len(refused), first, is_whole)
