"""A bell that one thread waits at, and that threads and other processes ring. Knows pipes; not what there is to see.

Beside SQLite it saves polling: a commit is seen at once, an idle reader costs nothing. A lost ring costs half a second.
"""

import contextlib
import os
import select
import threading
from pathlib import Path

POLL_SECONDS = 0.5
"""How long to trust in being rung for, at most."""
DEAF_POLL_SECONDS = 0.02
"""The same where the file system has no named pipes."""
_DRAIN_BYTES = 65536


class Bell:
    """One waiter. `hang` makes it heard by other processes, under a path; only one process may hang a bell there."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._named: int | None = None
        # Who nudges must not write into a descriptor that has become another's.
        self._closing = threading.Lock()
        self._is_closed = False
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)

    @property
    def poll_seconds(self) -> float:
        """How long the waiter may wait before it should look by itself."""
        return DEAF_POLL_SECONDS if self._named is None else POLL_SECONDS

    def hang(self, path: Path) -> None:
        """Let other processes ring at this path. Where that cannot be had, `poll_seconds` is short instead."""
        self.take_down()
        with contextlib.suppress(OSError):
            if not path.is_fifo():
                os.mkfifo(path, 0o600)
            # For reading and writing: there is always a writer, so poll never reports a hang-up.
            self._named = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._poll.register(self._named, select.POLLIN)

    def take_down(self) -> None:
        """No other process is heard any more. The path stays. Idempotent."""
        if self._named is not None:
            self._poll.unregister(self._named)
            os.close(self._named)
            self._named = None

    def nudge(self) -> None:
        """Ring from any thread of this process. After `close` nothing happens."""
        with self._closing, contextlib.suppress(BlockingIOError):
            if not self._is_closed:
                os.write(self._write, b"!")

    def wait(self, timeout_seconds: float) -> None:
        """Until somebody rings, or rang since the last wait, or the time is over."""
        for descriptor, _ in self._poll.poll(max(0.0, timeout_seconds) * 1000):
            with contextlib.suppress(BlockingIOError):
                os.read(descriptor, _DRAIN_BYTES)

    def close(self) -> None:
        """End. Nobody may wait afterwards. Idempotent."""
        self.take_down()
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._read)
                os.close(self._write)


def ring(path: Path) -> None:
    """Ring the bell that another process (or thread) hung at this path; if there is none, nothing happens."""
    # RACE: nobody may listen yet, or the pipe may be full of rings. Either way the waiter will look.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.write(descriptor, b"!")
        finally:
            os.close(descriptor)
