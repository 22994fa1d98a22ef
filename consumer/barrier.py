"""Makes what was written durable: fsync for each of a few, one syncfs for many. Knows no tree.

Which is cheaper is learnt as it runs: an fsync costs about 0.25 ms for each file, a syncfs 0.3 ms and a few microseconds
for each file, but it waits for whatever else is dirty on the file system. After an error nothing is believed any more: a
second fsync may say "done" although the data is lost.
"""

import ctypes
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NoReturn

from common.errors import HaltError
from common.names import ROOT, basename, parent
from consumer.descriptors import LIST, READ
from consumer.faults import NOT_THERE
from consumer.walking import Directories

FSYNC_SECONDS = 0.00025
"""Measured on ext4 for a file of 200 bytes; the first guess."""
SYNCFS_SECONDS = 0.00035
_MEMORY = 0.8
"""How much of what was measured before stays in the estimate."""

_libc = ctypes.CDLL(None, use_errno=True)
_syncfs = getattr(_libc, "syncfs", None)


class Barrier:
    """The barriers of one file system.

    `descriptor` was opened before the first write, and not with O_PATH: only then does syncfs tell of errors.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_broken = False
        self._one_seconds = FSYNC_SECONDS
        self._all_seconds = SYNCFS_SECONDS if _syncfs is not None else float("inf")

    def make_durable(self, count: int, open_each: Callable[[], Iterable[int]]) -> None:
        """Make `count` files and directories durable. `open_each` opens them one by one; each is closed here.

        Raises HaltError when a sync fails, and again whenever it is called after that; OSError where opening fails for other
        reasons than permission.
        """
        if self._is_broken:
            self._refuse()
        if count * self._one_seconds > self._all_seconds:
            self._sync_all()
            return
        try:
            self._sync_each(count, open_each)
        except PermissionError:
            # One that we may not open, by its mode: a barrier over everything needs no permission.
            self._sync_all()

    def make_all_durable(self) -> None:
        """Make everything on the file system durable. Raises HaltError as `make_durable` does."""
        if self._is_broken:
            self._refuse()
        if _syncfs is not None:
            self._sync_all()
        else:
            os.sync()

    def _sync_all(self) -> None:
        began = time.perf_counter()
        if _syncfs is None:
            os.sync()
        elif _syncfs(self._descriptor) != 0:
            self._break(os.strerror(ctypes.get_errno()))
        self._all_seconds = _MEMORY * self._all_seconds + (1 - _MEMORY) * (time.perf_counter() - began)

    def _sync_each(self, count: int, open_each: Callable[[], Iterable[int]]) -> None:
        began = time.perf_counter()
        for descriptor in open_each():
            try:
                os.fsync(descriptor)
            except OSError as error:
                self._break(error.strerror)
            finally:
                os.close(descriptor)
        measured = (time.perf_counter() - began) / max(count, 1)
        self._one_seconds = _MEMORY * self._one_seconds + (1 - _MEMORY) * measured
        # A syncfs that was slow once, because others were writing, is worth another try some day.
        self._all_seconds = _MEMORY * self._all_seconds + (1 - _MEMORY) * SYNCFS_SECONDS

    @staticmethod
    def _refuse() -> NoReturn:
        raise HaltError("the target's disk has failed a sync; check the disk, then restart")

    def _break(self, why: str | None) -> NoReturn:
        self._is_broken = True
        raise HaltError(f"the target's disk cannot be trusted: {why} while syncing. Check the disk, then restart")


def opened_to_sync(root: int, home: int, changed: Collection[bytes]) -> Iterator[int]:
    """Descriptors of what changed in a target and of its stage, one by one, each the caller's to close. Missing is fine.

    No mode may change any more: a barrier would make the changed one durable. Raises OSError.
    """
    directories = Directories(root, may_loosen=False)
    try:
        for path in changed:
            try:
                yield _open_one(directories, path)
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise
        yield os.dup(home)
    finally:
        directories.close()


def _open_one(directories: Directories, path: bytes) -> int:
    if path == ROOT:
        return os.open(b".", LIST, dir_fd=directories.open(ROOT))
    return os.open(basename(path), READ, dir_fd=directories.open(parent(path)))
