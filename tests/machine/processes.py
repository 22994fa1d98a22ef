"""The two kinds of process, made of the product's own parts as its services make them, on simulated machines.

A process is started, takes rounds of its loop, and ends or is killed. What happens to it, and when, is the world's business.
"""

import errno
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from common.board import Board
from common.errors import AlreadyRunningError, TreecastError
from common.holds import NO_HOLD, HoldLimit
from common.orders import Orders
from common.patterns import Patterns
from common.settings import ConsumeSettings
from consumer.apply import Applier
from consumer.opening import open_replica
from consumer.rereader import _InterruptedPass
from consumer.scrub_record import Pass
from consumer.scrub_tally import Tally
from consumer.service import Replica
from consumer.state import State
from producer.answerer import Said
from producer.journal import Journal
from producer.pipeline import Pipeline
from producer.source import Source
from producer.stream import begin_epoch
from producer.watch.choice import NoWatch
from producer.watch.port import Hint, Watch
from tests.local_answerer import LocalAnswerer
from tests.machine.broker import SimulatedBroker
from tests.machine.disk import DIRECTORY, Disk, Inode
from tests.machine.process import Life, clock, databases, system
from tests.machine.queues import UPSTREAM
from tests.machine.rules import Rules
from tests.machine.threads import Stop, do_one, hash_one

TREE = "tree"
MASTER = "master"
JOURNAL = f"/{MASTER}/state/journal.db"
SCAN_SECONDS = 0.5
SETTLE_SECONDS = 0.1


class LateAnswerer(LocalAnswerer):
    """Answers when it likes: a few at a time, while the stream goes on, and some only rounds after they were made."""

    def __init__(self, rng: Random, lateness: float, place: str, patterns: Rules) -> None:
        super().__init__(Path(f"/{place}/state/journal.db"), Path(f"/{place}/tree"), patterns)
        self._place, self._patterns = place, patterns
        self._rng = rng
        self._lateness = lateness
        self._late: list[Said] = []

    def take(self, room_bytes: float, now: float) -> list[Said]:
        for _ in range(self._rng.choice([1, 2, 50, 50])):
            if not len(self.answers):
                break
            try:
                self._late += self.answers.make()
            except (TreecastError, OSError):
                # The process that makes answers dies of it, and is started again.
                self.die()
                break
        late, self._late = self._late, []
        while late and self._rng.random() >= self._lateness:
            self._late.append(late.pop(0))
        self._late, late = late, self._late
        return late

    def die(self) -> None:
        """Its process is started again: what it was asked, and what it had made, is lost."""
        self.__init__(self._rng, self._lateness, self._place, self._patterns)  # type: ignore[misc]  # it begins anew


class HintingWatch:
    """A `Watch` that is told what is edited, until it overflows."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._hints: list[Hint] = []
        self._lost = 0
        self.is_deaf = False

    def start(self) -> None:
        self._hints = []

    def hint(self, path: bytes) -> None:
        """Something happened there; who is told of a directory scans it."""
        if not self.is_deaf:
            self._hints.append(Hint(path, True))

    def overflow(self) -> None:
        """What was lost is somewhere."""
        self.is_deaf, self._lost = False, self._lost + 1
        self._hints = [Hint(b"", True)]

    def drain(self) -> list[Hint]:
        taken, self._hints = self._hints, []
        return list(dict.fromkeys(taken))

    def overflows(self) -> int:
        return self._lost

    def uncovered(self) -> dict[bytes, str]:
        return {}

    def mark(self) -> int | None:
        return None

    def is_past(self, mark: int) -> bool:
        return True

    def is_alive(self) -> bool:
        return True

    def close(self) -> None:
        return None


class HeardBoard(Board):
    """A board that remembers how often something was said that a person should see."""

    said = 0

    def alarm(self, kind: str, detail: str) -> None:
        self.said += 1
        super().alarm(kind, detail)

    def problem(self, path: bytes, what: str) -> None:
        self.said += 1
        super().problem(path, what)


class ProducerProcess:
    """A producer, beside the master's tree: at `/PLACE/tree`, with its journal at `/PLACE/state`."""

    def __init__(
        self,
        disk: Disk,
        broker: SimulatedBroker,
        *,
        watches: bool,
        log_rows: int,
        lateness: float,
        hold: HoldLimit = NO_HOLD,
        place: str = MASTER,
    ) -> None:
        self.disk = disk
        self.place = place
        self.journal_path = f"/{place}/state/journal.db"
        self._hold = hold
        self._lateness = lateness
        self._log_rows = log_rows
        self._broker = broker
        self.watch = HintingWatch() if watches else None
        self.patterns: Rules = ()
        """What it leaves out from its next start on."""
        self.life = Life()
        self.is_running = False

    def start(self, on_publish: Callable[[Any], None]) -> None:
        """As `producer.service` puts it together."""
        self.life = Life()
        self.board = HeardBoard("producer", TREE)
        self.journal = Journal(Path(self.journal_path), TREE, log_limit_rows=self._log_rows)
        begin_epoch(self.journal)
        self.publisher = self._broker.publisher_of(self.life)
        self.publisher.on_publish = on_publish
        self.answerer = LateAnswerer(self._broker.rng, self._lateness, self.place, self.patterns)
        self._source = Source(Path(f"/{self.place}/tree"), Patterns(self.patterns), settle_seconds=SETTLE_SECONDS)
        self.pipeline = Pipeline(
            self.journal,
            self._source,
            self.board,
            publisher=self.publisher,
            subscriber=self._broker.subscriber_of(UPSTREAM, self.life),
            answerer=self.answerer,
            make_watch=self._make_watch,
            leader=f"{self.place}:1",
            scan_interval_seconds=None if self.watch is not None else SCAN_SECONDS,
            hold=self._hold,
        )
        self.is_running = True

    @property
    def faults_met(self) -> int:
        """How often its disk has failed by the fault that it has now."""
        hits: int = getattr(self.disk.fault, "hits", 0)
        return hits

    def _make_watch(self) -> Watch:
        return self.watch if self.watch is not None else NoWatch(lambda: None, "not watched")

    def round(self) -> None:
        """One step of its loop. Ends by itself when another leads."""
        try:
            self.pipeline.step(clock.monotonic())
        except AlreadyRunningError:
            self.end()

    def hash_one(self) -> bool:
        """What the hashing thread does next. False: nothing waits."""
        return hash_one(self.pipeline._comparer._hashing)

    def end(self) -> None:
        """The process is gone; all it had open is closed, all it had not committed is lost."""
        self.life.is_dead = True
        self.is_running = False
        self._broker.forget(self.life)
        system.forget_process(self.disk)
        databases.end(self.journal_path)


class ReplicaProcess:
    """A consumer and its target, at `/NAME/target`."""

    def __init__(self, name: str, disk: Disk, broker: SimulatedBroker, hold: HoldLimit) -> None:
        self.name = name
        self.disk = disk
        self._broker = broker
        self.life = Life()
        self.is_running = False
        self._hold = hold
        self.protect: Rules = ()
        self.foreign = "aside"
        """What it protects, and what becomes of what is foreign, from its next start on."""
        self._faults_beside = 0
        """How often its threads met a fault of the disk: the loop may hear of that when the disk is mended."""
        self.state_path = f"/{name}/state/state.db"

    @property
    def errors_met(self) -> int:
        """How often its disk has failed by an error that is no want of room: that the reserve may cure in silence."""
        is_unsound = getattr(self.disk.fault, "number", 0) in (errno.EIO, errno.EROFS)
        return self._hits if is_unsound else 0

    @property
    def target(self) -> Inode:
        """The directory that readers see."""
        target = self.disk.root.names[b"target"]
        assert target.kind == DIRECTORY
        return target

    def start(self, steps_to_death: int | None = None) -> None:
        """As `consumer.service` puts it together."""
        self.settings = _settings(self.name, self._hold, self.protect, self.foreign)
        self.life = Life()
        self.life.left = steps_to_death
        self.disk.step = self.life.step
        self.is_running = True
        self.board = HeardBoard("consumer", TREE, self.name)
        self._parts = ExitStack()
        self.orders = Orders()
        stop = Stop(clock.sleep)
        self.state: State
        self.state, target = open_replica(self.settings, stop, self.board, self._parts, self._no_broker)
        self.subscriber = self._broker.subscriber_of(self.name, self.life)
        self.publisher = self._broker.publisher_of(self.life)
        self.replica = Replica(
            self.settings,
            self.state,
            Applier(target, self.state, self.board),
            self.publisher,
            self.subscriber,
            self.board,
            stop=stop,
            orders=self.orders,
        )
        self._start_scrub()
        self.replica._telling.show_old_problems()
        self.life.left = None

    def _start_scrub(self) -> None:
        """As its `running` begins; its end is another step of a process that ends well."""
        scrub = self.replica._scrub
        scrub._record = self.state.scrub.read()
        under_way = scrub._record.under_way
        scrub._tally = Tally(under_way.run if under_way is not None else 0, clock.monotonic())
        scrub._rereader.start(under_way)

    @property
    def faults_met(self) -> int:
        """How often its disk has failed by the fault that it has now, and its threads by any since it started."""
        return self._hits + self._faults_beside

    @property
    def _hits(self) -> int:
        return int(getattr(self.disk.fault, "hits", 0))

    @staticmethod
    def _no_broker() -> Any:
        raise AssertionError("no start here needs a broker")

    def round(self) -> None:
        """One round of its loop."""
        self.replica._round()

    def reread(self) -> None:
        """What the thread of the scrub does beside the loop: one pass over the disk, as if it had been ordered."""
        scrub = self.replica._scrub
        run = scrub._order({})["run"]
        rereader = scrub._rereader
        here, rereader._next = rereader._next or Pass(run, clock.time()), None
        rereader._wake.clear()
        # After an error the thread begins the same pass again, later.
        with suppress(_InterruptedPass, OSError, sqlite3.Error):
            rereader._read(here)

    def work_one(self) -> bool:
        """What the threads for large contents do next. False: nothing waits."""
        large, hits = self.replica._large, self._hits
        try:
            return do_one(large._lane) or do_one(large._copying._lane)
        finally:
            self._faults_beside += self._hits - hits

    def release(self) -> int:
        """A person says that what is held here is meant. How many paths were."""
        released: int = self.replica._handlers["hold-release"]({})["released"]
        return released

    def end(self) -> None:
        """The process is gone."""
        self.life.is_dead = True
        self.is_running, self._faults_beside = False, 0
        self._broker.forget(self.life)
        system.forget_process(self.disk)
        databases.end(self.state_path)


@cache
def _settings(name: str, hold: HoldLimit, protect: Rules, foreign: str) -> ConsumeSettings:
    return ConsumeSettings(
        tree=TREE,
        broker="sqlite:////nowhere/queue.db",
        target=Path(f"/{name}/target"),
        state=Path(f"/{name}/state"),
        replica=name,
        adopt=True,
        hold=hold,
        protect=protect,
        foreign=foreign,  # type: ignore[arg-type]  # one of the three words
    )
