"""Does: reads every file of the source again in a thread of its own, slowly, and hints at those that are not as published.

It finds what no watcher and no lstat tells: other content under the same size and mtime. It only hints: each path is judged by
its own look, in the loop. It reads the journal's index through a connection of its own, and touches nothing of the loop's.
"""

import errno
import logging
import os
import queue
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from enum import Enum
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from common.board import Board
from common.digests import DIGEST_BYTES
from common.errors import NoRoomError, TreecastError
from common.io_priority import lower_io_priority
from common.names import basename, parent
from common.pace import Pace, units
from common.resting import rest
from producer.journal import Journal, Reread
from producer.journal_schema import open_reader
from producer.root import open_root
from producer.scan import open_directory

log = logging.getLogger("treecast")

LOOP = "comparison"
QUEUE_LIMIT = 1000
PAGE_ROWS = 500
PIECE_BYTES = 1 << 20
TICK_SECONDS = 1.0
RETRY_SECONDS = 30.0
SAVE_SECONDS = 60.0
CLOSE_SECONDS = 2.0

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_FILES = """SELECT path, mtime_ns, size, digest, inode, ctime_ns FROM entry
    WHERE kind = 1 AND path > ? ORDER BY path LIMIT ?"""


class File(NamedTuple):
    """An indexed file; `inode` as SQLite's signed number."""

    path: bytes
    mtime_ns: int
    size: int
    digest: bytes
    inode: int
    ctime_ns: int


class Verdict(Enum):
    """What came of reading one file."""

    SAME = "same"
    GONE = "gone"
    """Nothing is there: the business of watch and scans."""
    CHANGED = "changed"
    HIDDEN = "hidden"
    """Other content, and nothing but the content tells."""
    UNREADABLE = "unreadable"


class _Stopped(Exception):
    """The process ends."""


class Rereading:
    """See the module. `start` once; `serve` is called by the loop, which owns the journal."""

    def __init__(
        self, database: Path, source: Path, interval_seconds: float, board: Board, wake: Callable[[], None]
    ) -> None:
        self._database = database
        self._source = os.fsencode(source)
        self._interval_seconds = interval_seconds
        self._board = board
        self._wake = wake
        self._hints: queue.Queue[bytes] = queue.Queue(QUEUE_LIMIT)
        self._stop = threading.Event()
        self._may_read = threading.Event()
        self._here = Reread()
        self._pace = Pace(0, None, 0)
        self._is_clean = True
        self._saved = Reread()
        self._saved_at = time.monotonic()
        self._thread: threading.Thread | None = None

    # -- for the loop
    def start(self, left_off: Reread) -> None:
        """Begin, where an earlier process left off."""
        self._here = self._saved = left_off
        self._board.gauge("compare_interval_seconds", self._interval_seconds)
        self._board.gauge("compare_last_success_timestamp_seconds", left_off.ended)
        self._thread = threading.Thread(target=self._run, name=LOOP, daemon=True)
        self._thread.start()

    def serve(self, reread: Callable[[bytes], None], journal: Journal, *, may_read: bool) -> None:
        """Hand over what may have changed, and keep how far it is. `may_read`: whether the source is above doubt, and indexed."""
        if may_read:
            self._may_read.set()
        else:
            self._may_read.clear()
        here = self._here
        # What was hinted at before this point was reached is taken before the point is saved.
        with suppress(queue.Empty):
            while True:
                reread(self._hints.get_nowait())
        if here != self._saved and time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save(here, journal)

    def close(self, journal: Journal) -> None:
        """End. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=CLOSE_SECONDS)
            self._thread = None
            self._board.untick(LOOP)
            if self._hints.empty():
                self._save(self._here, journal)

    def _save(self, here: Reread, journal: Journal) -> None:
        self._saved_at = time.monotonic()
        with suppress(NoRoomError):
            journal.note_reread(here)
            self._saved = here

    # -- the thread
    def _run(self) -> None:
        lower_io_priority()
        while not self._stop.is_set():
            try:
                self._read_all()
            except _Stopped:
                return
            except (OSError, sqlite3.Error, TreecastError) as error:
                log.warning("the comparison of contents goes on in %.0f s: %s", RETRY_SECONDS, error)
                with suppress(_Stopped):
                    self._rest(RETRY_SECONDS)

    def _read_all(self) -> None:
        """One pass, or the rest of one."""
        began_at = time.monotonic()
        self._here = self._here._replace(began=self._here.began or time.time())
        while not self._may_read.is_set():
            self._rest(TICK_SECONDS)
        self._is_clean = True
        with closing(open_reader(self._database)) as database:
            total = _work(database, b"")
            done = total - (_work(database, self._here.after) if self._here.after else total)
            spent_seconds = time.time() - self._here.began
            self._pace = Pace.over(self._interval_seconds, total, done, time.monotonic(), spent_seconds)
            while page := _page(database, self._here.after):
                self._read_page(page)
        ended = time.time() if self._is_clean else self._here.ended
        self._here = Reread(ended=ended)
        self._board.gauge("compare_progress_ratio", 1.0)
        self._board.gauge("compare_last_success_timestamp_seconds", ended)
        self._rest(began_at + self._interval_seconds - time.monotonic())

    def _read_page(self, page: list[File]) -> None:
        while not self._may_read.is_set():
            self._rest(TICK_SECONDS)
        before = self._here
        with closing(_Contents(self._source)) as contents:
            for file in page:
                self._judge(file.path, contents.compare(file, self._pulse))
                self._pace.done += 1
                self._here = self._here._replace(after=file.path)
                self._pause()
        if not self._may_read.is_set():
            # The root came into doubt meanwhile: what seemed gone may only have been out of reach.
            self._here = before
        self._board.gauge("compare_progress_ratio", self._pace.ratio)

    def _judge(self, path: bytes, verdict: Verdict) -> None:
        if verdict is Verdict.HIDDEN:
            self._board.count("compare_findings_total")
        self._is_clean = self._is_clean and verdict is not Verdict.UNREADABLE
        if verdict in (Verdict.SAME, Verdict.GONE):
            return
        while True:
            try:
                self._hints.put(path, timeout=TICK_SECONDS)
            except queue.Full:
                self._rest(0)
            else:
                self._wake()
                return

    def _pulse(self, size_bytes: int) -> None:
        self._pace.done += units(0, size_bytes)
        self._pause()

    def _pause(self) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._board.tick(LOOP)
        wait_seconds = self._pace.wait_seconds(time.monotonic())
        if wait_seconds:
            self._rest(wait_seconds)

    def _rest(self, seconds: float) -> None:
        if not rest(seconds, self._stop, partial(self._board.tick, LOOP), TICK_SECONDS):
            raise _Stopped


def _work(database: sqlite3.Connection, after: bytes) -> float:
    query = "SELECT count(*), sum(size) FROM entry WHERE kind = 1 AND path > ?"
    files, size_bytes = database.execute(query, (after,)).fetchone()
    return units(files, size_bytes or 0)


def _page(database: sqlite3.Connection, after: bytes) -> list[File]:
    return [File(*row) for row in database.execute(_FILES, (after, PAGE_ROWS))]


class _Contents:
    """The source's files, reached by descriptors, never through a link. Raises RootGoneError."""

    def __init__(self, source: bytes) -> None:
        self._root = open_root(source)
        self._path: bytes | None = None
        self._directory = -1

    def close(self) -> None:
        self._leave()
        os.close(self._root)

    def compare(self, file: File, pulse: Callable[[int], None]) -> Verdict:
        """Read one file. What is between two states just now is CHANGED: its look will tell."""
        try:
            descriptor = os.open(basename(file.path), _OPEN, dir_fd=self._enter(parent(file.path)))
        except OSError as error:
            return Verdict.GONE if error.errno in _NOT_THERE else Verdict.UNREADABLE
        try:
            return _compare(descriptor, file, pulse)
        except OSError:
            return Verdict.UNREADABLE
        finally:
            os.close(descriptor)

    def _enter(self, directory: bytes) -> int:
        """RACE: one that is kept may be moved away meanwhile; then old content is compared with its old row, once."""
        if self._path != directory:
            self._leave()
            self._directory = open_directory(self._root, directory)
            self._path = directory
        return self._directory

    def _leave(self) -> None:
        if self._path is not None:
            os.close(self._directory)
            self._path = None


def _compare(descriptor: int, file: File, pulse: Callable[[int], None]) -> Verdict:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode) or before.st_size != file.size:
        return Verdict.CHANGED
    digest = blake2b(digest_size=DIGEST_BYTES)
    for piece in _pieces(descriptor):
        digest.update(piece)
        pulse(len(piece))
    if digest.digest() == file.digest:
        return Verdict.SAME
    after = os.fstat(descriptor)
    # As `producer.look` tells, without reading, that a file is the one that was read.
    is_hidden = (after.st_ino, after.st_ctime_ns) == (file.inode % (1 << 64), file.ctime_ns)
    is_hidden = is_hidden and (after.st_mtime_ns, after.st_size) == (file.mtime_ns, file.size)
    return Verdict.HIDDEN if is_hidden else Verdict.CHANGED


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE_BYTES):
        yield piece
