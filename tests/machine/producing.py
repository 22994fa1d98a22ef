"""A producer process, made of the product's own parts as its service makes them, on a simulated machine.

It is started, takes rounds of its loop, and ends or is killed. What happens to it, and when, is the world's business.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from common.errors import AlreadyRunningError, TreecastError
from common.holds import NO_HOLD, HoldLimit
from common.patterns import Patterns
from producer.answerer import Said
from producer.journal import Journal
from producer.pipeline import Pipeline
from producer.source import Source
from producer.stream import begin_epoch
from producer.watch.choice import NoWatch
from producer.watch.port import Hint, Watch
from tests.local_answerer import LocalAnswerer
from tests.machine.boards import TREE, HeardBoard
from tests.machine.broker import SimulatedBroker
from tests.machine.disk import Disk
from tests.machine.process import Life, clock, databases, system
from tests.machine.queues import UPSTREAM
from tests.machine.rules import Rules
from tests.machine.threads import hash_one

MASTER = "master"
JOURNAL = f"/{MASTER}/state/journal.db"
SCAN_SECONDS = 0.5
SETTLE_SECONDS = 0.1


class LateAnswerer(LocalAnswerer):
    """Answers when it likes: a few at a time, while the stream goes on, and some only rounds after they were made."""

    def __init__(self, rng: Random, lateness: float, place: str, patterns: Rules) -> None:
        super().__init__(Path(f"/{place}/state/journal.db"), Path(f"/{place}/tree"), patterns, clock.monotonic)
        self._place, self._patterns = place, patterns
        self._rng = rng
        self._lateness = lateness
        self._late: list[Said] = []

    def take(self, room_bytes: float, now: float) -> list[Said]:
        for _ in range(self._rng.choice([1, 2, 50, 50])):
            if not len(self.answers):
                break
            try:
                self._late += self.answers.make(self._rng.choice([1, 1, room_bytes]))
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
