"""One process per thing: state directory, target, queue. Knows flock; not what the lock is for.

The lock is on a file of its own, which stays when the lock is gone: removing it would let two processes in. The kernel
gives it up when the process ends, however it ends.
"""

import errno
import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType

from common.errors import AlreadyRunningError

_HOLDER_LIMIT_BYTES = 512


def this_process() -> str:
    """How a holder names itself: "host:pid"."""
    return f"{socket.gethostname()}:{os.getpid()}"


class ProcessLock:
    """An exclusive lock between processes (and between two objects of one). Not re-entrant.

    `holder` is written into the file, so that others can say who is in their way. OSError comes through where the file
    cannot be made or locked at all.
    """

    def __init__(self, path: Path, holder: str = "") -> None:
        self.path = path
        self.holder = holder or this_process()
        self.rival = ""
        """Who held it when the last try failed, as far as they said; "another process" otherwise."""
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def try_acquire(self) -> bool:
        """Take it if it is free. True if it is held now; otherwise `rival` says by whom."""
        if self._descriptor is not None:
            return True
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                is_locked = self._lock(descriptor)
                if is_locked and not self._is_current(descriptor):
                    # RACE: the file was removed between open and lock. A lock on what nobody can open excludes nobody.
                    continue
                if is_locked:
                    self._descriptor, descriptor = descriptor, -1
                    self._write_holder()
                return is_locked
            finally:
                if descriptor >= 0:
                    os.close(descriptor)

    def acquire(self) -> None:
        """Take it. Raises AlreadyRunningError that names the other process."""
        if not self.try_acquire():
            raise AlreadyRunningError(f"{self.path} is locked by {self.rival}; stop that process first")

    def release(self) -> None:
        """Give it up. Idempotent."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        os.ftruncate(descriptor, 0)
        # Not by close alone: a forked child may have the same open file.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def __enter__(self) -> "ProcessLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _lock(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            text = os.pread(descriptor, _HOLDER_LIMIT_BYTES, 0).decode("utf-8", "replace").strip()
            self.rival = text if text.isprintable() and text else "another process"
            return False
        return True

    def _is_current(self, descriptor: int) -> bool:
        ours = os.fstat(descriptor)
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def _write_holder(self) -> None:
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, self.holder.encode()[:_HOLDER_LIMIT_BYTES], 0)
