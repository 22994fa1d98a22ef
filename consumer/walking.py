"""Reaches directories below a root by descriptors, never through a symlink. Does not know what the tree should hold.

Every component is opened from the descriptor of the one above with O_NOFOLLOW, so no link on the disk leads outside,
however often somebody swaps one in. Open descriptors are bounded, whatever the size of the tree.
"""

import os
from collections import OrderedDict
from contextlib import suppress

from common.names import ROOT, ancestors, basename, depth, parent
from consumer.descriptors import HOLD_DIRECTORY, LIST, change_mode

DESCRIPTORS_LIMIT = 128
_LOOSE = 0o700


class Directories:
    """Descriptors of directories by path, for one piece of work; close it afterwards.

    Methods raise OSError: ENOENT for a missing component, ENOTDIR (or ELOOP) for one that is no directory.
    A directory that forbids its owner to work in it is loosened on demand; `tighten` gives each its mode back.
    """

    def __init__(self, root: int, limit: int = DESCRIPTORS_LIMIT, *, may_loosen: bool = True) -> None:
        """`root`: a descriptor that stays the caller's. `may_loosen`: False where no mode may change."""
        self._root = root
        self._limit = limit
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._may_loosen = may_loosen
        self._loosened: dict[bytes, int] = {}

    def open(self, path: bytes) -> int:
        """A descriptor that holds this directory; it stays ours, and is good until the next call."""
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        if path == ROOT:
            return self._root
        descriptor = self._root
        for above in (*ancestors(path), path):
            found = self._open.get(above)
            descriptor = found if found is not None else self._enter(above, descriptor)
        return descriptor

    def listed(self, path: bytes) -> int:
        """A descriptor of its own to list this directory with (or to sync it); the caller closes it."""
        held = self.open(path)
        try:
            return os.open(b".", LIST, dir_fd=held)
        except PermissionError:
            if not self.loosen(path):
                raise
            return os.open(b".", LIST, dir_fd=self.open(path))

    def names(self, path: bytes) -> list[bytes]:
        """The names in a directory, in byte order."""
        descriptor = self.listed(path)
        try:
            return sorted(os.fsencode(name) for name in os.listdir(descriptor))
        finally:
            os.close(descriptor)

    def forget(self, path: bytes) -> None:
        """This name moves away or is removed: what is held of it and below is let go."""
        inside = path + b"/"
        for held in [held for held in self._open if held == path or held.startswith(inside)]:
            os.close(self._open.pop(held))
        for loosened in [loosened for loosened in self._loosened if loosened == path or loosened.startswith(inside)]:
            del self._loosened[loosened]

    def loosen(self, path: bytes) -> bool:
        """Let the owner work in a directory for now. True if that changed something, so that it is worth another try."""
        if path == ROOT or not self._may_loosen:
            return False
        held = self.open(path)
        mode = os.fstat(held).st_mode & 0o7777
        if mode & _LOOSE == _LOOSE:
            return False
        change_mode(held, mode | _LOOSE)
        self._loosened.setdefault(path, mode)
        return True

    def loosened(self) -> dict[bytes, int]:
        """What was loosened, with the modes to give back."""
        return dict(self._loosened)

    def settled(self, path: bytes) -> None:
        """This directory has the mode that it shall have: there is nothing to give back."""
        self._loosened.pop(path, None)

    def tighten(self) -> None:
        """Give every loosened directory its mode back, deepest first, as far as it is there still."""
        for path in sorted(self._loosened, key=depth, reverse=True):
            mode = self._loosened.pop(path)
            with suppress(OSError):
                change_mode(self.open(path), mode)

    def close(self) -> None:
        """Let go of all descriptors. Idempotent."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _enter(self, path: bytes, above: int) -> int:
        try:
            descriptor = os.open(basename(path), HOLD_DIRECTORY, dir_fd=above)
        except PermissionError:
            if not self.loosen(parent(path)):
                raise
            descriptor = os.open(basename(path), HOLD_DIRECTORY, dir_fd=above)
        self._open[path] = descriptor
        if len(self._open) > self._limit:
            os.close(self._open.popitem(last=False)[1])
        return descriptor
