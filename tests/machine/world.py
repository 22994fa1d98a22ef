"""The hostile world: a master that is edited, a producer, two replicas, a broker between them, and all that can happen to each.

What can happen to it is in `acts`. Every choice is taken from `rng`, which each act seeds anew.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

from common.errors import HaltError, NoRoomError, StateError
from common.holds import NO_HOLD, HoldLimit
from common.transport.ports import Outgoing, Route
from tests.machine.broker import SimulatedBroker
from tests.machine.disk import DIRECTORY, FILE, SYMLINK, Disk, Inode, Node, tree_below
from tests.machine.faults import Fault
from tests.machine.hold_laws import HeldByMaster, held_in_journal
from tests.machine.laws import STAGE, Observed
from tests.machine.process import Killed, Life, chance, clock, databases, system
from tests.machine.processes import ProducerProcess, ReplicaProcess
from tests.machine.queues import CopyingQueues, LogQueues
from tests.machine.reference import (
    HEARTBEAT,
    PATTERNS,
    Hand,
    LawBroken,
    Master,
    Published,
    Read,
    Spot,
    Tree,
    check,
    digest_of,
    parents,
    read,
)
from tests.machine.rules import Rules, document_of, excludes

PATHS = [
    b"a", b"b", b"c", b"d", b"a/x", b"a/y", b"b/x", b"a/x/p", b"a/x/q", b"b/x/p", b"c/z", b"d/\xff", b"d/\xff/n", b"e",
]  # fmt: skip
DIRECTORY_MODES = (0o755, 0o755, 0o750, 0o700, 0o555)
FILE_MODES = (0o644, 0o644, 0o600, 0o444, 0o200, 0o755)
REPLICAS = ("one", "two")
COUNTED = {"gaps_total", "refused_total", "scrub_findings_total", "foreign_set_aside_total", "forks_total"}
"""What a story tells of a board."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What stays the same in one story."""

    broker: str = "rabbit"
    """"rabbit" or "embedded"."""
    watches: bool = True
    interleaves: bool = True
    """Whether the master is edited in the middle of looks at it."""
    is_root_user: bool = True
    umask: int = 0o022
    lateness: float = 0.0
    """How likely an answer waits for another round."""
    log_rows: int = 1000
    """How far the producer's change log goes back."""
    replicas: tuple[str, ...] = REPLICAS
    edits: int | None = None
    """How often the master was edited before anything starts; None: by chance."""
    hold_paths: int | None = None
    """More deletes than this are held at the producer; None: all go."""
    replica_hold_paths: int | None = None
    """And at a replica, where nobody vouches for them."""
    more_paths: tuple[bytes, ...] = ()
    """Paths beside those that every story has."""
    protect: Mapping[str, Rules] = field(default_factory=dict)
    """What replicas protect by patterns of their own."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """What becomes of foreign things on them, where that is not to go aside."""
    seed: int = 0


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
        self.is_rot_possible = False
        """Whether the master's files may have changed and nothing tells: all are to be read again."""
        self.rival: ProducerProcess | None = None
        """Another producer beside the same tree, if somebody started one."""
        self.is_calm = False
        """Nobody edits the master's tree."""
        self.gone: dict[bytes, Node] = {}
        """What went from the master's tree with much else, and may come back."""
        self.backups: dict[str, list[Copy]] = {}
        self.heard: list[Outgoing] = []

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
        replica = Observed(ReplicaProcess(name, disk, self.broker, hold), self.published)
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
        for path in self.edit(self.hand, self.paths, b"%d" % self.rng.randrange(1 << 20)):
            self.hint(path)
        self.master.look()
        disk.glance = glance

    def hint(self, path: bytes) -> None:
        """The watch, if there is one, is told."""
        for producer in self.producers if hasattr(self, "rival") else []:
            if producer.watch is not None:
                producer.watch.hint(path)

    def edit(self, hand: Hand, paths: list[bytes], content: bytes) -> list[bytes]:
        """One random edit; the paths where something happened."""
        rng = self.rng
        there = sorted(tree_below(hand.top, but=(STAGE,)))
        path, other, dice = rng.choice(paths), rng.choice(paths), rng.random()
        if dice < 0.45 and there:
            path = rng.choice(there)
        if dice < 0.2:
            hand.remove(path)
        elif dice < 0.27:
            found = hand.find(path)
            # A directory that not even its owner may enter: the scrub of one who is not root cannot look into it, and says so.
            modes = DIRECTORY_MODES if found is not None and found.kind == DIRECTORY else FILE_MODES
            hand.set(path, mode=rng.choice(modes))
        elif dice < 0.31:
            hand.set(path, mtime_ns=rng.randrange(-(10**18), 10**18))
        elif dice < 0.38:
            hand.rename(path, other)
        elif dice < 0.45:
            hand.write(path, b"" if rng.random() < 0.3 else content)
        else:
            return [*self._make_above(hand, path), *self._put(hand, path, content)]
        return [path, other]

    def _make_above(self, hand: Hand, path: bytes) -> list[bytes]:
        made = [above for above in parents(path) if (there := hand.find(above)) is None or there.kind != DIRECTORY]
        for above in made:
            hand.put(above, DIRECTORY, self.rng.choice(DIRECTORY_MODES))
        return made

    def _put(self, hand: Hand, path: bytes, content: bytes) -> list[bytes]:
        dice = self.rng.random()
        if dice < 0.3:
            hand.put(path, DIRECTORY, self.rng.choice(DIRECTORY_MODES))
        elif dice < 0.45:
            targets = [b"a", b"/outside", b"/outside/secret", b"nowhere", content]
            hand.put(path, SYMLINK, 0o777, self.rng.choice(targets))
        else:
            body = b"again" if self.rng.random() < 0.2 else content * self.rng.choice([1, 1, 9, 700])
            hand.put(path, FILE, self.rng.choice(FILE_MODES), body)
        return [path]

    # -- holds
    def release_at_master(self) -> None:
        """A person releases what is held there, and vouches for the tree."""
        if self.producer.is_running:
            held = held_in_journal(self.producer.journal._database) - self.master.tree.keys()
            with self.asked(self.producer):
                released = self.producer.pipeline.release(clock.monotonic())
                self.holds.let_go |= held
                self.count["deletes released at the producer"] += released.held

    def release_at(self, replica: Observed) -> None:
        """A person releases what is held on a replica."""
        if replica.process.is_running:
            replica.holds.is_let_go = True
            with self.asked(replica.process):
                self.count["deletes released at a replica"] += replica.process.release()

    @contextmanager
    def asked(self, process: ProducerProcess | ReplicaProcess) -> Iterator[None]:
        """A person asks something of a process whose disk may fail: without room nothing is done, else it halts."""
        try:
            yield
        except (HaltError, StateError, NoRoomError) as error:
            if not process.faults_met:
                raise
            if not isinstance(error, NoRoomError):
                process.end()

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
        replica.check_promise()
        self.count["replica starts"] += 1

    def _acked(self, replica: Observed) -> None:
        replica.promised = max(replica.promised, replica.process.state.standing().position)

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
        self._tell_outbox(producer.journal_path)
        try:
            producer.start(partial(self._hear, producer))
        except Killed:
            producer.end()
        except (HaltError, StateError, NoRoomError):
            if not producer.faults_met:
                raise
            self.count["starts refused for a fault"] += 1
            producer.end()
        self.count["producer starts"] += 1

    def _tell_outbox(self, journal_path: str) -> None:
        """What is in the outbox was published as far as the laws go, whether the last run came to hand it over or not."""
        database = databases.connect(journal_path)
        try:
            if database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'outbox'").fetchone()[0]:
                for (message,) in database.execute("SELECT message FROM outbox ORDER BY first").fetchall():
                    self.published.hear(message)
        finally:
            databases.end(journal_path)

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

    def _begin_epoch(self, producer: ProducerProcess, told: Read) -> None:
        """It is announced: it starts from what the journal holds now, and each row of that must have been true once."""
        rules = self._rules_in(producer)
        rows = producer.journal._database.execute(
            "SELECT path, kind, mode, mtime_ns, digest FROM entry WHERE path <> ?", (PATTERNS,)
        )
        tree: dict[bytes, Node] = {row[0]: self.published.node_of(*row) for row in rows.fetchall()}
        self.published.begin_epoch(told, tree, rules)

    def _rules_in(self, producer: ProducerProcess) -> Rules:
        """The patterns that its journal has: its own once they are published, else those of an earlier run."""
        query = "SELECT digest FROM entry WHERE path = ?"
        row = producer.journal._database.execute(query, (PATTERNS,)).fetchone()
        return next(rules for rules in self.rules if digest_of(document_of(rules)) == row[0]) if row is not None else ()

    @property
    def paths(self) -> list[bytes]:
        """Where somebody may edit something."""
        return [*PATHS, *self.setting.more_paths]

    def visible(self) -> Tree:
        """The master's tree without what its producer leaves out."""
        rules = self.producer.patterns
        return {path: node for path, node in self.master.tree.items() if not excludes(rules, path, node[0] == "d")}

    def _hear(self, producer: ProducerProcess, message: Outgoing) -> None:
        self.published.note_released(message.body)
        if message.route is Route.EVENTS:
            told = read(message.body)
            if told.kind == HEARTBEAT and (told.epoch, told.instance) not in self.published.epochs:
                self._begin_epoch(producer, told)
            self.published.hear(message.body)
        else:
            self.published.hear_answer(message.body)
        self.heard.append(message)


def limit_of(paths: int | None) -> HoldLimit:
    """A limit for small trees."""
    return NO_HOLD if paths is None else HoldLimit(paths, percent=0)


def _never(what: str) -> None:
    raise LawBroken(f"the product changed the master's disk: {what}")
