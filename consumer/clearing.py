"""Takes away what stands at a path of the target, whatever kind it is; never what is protected.

What the plan calls foreign goes aside; what is found where the plan knows of nothing goes by the policy for foreign things; the
rest is removed.
"""

import os
import stat
from collections.abc import Callable

from common.names import ancestors, basename, is_below, join, parent
from consumer.aside import Aside
from consumer.faults import DIRECTORY_IN_THE_WAY
from consumer.values import ForeignPolicy
from consumer.walking import Directories

Protects = Callable[[bytes, bool], bool]
"""Whether a path (is it a directory?) is excluded, and so never touched. The answer covers what is above it."""


def either(one: Protects | None, other: Protects | None) -> Protects | None:
    """What one of the two protects; None: nothing."""
    if one is None or other is None:
        return one or other
    return lambda path, is_directory: one(path, is_directory) or other(path, is_directory)


class Clearing:
    """Removals of one swap. Methods raise OSError for what fails at the path; missing is fine."""

    def __init__(
        self, directories: Directories, aside: Aside, protects: Protects | None, foreign: ForeignPolicy = "aside"
    ) -> None:
        """`foreign`: what becomes of things that the plan knows nothing of, in a directory that goes."""
        self._foreign = foreign
        self._directories = directories
        self._aside = aside
        self._protects = protects

    def remove(self, path: bytes, *, is_foreign: bool = False, must_go: bool = True) -> bool:
        """Nothing shall stand here. False: something inside stays, and so does the directory. `must_go`: see `empty`."""
        name = basename(path)
        above = self._directories.open(parent(path))
        if is_foreign or self._protects is not None:
            return self._remove_seen(path, os.lstat(name, dir_fd=above).st_mode, is_foreign, must_go)
        try:
            os.unlink(name, dir_fd=above)
        except (IsADirectoryError, PermissionError):
            mode = os.lstat(name, dir_fd=above).st_mode
            if not stat.S_ISDIR(mode):
                raise
            return self._remove_directory(path, mode, is_foreign, must_go)
        return True

    def _remove_seen(self, path: bytes, mode: int, is_foreign: bool, must_go: bool) -> bool:
        """The same, when it was seen what stands there."""
        is_directory = stat.S_ISDIR(mode)
        if self._protects is not None and self._protects(path, is_directory):
            return False
        if is_directory:
            return self._remove_directory(path, mode, is_foreign, must_go)
        if is_foreign:
            self._move_aside(path)
        else:
            os.unlink(basename(path), dir_fd=self._directories.open(parent(path)))
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
        self._move_aside(path)
        return True

    def _remove_directory(self, path: bytes, mode: int, is_foreign: bool, must_go: bool = True) -> bool:
        name = basename(path)
        try:
            os.rmdir(name, dir_fd=self._directories.open(parent(path)))
        except OSError as error:
            if error.errno not in DIRECTORY_IN_THE_WAY:
                raise
            # Not empty: what is in it is nobody's that the plan knows.
            if not self.empty(path, must_go=must_go or is_foreign):
                return False
            os.rmdir(name, dir_fd=self._directories.open(parent(path)))
        self._directories.forget(path)
        if is_foreign:
            self._aside.keep_directory(path, stat.S_IMODE(mode))
        return True

    def empty(self, path: bytes, *, must_go: bool = True) -> bool:
        """Everything in a directory goes, as is the policy. False: something stays, and the directories that hold it.

        `must_go`: what is here gives way to something published, so that nothing foreign is kept in its place, nor deleted.
        """
        if self._foreign == "keep" and not must_go:
            return False
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
                    self._dispose(child, for_good=self._foreign == "delete" and not must_go)
        return not protected

    def clear_foreign(self, path: bytes) -> bool:
        """What somebody else put here goes aside or for good, as is the policy. False: it stays, or a part of it."""
        if self._foreign == "keep":
            return False
        if self._foreign == "aside":
            return self.put_aside(path)
        mode = os.lstat(basename(path), dir_fd=self._directories.open(parent(path))).st_mode
        if self._protects is None:
            return self._dispose(path, for_good=True)
        if self._protects(path, stat.S_ISDIR(mode)):
            return False
        if not stat.S_ISDIR(mode):
            return self._dispose(path, for_good=True)
        return self._remove_directory(path, mode, is_foreign=False, must_go=False)

    def _dispose(self, path: bytes, *, for_good: bool) -> bool:
        """Nothing in it is protected: as a whole it goes aside, or for good."""
        above = self._directories.open(parent(path))
        if not for_good:
            self._move_aside(path)
        elif stat.S_ISDIR(os.lstat(basename(path), dir_fd=above).st_mode):
            self._move_aside(path, for_good=True)
        else:
            self._unlink(path)
        return True

    def _unlink(self, path: bytes) -> None:
        """A directory that its owner may not write is loosened for that."""
        above, name = parent(path), basename(path)
        try:
            os.unlink(name, dir_fd=self._directories.open(above))
        except PermissionError:
            if not self._directories.loosen(above):
                raise
            os.unlink(name, dir_fd=self._directories.open(above))

    def _move_aside(self, path: bytes, *, for_good: bool = False) -> None:
        """As a whole. A directory that its owner may not write can neither give up what is in it nor be moved: it is loosened
        for that; aside it has its mode again."""
        self._directories.forget(path)
        above = parent(path)
        try:
            self._aside.take(path, self._directories.open(above), for_good=for_good)
        except PermissionError:
            may_try_again = self._directories.loosen(above)
            mode = os.lstat(basename(path), dir_fd=self._directories.open(above)).st_mode
            is_loosened = stat.S_ISDIR(mode) and self._directories.loosen(path)
            if not (may_try_again or is_loosened):
                raise
            self._directories.forget(path)
            shown = stat.S_IMODE(mode) if is_loosened else None
            self._aside.take(path, self._directories.open(above), shown, for_good=for_good)

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
