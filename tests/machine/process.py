"""What a process stands on: a life that ends between two steps, a clock, chance and databases, all of them simulated.

`installed` puts them where the product's edge rooms look for `os`, `time`, `secrets` and `sqlite3`. A database is SQLite's own,
in memory; what was committed is durable, and nothing else.
"""

import errno
import logging
import sqlite3
import sys
import time as real_time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from random import Random
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import producer.service  # noqa: F401 - all rooms of the producer are there to be put on the simulation
from consumer import barrier, holding, opening
from tests.machine.disk import Disk
from tests.machine.sizes import shrink
from tests.machine.system import SimulatedOs
from tests.machine.threads import without_threads

ROOMS = ("common.", "consumer.", "producer.")


class Killed(BaseException):
    """The process dies here. Nothing in it may catch this, and nothing that it does afterwards has an effect."""


class Life:
    """One process's life. Each change of a disk, a database or a broker is a step."""

    def __init__(self) -> None:
        self.left: int | None = None
        """Steps until it dies; None: it lives."""
        self.is_dead = False
        self.steps = 0
        self.trace: list[str] | None = None

    def step(self, what: str) -> None:
        """Before each change."""
        if self.is_dead:
            raise Killed
        self.steps += 1
        if self.trace is not None:
            self.trace.append(what)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.is_dead = True
                raise Killed

    def begin(self) -> None:
        """The next process."""
        self.is_dead, self.left = False, None


class Clock:
    """Stands in for `time`; goes on when it is told, and a little with each look at it."""

    GLANCE_SECONDS = 1e-6
    START_UNIX_SECONDS = 1_700_000_000

    def __init__(self) -> None:
        self.now = 1000.0
        self.tick_ns = 4_000_000
        """How coarse the times of files are."""

    def begin(self) -> None:
        """Another world."""
        self.now, self.tick_ns = 1000.0, 4_000_000

    def monotonic(self) -> float:
        self.now += self.GLANCE_SECONDS
        return self.now

    perf_counter = monotonic

    def time(self) -> float:
        return self.START_UNIX_SECONDS + self.monotonic()

    def time_ns(self) -> int:
        return self.START_UNIX_SECONDS * 10**9 + int(self.monotonic() * 1e9)

    def file_ns(self) -> int:
        """What a file system writes as the time of a change."""
        return self.time_ns() // self.tick_ns * self.tick_ns

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    strftime = staticmethod(real_time.strftime)
    gmtime = staticmethod(real_time.gmtime)


class Chance:
    """Stands in for `secrets`: repeatable from a seed."""

    def __init__(self) -> None:
        self._rng = Random(0)

    def begin(self, seed: object) -> None:
        """Another world."""
        self._rng = Random(f"chance {seed}")

    def token_bytes(self, length: int) -> bytes:
        return self._rng.randbytes(length)

    def random(self) -> float:
        return self._rng.random()

    def randbits(self, count: int) -> int:
        return self._rng.getrandbits(count)

    def token_hex(self, length: int) -> str:
        return self.token_bytes(length).hex()


class SimulatedConnection(sqlite3.Connection):
    """A connection whose commits are steps of a life, and whose image outlives the process."""

    life: Life
    fault: Callable[[str], None]

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            self.life.step("commit")
            self._may_fail()
            done = super().execute(statement, *arguments)
            self.life.step("committed")
            return done
        return super().execute(statement, *arguments)

    def _may_fail(self) -> None:
        """As SQLite fails to commit: without room nothing was done; after another error it may have been."""
        try:
            self.fault("commit")
        except OSError as error:
            is_room = error.errno in (errno.ENOSPC, errno.EDQUOT)
            if not is_room and chance.random() < 0.5:
                super().execute("COMMIT")
            elif chance.random() < 0.5:
                super().execute("ROLLBACK")
            told = sqlite3.OperationalError("database or disk is full" if is_room else "disk I/O error")
            told.sqlite_errorcode = sqlite3.SQLITE_FULL if is_room else sqlite3.SQLITE_IOERR
            told.sqlite_errorname = "SQLITE_FULL" if is_room else "SQLITE_IOERR"
            raise told from error


class Reader:
    """A read-only connection: what it reads is what its writer last committed. It has a life of its own: nothing is a step."""

    def __init__(self, writer: sqlite3.Connection) -> None:
        self._writer = writer

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        return sqlite3.Connection.execute(self._writer, statement, *arguments)

    def close(self) -> None:
        """The writer's connection stays open."""


class Databases:
    """Stands in for `sqlite3` in the rooms that open a database: files by their path, each with what was last committed."""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}
        self._open: dict[str, SimulatedConnection] = {}
        self.life_of: Callable[[str], Life] = lambda path: Life()
        self.disk_of: Callable[[str], Disk | None] = lambda path: None

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def begin(self, life_of: Callable[[str], Life], disk_of: Callable[[str], Disk | None]) -> None:
        """Another world."""
        for path in list(self._open):
            self.end(path)
        self.images, self.life_of, self.disk_of = {}, life_of, disk_of

    def connect(self, path: Any, *, uri: bool = False, **_: Any) -> sqlite3.Connection:
        """Open what was committed last. Who only reads (`uri`) reads between commits of the one who writes."""
        if uri:
            return Reader(self._open[unquote(urlsplit(path).path)])  # type: ignore[return-value]  # as far as it is used
        connection = sqlite3.connect(":memory:", isolation_level=None, factory=SimulatedConnection)
        connection.life = self.life_of(str(path))
        disk = self.disk_of(str(path))
        connection.fault = lambda what: disk.fault(what) if disk is not None else None
        image = self.images.get(str(path))
        if image:
            connection.deserialize(image)
        self._open[str(path)] = connection
        return connection

    def image(self, path: str) -> bytes:
        """What is committed now."""
        connection = self._open.get(path)
        if connection is None:
            return self.images.get(path, b"")
        if connection.in_transaction:
            connection.rollback()
        is_empty = connection.execute("PRAGMA page_count").fetchone() == (0,)
        return b"" if is_empty else connection.serialize()

    def end(self, path: str) -> None:
        """The process that had it is gone: what was committed stays."""
        if path in self._open:
            with suppress(sqlite3.ProgrammingError):  # it was closed, as it should, after its last commit
                self.images[path] = self.image(path)
            self._open.pop(path).close()


class Costs(Clock):
    """The barrier's clock: by it, a sync costs something else each time, so that each of its ways is taken."""

    def monotonic(self) -> float:
        self.now += chance.random() / 1000
        return self.now

    perf_counter = monotonic


system = SimulatedOs()
clock = Clock()
chance = Chance()
databases = Databases()
STANDS_IN: dict[str, Any] = {"os": system, "time": clock, "secrets": chance, "sqlite3": databases}
STAY_REAL = frozenset({
    "common.control", "common.endings", "common.loading", "common.lock", "common.logs", "common.places", "common.process",
    "common.listen", "common.settings", "common.options", "producer.service",
})  # fmt: skip
"""The shell of a process: no part of the machine."""


class _Locks:
    """Stands in for `fcntl`: a process of the machine holds its target alone anyway."""

    LOCK_EX = LOCK_NB = 0

    def flock(self, descriptor: int, how: int) -> None:
        return None


@contextmanager
def installed() -> Iterator[None]:
    """The product stands on the simulation until the end."""
    patch = pytest.MonkeyPatch()
    logger = logging.getLogger("treecast")
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        for module in _rooms():
            _put_under(module, patch)
        shrink(patch, _rooms())
        without_threads(patch, system.dup, clock.sleep)
        patch.setattr(holding, "fcntl", _Locks())
        patch.setattr(holding, "_homes", set)
        patch.setattr(opening, "ProcessLock", lambda path: nullcontext())
        patch.setattr(barrier, "_syncfs", system.syncfs)
        patch.setattr(barrier, "time", Costs())
        yield
    finally:
        patch.undo()
        logger.disabled = was_disabled


def _rooms() -> list[ModuleType]:
    found = [module for name, module in sys.modules.items() if name.startswith(ROOMS) and name not in STAY_REAL]
    return [module for module in found if "transport" not in module.__name__ and ".watch." not in module.__name__]


def _put_under(module: ModuleType, patch: pytest.MonkeyPatch) -> None:
    for name, stand_in in STANDS_IN.items():
        if isinstance(getattr(module, name, None), ModuleType):
            patch.setattr(module, name, stand_in)
    if hasattr(module, "perf_counter"):
        patch.setattr(module, "perf_counter", clock.perf_counter)
