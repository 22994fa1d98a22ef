"""Runs a hook's command: the paths on its standard input, no shell, a group of processes of its own that can be ended whole.

Knows processes and pipes, nothing of replicas. What the command writes is read and forgotten, but for its last line.
"""

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from consumer.hook_calls import Came, Result, one_line

LOOK_SECONDS = 0.05
"""How often it is looked whether the command has ended, or must be."""
PIECE_BYTES = 64 * 1024
TAIL_BYTES = 2048
GRACE_SECONDS = 2.0
"""Between the polite signal and the last one, when it took too long."""
STOP_GRACE_SECONDS = 0.5
"""The same when this process ends."""


class CommandCall:
    """Implements `Call`."""

    def __init__(self, words: tuple[str, ...], environment: Mapping[str, str], timeout_seconds: float) -> None:
        self._words = words
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._aborted = threading.Event()

    def abort(self) -> None:
        """End it soon."""
        self._aborted.set()

    def run(self, listing: bytes) -> Result:
        """Run the command to its end."""
        try:
            process = subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            return Result(Came.FAILED, f"{self._words[0]} cannot be started: {error.strerror or error}")
        deadline = time.monotonic() + self._timeout_seconds
        with process, _Talk(process, listing) as talk:
            while process.poll() is None:
                if self._aborted.is_set():
                    _end(process, STOP_GRACE_SECONDS)
                    return Result(Came.STOPPED)
                if time.monotonic() >= deadline:
                    _end(process, GRACE_SECONDS)
                    return Result(Came.TIMEOUT, f"it took longer than {self._timeout_seconds:g} s{talk.last_words()}")
                talk.step(LOOK_SECONDS)
            talk.read_rest()
            return _judged(process.returncode, talk.last_words())


def _judged(code: int, last_words: str) -> Result:
    if code == 0:
        return Result(Came.OK)
    how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with {code}"
    return Result(Came.FAILED, f"it {how}{last_words}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(process: "subprocess.Popen[bytes]", grace_seconds: float) -> None:
    """Ends the command and all that it started in its group. It was not waited for yet, so the group's number is its own.

    RACE: between the wait and the last signal the number is free, if nobody is left in the group: a new group would have to get
    it within microseconds.
    """
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_seconds)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


class _Talk:
    """Both pipes of a command, without waiting for one while the other is full. A context."""

    def __init__(self, process: "subprocess.Popen[bytes]", listing: bytes) -> None:
        assert process.stdin is not None, "it was asked for"
        assert process.stdout is not None, "it was asked for"
        self._stdin, self._stdout = process.stdin, process.stdout
        self._left = memoryview(listing)
        self._tail = b""
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> "_Talk":
        for pipe, event in ((self._stdin, selectors.EVENT_WRITE), (self._stdout, selectors.EVENT_READ)):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, event)
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        with suppress(BrokenPipeError):
            self._stdin.close()

    def step(self, wait_seconds: float) -> None:
        """Write and read what can be, after at most so long."""
        if not self._selector.get_map():
            time.sleep(wait_seconds)
        for key, _ in self._selector.select(wait_seconds):
            if key.fileobj is self._stdin:
                self._write()
            else:
                self._read()

    def read_rest(self) -> None:
        """What the command left in its pipe. What it started may hold the other end open: nobody waits for that."""
        for _ in range(1024):
            if not self._read():
                return

    def last_words(self) -> str:
        """The last line that it wrote, to be put behind a reason."""
        lines = self._tail.decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f": {one_line(last)}" if last else ""

    def _write(self) -> None:
        """A command that does not want to know all of it need not read it."""
        try:
            self._left = self._left[os.write(self._stdin.fileno(), self._left[:PIECE_BYTES]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._left = self._left[:0]
        if not self._left:
            self._selector.unregister(self._stdin)
            self._stdin.close()

    def _read(self) -> bool:
        """Whether there may be more now."""
        try:
            piece = os.read(self._stdout.fileno(), PIECE_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            with suppress(KeyError):
                self._selector.unregister(self._stdout)
        self._tail = (self._tail + piece)[-TAIL_BYTES:]
        return bool(piece)
