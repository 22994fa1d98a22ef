"""A consumer process, made of the product's own parts as its service makes them, on a simulated machine.

It is started, takes rounds of its loop, and ends or is killed. What happens to it, and when, is the world's business.
"""

import errno
import sqlite3
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

from common.holds import HoldLimit
from common.orders import Orders
from common.settings import ConsumeSettings
from consumer.apply import Applier
from consumer.opening import open_replica
from consumer.rereader import _InterruptedPass
from consumer.scrub_record import Pass
from consumer.scrub_tally import Tally
from consumer.service import Replica
from consumer.state import State
from tests.machine.boards import TREE, HeardBoard
from tests.machine.broker import SimulatedBroker
from tests.machine.disk import DIRECTORY, Disk, Inode
from tests.machine.process import Life, clock, databases, system
from tests.machine.rules import Rules
from tests.machine.threads import Stop, do_one


class ReplicaProcess:
    """A consumer and its target, at `/NAME/target`."""

    def __init__(
        self, name: str, disk: Disk, broker: SimulatedBroker, hold: HoldLimit, ready_max_lag_seconds: float | None
    ) -> None:
        self.name = name
        self.disk = disk
        self._broker = broker
        self.life = Life()
        self.is_running = False
        self._hold = hold
        self._ready_max_lag_seconds = ready_max_lag_seconds
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
        self.settings = _settings(self.name, self._hold, self.protect, self.foreign, self._ready_max_lag_seconds)
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

    @property
    def is_resting(self) -> bool:
        """Whether it is out of service because it is behind."""
        return self.replica._follower._heeding.is_resting

    @property
    def is_scrub_asked(self) -> bool:
        """Whether its disk is to be read again, and the thread that does it has not begun."""
        return self.replica._scrub._rereader._next is not None

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
def _settings(
    name: str, hold: HoldLimit, protect: Rules, foreign: str, ready_max_lag_seconds: float | None
) -> ConsumeSettings:
    return ConsumeSettings(
        tree=TREE,
        broker="sqlite:////nowhere/queue.db",
        target=Path(f"/{name}/target"),
        state=Path(f"/{name}/state"),
        replica=name,
        adopt=True,
        hold=hold,
        protect=protect,
        ready_max_lag_seconds=ready_max_lag_seconds,
        foreign=foreign,  # type: ignore[arg-type]  # one of the three words
    )
