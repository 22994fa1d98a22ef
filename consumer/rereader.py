"""The thread that re-reads a replica's disk beside its index, paced or at full speed. It only looks, and says what it suspects.

It owns its directories and its connection to the index; what it says goes through a bounded queue, in order, to the thread that
applies. It never waits for that thread but by this queue, and touches nothing of what that one owns.
"""

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from common.board import Board
from common.digests import BUCKETS
from common.io_priority import lower_io_priority
from common.pace import Pace, units
from common.resting import rest
from consumer.appearance import Appearance
from consumer.clearing import Protects
from consumer.drifting import Seen
from consumer.faults import during
from consumer.rereading import look
from consumer.scrub_record import Pass
from consumer.sweep import IndexReader, RekeyedError, Selects, Sweep, every_bucket, is_mostly_stale
from consumer.walking import Directories

log = logging.getLogger("treecast")

QUEUE_LIMIT = 1024
LOOP = "scrub"
TICK_SECONDS = 1.0
SETTLE_SECONDS = 0.25
"""How often it looks, at the end of a pass, whether it is to read something again."""
BREATH_PATHS = 256
CLOSE_SECONDS = 2.0
RETRY_SECONDS = 30.0
"""After an error of the index's file or of a lack of descriptors."""


class Suspicion(NamedTuple):
    """A path that did not look as it should, or could not be read."""

    path: bytes
    seen: Seen


class Reached(NamedTuple):
    """A pass is so far; every suspicion until there was said before."""

    here: Pass


class Over(NamedTuple):
    """Everything was looked at: so many paths, and so many bytes of files. `settled` is waited for before the next pass."""

    run: int
    paths: int
    size_bytes: int


Item = Suspicion | Reached | Over


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. `state`: resting, waiting (for buckets to be level) or reading."""

    state: str = "resting"
    run: int = 0
    began: float = 0.0
    paths: int = 0
    size_bytes: int = 0
    ratio: float = 0.0
    left_seconds: float | None = None


class _InterruptedPass(Exception):
    """Stop, or something more urgent: an order, or the next pass."""


class Disk(NamedTuple):
    """What is read: the target's root (a descriptor that stays the caller's), the state's database; how the tree shows there."""

    root: int
    protects: Callable[[], Protects | None]
    appearance: Appearance
    database: Path


class Rereader:
    """See the module. `start` once, then `order` at any time; `items` is read by one other thread."""

    def __init__(
        self, disk: Disk, board: Board, interval_seconds: float | None, *, may_go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """`interval_seconds`: None: only when ordered. `may_go_on`: False while there is enough to repair."""
        self.items: queue.Queue[Item] = queue.Queue(QUEUE_LIMIT)
        self._again: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.progress = Progress()
        self._disk = disk
        self._board = board
        self._interval_seconds = interval_seconds
        self._may_go_on = may_go_on
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._settled = threading.Event()
        self._next: Pass | None = None
        self._lock = threading.Lock()
        self._root = -1
        self._rests_until = 0.0
        self._pace = Pace(0, None, 0)
        self._paths = self._size_bytes = self._since_breath = 0
        self._thread: threading.Thread | None = None

    # -- for other threads
    def start(self, left_off: Pass | None) -> None:
        """Begin, with the pass that an earlier process left off. Raises NoRoomError, HaltError."""
        if left_off is not None and (left_off.run or self._interval_seconds is not None):
            self._next = left_off
        self._stop.clear()
        self._wake.clear()
        # One of its own, which it closes: who owns the target may let go of it first.
        with during("starting the scrub"):
            self._root = os.dup(self._disk.root)
        self._thread = threading.Thread(target=self._run, name=LOOP, daemon=True)
        self._thread.start()

    def order(self, run: int) -> None:
        """Read everything at once, from the beginning; whatever is under way is given up for it."""
        with self._lock:
            self._next = Pass(run, time.time())
            self._wake.set()

    def look_again(self, path: bytes) -> None:
        """Read this path once more; a suspicion of it comes in any case, and says what is there now."""
        self._again.put(path)

    def settled(self) -> None:
        """What the pass found was dealt with: the next one may begin when its time comes."""
        self._settled.set()

    def close(self) -> None:
        """End. Idempotent."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=CLOSE_SECONDS)
            self._thread = None
            self._board.untick(LOOP)

    # -- the thread
    def _run(self) -> None:
        lower_io_priority()
        try:
            self._go_on()
        finally:
            os.close(self._root)

    def _go_on(self) -> None:
        here: Pass | None = None
        while not self._stop.is_set():
            try:
                here = self._take_next() if here is None or self._wake.is_set() else here
                self._read(here)
                here = None
            except RekeyedError:
                log.info("the scrub begins anew: another epoch has other buckets")
            except _InterruptedPass:
                here = None
            except (OSError, sqlite3.Error) as error:
                # The same pass again: whoever ordered it waits for its end.
                log.warning("the scrub begins again in %.0f s: %s", RETRY_SECONDS, error)
                with suppress(_InterruptedPass):
                    self._rest(RETRY_SECONDS)

    def _take_next(self) -> Pass:
        """The pass to make now; rests until there is one."""
        self.progress = replace(self.progress, state="resting")
        while self._next is None and self._interval_seconds is None:
            self._rest(TICK_SECONDS)
        while self._next is None and (left := self._rests_until - time.monotonic()) > 0:
            self._rest(left)
        with self._lock:
            self._wake.clear()
            taken, self._next = self._next, None
        return taken or Pass(0, time.time())

    def _read(self, here: Pass) -> None:
        self._paths = self._size_bytes = self._since_breath = 0
        self.progress = Progress("waiting", here.run, here.began)
        # Behind a paced pass the next one begins when its interval is over; behind one at full speed, at once.
        self._rests_until = time.monotonic() + (0.0 if here.run else self._interval_seconds or 0.0)
        with closing(IndexReader(self._disk.database)) as reader, closing(self._directories()) as directories:
            while is_mostly_stale(reader.stale()):
                self._rest(TICK_SECONDS)
            here = here.under(reader.salt(), time.time())
            self._pace = self._paced(here, reader)
            if not here.is_swept:
                here = self._sweep(here, directories, reader)
            while here.left:
                self._wait_for_level(here, reader)
                here = self._sweep(here, directories, reader)
            self._settled.clear()
            self._say(Over(here.run, self._paths, self._size_bytes))
            while not self._settled.is_set():
                directories.close()
                self._look_again(directories, reader)
                self._rest(SETTLE_SECONDS)

    def _look_again(self, directories: Directories, reader: IndexReader) -> None:
        while not self._again.empty():
            path = self._again.get()
            self._say(Suspicion(path, look(directories, path, reader.entry(path), self._pulse)))

    def _directories(self) -> Directories:
        return Directories(self._root, may_loosen=False)

    def _paced(self, here: Pass, reader: IndexReader) -> Pace:
        total = units(*reader.totals())
        share = len(here.left) / BUCKETS if here.is_swept else 1.0
        done = total - share * (units(*reader.totals(here.after)) if here.after else total)
        now = time.monotonic()
        if here.run or self._interval_seconds is None:
            return Pace(total, None, now, done, done)
        return Pace.over(self._interval_seconds, total, done, now, time.time() - here.began)

    def _wait_for_level(self, here: Pass, reader: IndexReader) -> None:
        self.progress = replace(self.progress, state="waiting")
        while here.left & reader.stale():
            self._rest(TICK_SECONDS)
            if not here.run and time.monotonic() >= self._rests_until:
                raise _InterruptedPass

    def _sweep(self, here: Pass, directories: Directories, reader: IndexReader) -> Pass:
        """Look at everything behind a path, or in the buckets that were left. Returns the pass as it is then."""
        self.progress = replace(self.progress, state="reading")
        selects: Selects = here.left.__contains__ if here.is_swept else every_bucket
        sweep = Sweep(
            directories,
            reader,
            self._disk.protects(),
            after=here.after,
            salt=here.salt,
            selects=selects,
            pulse=self._pulse,
            appearance=self._disk.appearance,
        )
        left_before = frozenset() if here.is_swept else here.left
        for passed in sweep:
            if passed.seen is not None:
                self._say(Suspicion(passed.path, passed.seen))
            self._pace.done += passed.is_read
            self._since_breath += 1
            wait_seconds = self._pace.wait_seconds(time.monotonic())
            if self._since_breath >= BREATH_PATHS or wait_seconds:
                self._breathe()
                self._look_again(directories, reader)
                if not here.is_swept:
                    self._say(Reached(here._replace(after=passed.path, left=left_before | sweep.left_out)))
            if wait_seconds:
                # What is held open may be moved away meanwhile.
                directories.close()
                self._rest(wait_seconds)
        self._breathe()
        swept = here._replace(after=b"", is_swept=True, left=left_before | sweep.left_out)
        self._say(Reached(swept))
        return swept

    def _pulse(self, size_bytes: int) -> None:
        """A piece of a file was read."""
        self._size_bytes += size_bytes
        self._pace.done += units(0, size_bytes)
        if self._stop.is_set():
            raise _InterruptedPass
        wait_seconds = self._pace.wait_seconds(time.monotonic())
        if wait_seconds:
            self._rest(wait_seconds)

    def _breathe(self) -> None:
        """A sign of life, and a look at whether there is something more urgent."""
        self._board.tick(LOOP)
        self._paths, self._since_breath = self._paths + self._since_breath, 0
        left_seconds = self._pace.left_seconds(time.monotonic())
        self.progress = replace(
            self.progress,
            paths=self._paths,
            size_bytes=self._size_bytes,
            ratio=self._pace.ratio,
            left_seconds=left_seconds,
        )
        while not self._may_go_on():
            self._rest(TICK_SECONDS)
        if self._wake.is_set():
            raise _InterruptedPass

    def _rest(self, seconds: float) -> None:
        """Wait, with signs of life. Ends early, as the pass, when there is something more urgent."""
        if not rest(seconds, self._wake, partial(self._board.tick, LOOP), TICK_SECONDS):
            raise _InterruptedPass

    def _say(self, item: Item) -> None:
        while True:
            try:
                self.items.put(item, timeout=TICK_SECONDS)
            except queue.Full:
                self._rest(0)
            else:
                return
