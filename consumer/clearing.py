"""Takes away what stands at a path of the target, whatever kind it is; never what is protected.

What the plan calls foreign, and whatever is found where the plan knows of nothing, goes aside; the rest is removed.
"""

import os
import stat
from collections.abc import Callable

from common.names import ancestors, basename, is_below, join, parent
from consumer.aside import Aside
from consumer.faults import DIRECTORY_IN_THE_WAY
from consumer.walking import Directories

Protects = Callable[[bytes, bool], bool]
"""Whether a path (is it a directory?) is excluded, and so never touched. The answer covers what is above it."""


class Clearing:
    """Removals of one swap. Methods raise OSError for what fails at the path; missing is fine."""

    def __init__(self, directories: Directories, aside: Aside, protects: Protects | None) -> None:
        self._directories = directories
        self._aside = aside
        self._protects = protects

    def remove(self, path: bytes, *, is_foreign: bool = False) -> bool:
        """Nothing shall stand here. False: something protected is inside, and so the directory stays."""
        name = basename(path)
        above = self._directories.open(parent(path))
        if is_foreign or self._protects is not None:
            return self._remove_seen(path, os.lstat(name, dir_fd=above).st_mode, is_foreign)
        try:
            os.unlink(name, dir_fd=above)
        except (IsADirectoryError, PermissionError):
            mode = os.lstat(name, dir_fd=above).st_mode
            if not stat.S_ISDIR(mode):
                raise
            return self._remove_directory(path, mode, is_foreign)
        return True

    def _remove_seen(self, path: bytes, mode: int, is_foreign: bool) -> bool:
        """The same, when it was seen what stands there."""
        is_directory = stat.S_ISDIR(mode)
        if self._protects is not None and self._protects(path, is_directory):
            return False
        if is_directory:
            return self._remove_directory(path, mode, is_foreign)
        above = self._directories.open(parent(path))
        if is_foreign:
            self._aside.take(path, above)
        else:
            os.unlink(basename(path), dir_fd=above)
        return True

    def put_aside(self, path: bytes) -> bool:
        """Whatever stands here goes aside, as a whole where nothing in it is protected. False: something stays."""
        above = self._directories.open(parent(path))
        mode = os.lstat(basename(path), dir_fd=above).st_mode
        if self._protects is not None:
            if self._protects(path, stat.S_ISDIR(mode)):
                return False
            if stat.S_ISDIR(mode):
                return self._remove_directory(path, mode, is_foreign=True)
        self._directories.forget(path)
        self._aside.take(path, above)
        return True

    def _remove_directory(self, path: bytes, mode: int, is_foreign: bool) -> bool:
        name = basename(path)
        try:
            os.rmdir(name, dir_fd=self._directories.open(parent(path)))
        except OSError as error:
            if error.errno not in DIRECTORY_IN_THE_WAY:
                raise
            # Not empty: what is in it is nobody's that the plan knows.
            if not self.empty(path):
                return False
            os.rmdir(name, dir_fd=self._directories.open(parent(path)))
        self._directories.forget(path)
        if is_foreign:
            self._aside.keep_directory(path, stat.S_IMODE(mode))
        return True

    def empty(self, path: bytes) -> bool:
        """Everything in a directory goes aside. False: something protected stays, and the directories that hold it."""
        protected = self._protected_below(path)
        holding = {above for inside in protected for above in ancestors(inside) if is_below(above, path)}
        pending = [path]
        while pending:
            here = pending.pop()
            for name in self._directories.names(here):
                child = join(here, name)
                if child in holding:
                    pending.append(child)
                elif child not in protected:
                    self._directories.forget(child)
                    self._aside.take(child, self._directories.open(here))
        return not protected

    def _protected_below(self, path: bytes) -> set[bytes]:
        """The topmost protected paths below a directory."""
        protected: set[bytes] = set()
        pending = [path] if self._protects is not None else []
        while pending:
            here = pending.pop()
            for name in self._directories.names(here):
                child = join(here, name)
                mode = os.lstat(name, dir_fd=self._directories.open(here)).st_mode
                if self._protects is not None and self._protects(child, stat.S_ISDIR(mode)):
                    protected.add(child)
                elif stat.S_ISDIR(mode):
                    pending.append(child)
        return protected
