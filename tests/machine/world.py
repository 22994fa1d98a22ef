"""The hostile world: a master that is edited, a producer, two replicas, a broker between them, and all that can happen to each.

What can happen to it is in `acts`. Every choice is taken from `rng`, which each act seeds anew.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from random import Random

from common.errors import HaltError, NoRoomError, StateError
from common.transport.ports import Outgoing
from tests.machine.broker import SimulatedBroker
from tests.machine.command_laws import InService
from tests.machine.consuming import ReplicaProcess
from tests.machine.disk import DIRECTORY, FILE, Disk, Inode, Node, tree_below
from tests.machine.editing import Editor
from tests.machine.faults import Fault
from tests.machine.hands import Hand
from tests.machine.hearing import Ear
from tests.machine.hold_laws import HeldByMaster
from tests.machine.laws import Observed
from tests.machine.process import Killed, Life, chance, clock, databases, system
from tests.machine.producing import ProducerProcess
from tests.machine.queues import CopyingQueues, LogQueues
from tests.machine.reference import LawBroken, Master, Published, Spot, Tree, check
from tests.machine.rules import Rules, excludes
from tests.machine.setting import PATHS, Setting, limit_of
from tests.machine.wire import promised_in, said_in

BACKUPS_KEPT = 3
COUNTED = {"gaps_total", "refused_total", "scrub_findings_total", "foreign_set_aside_total", "forks_total"}
"""What a story tells of a board."""


@dataclass(frozen=True)
class Copy:
    """A backup of one moment: a database, and for a replica its disk, with what somebody had edited there."""

    database: bytes
    target: Inode | None = None
    edited: set[bytes] = field(default_factory=set)


@dataclass
class World:
    """One story as it happens."""

    setting: Setting
    count: Counter[str] = field(default_factory=Counter)
    keep: float | None = None
    """How likely a power cut keeps each change of names; None: by chance."""

    def __post_init__(self) -> None:
        setting = self.setting
        self.rng = Random(setting.seed)
        self.editor = Editor(self.rng)
        clock.begin()
        chance.begin(setting.seed)
        databases.begin(self._life_of, self._disk_of)
        names = [b"master", *(name.encode() for name in setting.replicas)]
        self.disks = {name: Disk(name, clock.file_ns, umask=setting.umask) for name in names}
        system.begin(self.disks)
        for disk in self.disks.values():
            top = Hand(disk, disk.root)
            top.put(b"outside", DIRECTORY, 0o755)
            top.put(b"outside/secret", FILE, 0o600, b"not ours")
            disk.is_root_user = setting.is_root_user or disk.name == b"master"
        self._make_master()
        queues = CopyingQueues() if setting.broker == "rabbit" else LogQueues()
        self.broker = SimulatedBroker(queues, lambda: clock.now, self.rng)
        self.producer = ProducerProcess(
            self.disks[b"master"],
            self.broker,
            watches=setting.watches,
            log_rows=setting.log_rows,
            lateness=setting.lateness,
            hold=limit_of(setting.hold_paths),
        )
        self.holds = HeldByMaster()
        self.replicas = {name: self._make_replica(name) for name in setting.replicas}
        self.rules: set[Rules] = {()}
        """All patterns that there ever were."""
        self.faults: list[Fault] = []
        """Those of disks, until now."""
        self.rival: ProducerProcess | None = None
        """Another producer beside the same tree, if somebody started one."""
        self.is_calm = False
        """Nobody edits the master's tree."""
        self.gone: dict[bytes, Node] = {}
        """What went from the master's tree with much else, and may come back."""
        self.backups: dict[str, list[Copy]] = {}
        self.ear = Ear(self.published, self.rules)
        self.service = InService()
        self.tickets: list[str] = []
        """What was asked of replicas from beside the stream."""

    def _make_master(self) -> None:
        disk = self.disks[b"master"]
        disk.step = _never
        Hand(disk, disk.root).put(b"tree", DIRECTORY, 0o755)
        self.hand = Hand(disk, disk.root.names[b"tree"])
        self.master = Master(disk, self.hand.top)
        self.published = Published(self.master)
        chosen = self.rng.choice([0, 3, 12])
        for _ in range(chosen if self.setting.edits is None else self.setting.edits):
            self.edit_master()
        disk.glance = self._interleave

    def _make_replica(self, name: str) -> Observed:
        disk = self.disks[name.encode()]
        Hand(disk, disk.root).put(b"target", DIRECTORY, 0o755)
        hold = limit_of(self.setting.replica_hold_paths)
        process = ReplicaProcess(name, disk, self.broker, hold, self.setting.ready_max_lag_seconds)
        replica = Observed(process, self.published)
        foreign = self.setting.foreign.get(name, "aside")
        replica.process.foreign = replica.nobodys.foreign = foreign
        replica.protect(self.setting.protect.get(name, ()))
        return replica

    def _life_of(self, path: str) -> Life:
        for producer in self.producers:
            if path == producer.journal_path:
                return producer.life
        return self.replicas[path.split("/")[1]].process.life

    def _disk_of(self, path: str) -> Disk | None:
        return self.disks.get(path.split("/")[1].encode())

    @property
    def producers(self) -> list[ProducerProcess]:
        """The producer, and its rival if there is one."""
        return [self.producer] if self.rival is None else [self.producer, self.rival]

    # -- one act
    def check(self) -> None:
        """Everything that must hold between two acts."""
        for disk in self.disks.values():
            outside = tree_below(disk.root.names[b"outside"])
            check(outside[b"secret"][-1] == b"not ours" and len(outside) == 1, "law 9: something outside was touched")
        for replica in self.replicas.values():
            if replica.process.is_running:
                replica.check()
        self._check_holds()
        self._check_service()

    def _check_service(self) -> None:
        running = {name: replica.process for name, replica in self.replicas.items() if replica.process.is_running}
        began = self.service.began
        self.service.check([name for name, process in running.items() if process.is_resting], clock.now)
        self.count["steps out of service"] += self.service.began - began

    def _check_holds(self) -> None:
        self.holds.let_go -= self.master.tree.keys()
        if self.producer.is_running and self.setting.hold_paths is not None:
            journal = self.producer.journal
            spot = Spot(*journal.stand.position, journal.stand.lineage.instance)
            self.holds.check(journal._database, self.published.history.get(spot) if journal.is_announced else None)

    # -- the master's tree
    def _interleave(self) -> None:
        """In the middle of a look: somebody edits the tree."""
        if self.setting.interleaves and not self.is_calm and self.producer.is_running and self.rng.random() < 0.01:
            self.count["edits in the middle of a look"] += 1
            self.edit_master()

    def edit_master(self) -> None:
        disk, glance = self.disks[b"master"], self.disks[b"master"].glance
        disk.glance = lambda: None
        for path in self.editor.edit(self.hand, self.paths, b"%d" % self.rng.randrange(1 << 20)):
            self.hint(path)
        self.master.look()
        disk.glance = glance

    def hint(self, path: bytes) -> None:
        """The watch, if there is one, is told."""
        for producer in self.producers if hasattr(self, "rival") else []:
            if producer.watch is not None:
                producer.watch.hint(path)

    # -- deaths
    def bury(self, replica: Observed, *, power: bool) -> None:
        """Its process is gone; with the power, what was not synced may be gone too."""
        before = replica.process.state.standing().position if hasattr(replica.process, "state") else (0, 0)
        self.count_figures(replica)
        replica.process.end()
        if power:
            self.count["power cuts"] += 1
            keep = self.rng.choice([0.0, 0.2, 0.5, 0.8, 1.0]) if self.keep is None else self.keep
            replica.process.disk.cut_power(self.rng, keep)
            queues = self.broker.queues
            if isinstance(queues, LogQueues):
                queues.turn_back(replica.process.name)
        replica.check_death(before)

    def count_figures(self, replica: Observed) -> None:
        """What its board counted goes to the counts of this story."""
        if replica.process.is_running:
            for (name, label), number in replica.process.board.figures().items():
                if name in COUNTED:
                    self.count[f"{name} {label}".strip()] += int(number)

    def start_replica(self, replica: Observed, steps: int | None = None) -> None:
        """The next process of this replica; it may die on the way, and the power may go with it."""
        try:
            replica.process.start(steps)
        except Killed:
            self.count["died while starting"] += 1
            self.bury(replica, power=self.rng.random() < 0.4 or self.keep is not None)
            return
        except (HaltError, StateError, NoRoomError):
            if not replica.process.faults_met:
                raise
            self.count["starts refused for a fault"] += 1
            self.bury(replica, power=False)
            return
        replica.process.subscriber.on_ack = lambda: self._acked(replica)
        replica.process.publisher.on_publish = lambda message: self._reported(replica, message)
        replica.check_promise()
        self.count["replica starts"] += 1

    def _acked(self, replica: Observed) -> None:
        replica.promised = max(replica.promised, replica.process.state.standing().position)

    def _heard(self, producer: ProducerProcess, message: Outgoing) -> None:
        self.ear.hear(producer, message)
        promise = promised_in(message.body)
        if promise is not None:
            self.service.promised(promise)

    def _reported(self, replica: Observed, message: Outgoing) -> None:
        said = said_in(message.body)
        if said is not None:
            self.service.heard(said, self.published, clock.now, is_spoiled=not replica.is_sound)

    def turn_replica(self, replica: Observed, steps: int | None = None, *, power: bool = False) -> None:
        """One round of it, or its next start; it may die on the way."""
        if not replica.process.is_running:
            self.start_replica(replica, steps)
            return
        if steps is not None:
            replica.process.life.left = steps
        said, met = replica.process.board.said, replica.process.errors_met
        try:
            replica.process.round()
            is_told = replica.process.board.said > said or replica.process.errors_met == met
            check(is_told, "a disk failed, and nobody is told")
            if steps is not None:
                replica.process.life.left = None
            replica.process.publisher.pump()
        except Killed:
            self.count["replica deaths"] += 1
            self.bury(replica, power=power)
        except HaltError:
            if not replica.process.faults_met:
                raise
            self.count["halts of a replica"] += 1
            self.bury(replica, power=power)

    def scrub(self, replica: Observed) -> None:
        """Its disk is read again; in the middle of that, its loop goes on."""
        if not replica.process.is_running:
            return
        disk = replica.process.disk
        disk.glance = lambda: self.go_on_meanwhile(replica)
        try:
            replica.process.reread()
            self.count["disks read again"] += 1
        except (HaltError, NoRoomError):
            # The order itself could not be noted.
            if not replica.process.faults_met:
                raise
            self.bury(replica, power=False)
        finally:
            disk.glance = lambda: None

    def go_on_meanwhile(self, replica: Observed) -> None:
        """In the middle of what a thread of it does, its loop goes on."""
        if replica.process.is_running and self.rng.random() < 0.03:
            disk, glance = replica.process.disk, replica.process.disk.glance
            disk.glance = lambda: None
            self.turn_replica(replica)
            disk.glance = glance

    def start_producer(self, producer: ProducerProcess | None = None) -> None:
        """The next run: it goes on from where its journal stands."""
        producer = producer or self.producer
        clock.now += 1.0
        self.ear.hear_outbox(producer.journal_path)
        try:
            producer.start(partial(self._heard, producer))
        except Killed:
            producer.end()
        except (HaltError, StateError, NoRoomError):
            if not producer.faults_met:
                raise
            self.count["starts refused for a fault"] += 1
            producer.end()
        self.count["producer starts"] += 1

    def turn_producer(self, steps: int | None = None, producer: ProducerProcess | None = None) -> None:
        """One round of it, or its next start; it may die on the way."""
        producer = producer or self.producer
        if not producer.is_running:
            self.start_producer(producer)
            return
        if steps is not None:
            producer.life.left = steps
        try:
            producer.round()
            if steps is not None:
                producer.life.left = None
        except Killed:
            self.count["producer deaths"] += 1
            producer.end()
        except (HaltError, StateError):
            if not producer.faults_met:
                raise
            self.count["halts of a producer"] += 1
            producer.end()

    @property
    def paths(self) -> list[bytes]:
        """Where somebody may edit something."""
        return [*PATHS, *self.setting.more_paths]

    def visible(self) -> Tree:
        """The master's tree without what its producer leaves out."""
        rules = self.producer.patterns
        return {path: node for path, node in self.master.tree.items() if not excludes(rules, path, node[0] == "d")}


def _never(what: str) -> None:
    raise LawBroken(f"the product changed the master's disk: {what}")
