"""Does: hashes large files in a thread of its own, from descriptors, in slices: the loop never waits, memory is flat.

It says the digest of a content that the file really had: identity, mtime and size were the same before, between and after the
slices, and old enough to show a change. Knows no path but as a label, no index and no tree.
"""

import os
import stat
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from queue import SimpleQueue
from typing import NamedTuple

from common.digests import DIGEST_BYTES
from producer.freshness import FRESH_COARSE_NS, fresh_ns
from producer.values import Hashed, Identity

SLICE_BYTES = 1 << 20
CLOSE_SECONDS = 5.0


class Finished(NamedTuple):
    """What came of one file. `hashed` None: it changed while it was read, or cannot be read, and then `why` says so."""

    path: bytes
    hashed: Hashed | None
    why: str = ""


class HashingThread:
    """See the module. Used from one thread; `wake` is called from its own when something is finished."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._todo: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._done: SimpleQueue[Finished] = SimpleQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, path: bytes, file: int) -> None:
        """Hash this file after those begun before. The descriptor is ours from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hashing", daemon=True)
            self._thread.start()
        self._todo.put((path, file))

    def finished(self) -> list[Finished]:
        """What is finished since the last call, in the order in which it was begun."""
        return [self._done.get() for _ in range(self._done.qsize())]

    def close(self) -> None:
        """End it; what is not finished is let go. Idempotent."""
        self._stop.set()
        self._todo.put(None)
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            self._thread = None

    def _run(self) -> None:
        while (item := self._todo.get()) is not None:
            path, file = item
            try:
                finished = Finished(path, None) if self._stop.is_set() else self._hash(path, file)
            except OSError as error:
                finished = Finished(path, None, (os.strerror(error.errno) if error.errno else str(error)).lower())
            finally:
                os.close(file)
            self._done.put(finished)
            self._wake()

    def _hash(self, path: bytes, file: int) -> Finished:
        """Raises OSError."""
        before = os.fstat(file)
        fresh_seconds = min(FRESH_COARSE_NS, fresh_ns(before.st_mtime_ns, before.st_ctime_ns, time.time_ns())) / 1e9
        if not stat.S_ISREG(before.st_mode) or self._stop.wait(fresh_seconds):
            return Finished(path, None)
        digest = blake2b(digest_size=DIGEST_BYTES)
        size = 0
        while _is_same(before, os.fstat(file)) and not self._stop.is_set():
            piece = os.read(file, SLICE_BYTES)
            if not piece:
                is_whole = size == before.st_size and _is_same(before, os.fstat(file))
                return Finished(path, _hashed(path, digest.digest(), before) if is_whole else None)
            digest.update(piece)
            size += len(piece)
        return Finished(path, None)


def _hashed(path: bytes, digest: bytes, found: os.stat_result) -> Hashed:
    return Hashed(path, digest, Identity(found.st_ino, found.st_ctime_ns), found.st_mtime_ns, found.st_size)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether nothing was written between two looks at one open file."""
    return (one.st_ctime_ns, one.st_mtime_ns, one.st_size) == (other.st_ctime_ns, other.st_mtime_ns, other.st_size)
