"""Does: one life of the process that makes answers, as its parent sees it: its pipes, its credit, its end.

What is said to it waits here while its pipe is full; what it says is read by a thread, cut into parcels and counted. It makes no
more than it has credit for. Knows neither when to start it nor what its parcels are for.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from producer.answerer import Said, size_of
from producer.parcels import Asked, Credit, Cutter, Forget, Idle, Parcel, pack

PIPE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
WAKE_BYTES = 128 * 1024
UNHEARD_LIMIT_BYTES = 8 * 1024 * 1024
"""So much may wait for it; what is more is not said. Questions come again."""


class AnsweringChild:
    """One life. Owned by one thread but for `_read`."""

    def __init__(self, journal: Path, source: Path, wake: Callable[[], None], exclude: Sequence[str] = ()) -> None:
        """Starts it; `wake` is called when it said something, or ended. Raises OSError."""
        self._wake = wake
        self._lock = threading.Lock()
        self._parcels: deque[Said] = deque()
        self._received_bytes = 0
        self._taken_bytes = 0
        self._granted_bytes = 0
        self._asked = 0
        self._idle_heard = 0
        self._unheard = bytearray()
        self.is_told_to_end = False
        self.parcels_heard = 0
        """A sign of life."""
        self.exit_code: int | None = None
        """How it ended; None while it lives."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "producer.answering", str(journal), str(source), *exclude],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            bufsize=0,
        )
        self._input, self._output = _descriptor(self._process.stdin), _descriptor(self._process.stdout)
        os.set_blocking(self._input, False)
        self._thread = threading.Thread(target=self._read, name="answering-reader", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_busy(self) -> bool:
        """Whether a question that it was asked may still wait."""
        with self._lock:
            return self._asked != self._idle_heard

    @property
    def promised_bytes(self) -> int:
        """How much more it may say; below 0 when its last message was more than it had credit for."""
        with self._lock:
            return self._granted_bytes - self._received_bytes

    @property
    def has_said(self) -> bool:
        """Whether something that it said was not taken yet."""
        return bool(self._parcels)

    @property
    def is_unheard(self) -> bool:
        """Whether its pipe was full: `flush` again."""
        return bool(self._unheard)

    def say(self, parcel: Parcel) -> None:
        """Say something to it, at once if its pipe has room. Never waits, never fails: an end is seen by `exit_code`."""
        if self.is_told_to_end or len(self._unheard) > UNHEARD_LIMIT_BYTES:
            return
        if isinstance(parcel, Asked):
            self._asked += 1
        elif isinstance(parcel, Credit):
            self._granted_bytes += parcel.bytes
        self._unheard += pack(parcel)
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as its pipe has room."""
        try:
            while self._unheard:
                del self._unheard[: os.write(self._input, self._unheard)]
        except BlockingIOError:
            pass
        except OSError:
            self._unheard.clear()

    def take(self, room_bytes: float) -> list[Said]:
        """What it said, at most one message over the room."""
        taken: list[Said] = []
        while self._parcels and room_bytes > 0:
            said = self._parcels.popleft()
            taken.append(said)
            room_bytes -= size_of(said)
            self._taken_bytes += size_of(said)
        return taken

    def end(self) -> None:
        """Tell it to end: it does, after the answer that it is making. Idempotent."""
        if not self.is_told_to_end:
            self.is_told_to_end = True
            self._unheard.clear()
            assert self._process.stdin is not None
            self._process.stdin.close()

    def kill(self) -> None:
        """End it at once. Idempotent."""
        self._process.kill()

    def close(self, timeout_seconds: float) -> None:
        """End it, by force after the time, and wait for that. Idempotent."""
        self.end()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            self.kill()
            self._thread.join()

    def how_it_ended(self) -> str:
        """In words for a person."""
        code = self.exit_code or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _read(self) -> None:
        """The thread: until it has ended."""
        cutter = Cutter()
        assert self._process.stdout is not None
        with self._process.stdout:
            while data := os.read(self._output, READ_BYTES):
                for parcel in cutter.cut(data):
                    self._heard(parcel)
                if self._is_worth_a_wake():
                    self._wake()
        self.exit_code = self._process.wait()
        self._wake()

    def _is_worth_a_wake(self) -> bool:
        """Where more is certain to come at once, the loop need not turn for each piece."""
        with self._lock:
            untaken_bytes = self._received_bytes - self._taken_bytes
            is_at_rest = self._asked == self._idle_heard or self._granted_bytes <= self._received_bytes
        return is_at_rest or untaken_bytes >= WAKE_BYTES

    def _heard(self, parcel: Parcel) -> None:
        self.parcels_heard += 1
        if isinstance(parcel, Idle):
            with self._lock:
                self._idle_heard = parcel.heard
            return
        assert not isinstance(parcel, Asked | Forget | Credit), "these go the other way"
        with self._lock:
            self._received_bytes += size_of(parcel)
        self._parcels.append(parcel)


def _descriptor(pipe: object) -> int:
    """Of a pipe that was made larger, where the system and its limits allow."""
    descriptor: int = pipe.fileno()  # type: ignore[attr-defined]
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor
