"""What can happen in the world, one act at a time.

An act is named by its function; one that happens to a replica is called with the replica's name behind: "round one".
"""

from collections.abc import Callable, Iterable
from random import Random

from common.transport.ports import Route
from tests.machine.acts_journals import back_up_journal, kill_answerer, lose_journal, restore_journal
from tests.machine.disk import FIFO, Inode
from tests.machine.hands import Hand
from tests.machine.laws import Observed, claims_of, known_to
from tests.machine.process import clock, databases
from tests.machine.queues import UPSTREAM, CopyingQueues
from tests.machine.reference import NOWHERE
from tests.machine.wire import digest_of
from tests.machine.working import hash_files, work
from tests.machine.world import BACKUPS_KEPT, Copy, World

FOREIGN = [b"foreign", b"a/foreign", b"b/foreign"]
PAUSES = (0.0, 0.002, 0.03, 0.03)
"""Seconds before a round of somebody's loop."""
FILE_KIND = 1
OWNER_READS = 0o400


def perform(world: World, what: str, luck: int) -> None:
    """Let it happen, then check the laws. Raises LawBroken."""
    world.rng.seed(luck)
    name, _, who = what.partition(" ")
    if who in world.replicas:
        TO_A_REPLICA[name](world, world.replicas[who])
    else:
        TO_ALL[name](world)
    world.check()


# ------------------------------------------------------------------------------------------------- what happens always


def edit(world: World) -> None:
    """The master's tree is edited."""
    for _ in range(world.rng.choice([1, 1, 3, 8])):
        world.edit_master()


def produce(world: World) -> None:
    """A few rounds of the producer."""
    for _ in range(world.rng.choice([1, 3])):
        clock.now += world.rng.choice(PAUSES)
        world.turn_producer()
        hash_files(world, world.producer, world.rng.choice([0, 1, 3]))
        if world.producer.is_running:
            world.producer.publisher.pump()


def turn(world: World, replica: Observed) -> None:
    """A few rounds of a replica."""
    for _ in range(world.rng.choice([1, 3])):
        clock.now += world.rng.choice(PAUSES)
        world.turn_replica(replica)
        work(world, replica, world.rng.choice([0, 1, 3]))


def wait(world: World) -> None:
    """Time passes."""
    clock.now += world.rng.choice([0.3, 2.1, 2.1, 5.1])


# ------------------------------------------------------------------------------------------------------------- deaths


def _soon(rng: Random) -> int:
    return rng.randrange(rng.choice([4, 20, 80]))


def kill_producer(world: World) -> None:
    """It dies between two steps."""
    world.turn_producer(_soon(world.rng))


def stop_producer(world: World) -> None:
    """It ends between two rounds."""
    if world.producer.is_running:
        world.producer.end()


def kill(world: World, replica: Observed) -> None:
    """A replica's process dies between two steps."""
    world.turn_replica(replica, _soon(world.rng))


def cut_power(world: World, replica: Observed) -> None:
    """A replica's machine loses power between two steps."""
    world.turn_replica(replica, _soon(world.rng), power=True)
    if replica.process.is_running and world.rng.random() < 0.5:
        world.bury(replica, power=True)


# ------------------------------------------------------------------------------------------------------------ broker


def write_some(world: World) -> None:
    """A round of the producer with a bad line: some is written, some confirmed, some refused."""
    world.turn_producer()
    if world.producer.is_running:
        world.producer.publisher.write_some(world.rng)


def disconnect_producer(world: World) -> None:
    """The producer's connections break: it hears again what it did not settle, and publishes again what was not confirmed."""
    world.broker.disconnect(UPSTREAM)
    if world.producer.is_running:
        world.producer.publisher.lose_channel()


def disconnect(world: World, replica: Observed) -> None:
    """A replica's connection breaks: what it did not settle comes again."""
    world.broker.disconnect(replica.process.name)


def restart_broker(world: World) -> None:
    """Every connection breaks, and it is away for a while; what was not synced is gone."""
    for name in (UPSTREAM, *world.replicas):
        if world.rng.random() < 0.3:
            world.broker.queues.drop(name, world.broker.queues.waiting(name)[-1:])
    world.broker.disconnect()
    world.broker.is_up = world.rng.random() < 0.5


def bring_broker_back(world: World) -> None:
    """It can be reached again."""
    world.broker.is_up = True


def lose(world: World, replica: Observed) -> None:
    """The next messages for a replica are lost."""
    world.broker.losing[replica.process.name] = world.rng.choice([1, 1, 2, 6])


def drop_head(world: World, replica: Observed) -> None:
    """The queue is full: its oldest messages are dropped."""
    queues = world.broker.queues
    queues.drop(replica.process.name, queues.waiting(replica.process.name)[: world.rng.randrange(1, 4)])


def swap(world: World, replica: Observed) -> None:
    """Two messages change places."""
    name, queues = replica.process.name, world.broker.queues
    if isinstance(queues, CopyingQueues) and len(queues.waiting(name)) > 1:
        queues.swap(name, world.rng.randrange(len(queues.waiting(name)) - 1))


def purge(world: World, replica: Observed) -> None:
    """Everything that waits is gone."""
    queues = world.broker.queues
    queues.drop(replica.process.name, queues.waiting(replica.process.name))


def delete_queue(world: World, replica: Observed) -> None:
    """The queue itself is gone."""
    world.broker.queues.delete(replica.process.name)
    world.broker.disconnect(replica.process.name)


def replay(world: World, replica: Observed) -> None:
    """Messages from any time come again."""
    name = replica.process.name
    answers = [message for message in world.ear.heard if message.replica == name]
    heard = answers if answers and world.rng.random() < 0.6 else world.ear.heard
    for _ in range(world.rng.choice([1, 3])):
        message = world.rng.choice(heard[-20:] if world.rng.random() < 0.7 else heard) if heard else None
        if message is not None and (message.route is Route.EVENTS or message.replica == name):
            world.count["replays"] += 1
            world.broker.queues.append(name, message.body, clock.now)


# ------------------------------------------------------------------------------------------------------------- disks


def drift(world: World, replica: Observed) -> None:
    """Somebody edits a replica's disk."""
    hand = Hand(replica.process.disk, replica.process.target)
    before = replica.disk()
    rng = world.rng
    dice = rng.random()
    if dice < 0.1:
        _rot(hand, rng.choice(world.paths))
    elif dice < 0.2:
        hand.put(rng.choice([*world.paths, *FOREIGN]), FIFO, 0o644)
    elif dice < 0.5:
        world.editor.edit(hand, FOREIGN, b"foreign %d" % rng.randrange(1 << 20))
    else:
        world.editor.edit(hand, world.paths, b"drift %d" % rng.randrange(1 << 20))
    after = replica.disk()
    replica.note_edited({path for path in before.keys() | after.keys() if before.get(path) != after.get(path)})
    replica.seen = after
    world.count["drift"] += 1


def _rot(hand: Hand, path: bytes) -> None:
    """One byte is another. Not where the mode forbids the owner to read: nobody but root could ever find that."""
    inode = hand.find(path)
    if hand.disk.is_root_user or (inode is not None and inode.mode & OWNER_READS):
        hand.rot(path)


def scrub(world: World, replica: Observed) -> None:
    """A replica's disk is read again."""
    world.scrub(replica)


def spoil(world: World, replica: Observed) -> None:
    """A bug of ours, or a bad memory: one row of a replica's index is wrong, and nothing tells."""
    if not replica.process.is_running:
        return
    state = replica.process.state
    files = sorted(path for path, claim in claims_of(state._database).rows.items() if claim.kind == FILE_KIND)
    if not files or state.standing().is_forked:
        return
    path = world.rng.choice(files)
    row = state.rows([path])[path]
    replica.process.disk.mend()
    with state._transaction(state._standing, state._flags):
        state._index.write({path: row._replace(entry=row.entry._replace(digest=digest_of(b"wrong")))})
    replica.spoiled.add(path)
    replica.is_sound = False
    world.count["rows spoiled"] += 1


def lose_state(world: World, replica: Observed) -> None:
    """A replica's state is lost; its disk is not."""
    _put_back(replica, b"", None)
    world.count["states lost"] += 1


def back_up(world: World, replica: Observed) -> None:
    """A copy of state and disk, of one moment."""
    if replica.process.is_running and replica.process.state.mark:
        process = replica.process
        copies = world.backups.setdefault(process.name, [])
        copies.append(Copy(databases.image(process.state_path), process.disk.copy(process.target), replica.unlooked()))
        del copies[:-BACKUPS_KEPT]


def restore(world: World, replica: Observed) -> None:
    """State, disk or both are what they were."""
    copies = world.backups.get(replica.process.name)
    if not copies:
        return
    copy, what = world.rng.choice(copies), world.rng.choice(["both", "state", "disk"])
    world.count[f"restore {what}"] += 1
    replica.edited = set(copy.edited) if what == "both" else replica.edited | copy.edited
    _put_back(replica, copy.database if what != "disk" else None, copy.target if what != "state" else None)


def _put_back(replica: Observed, state: bytes | None, target: Inode | None) -> None:
    process = replica.process
    process.end()
    if state is not None:
        databases.images[process.state_path] = state
    if target is not None:
        process.disk.put_copy(b"target", target)
    replica.promised, replica.spot = (0, 0), NOWHERE
    replica.holds.forget()
    rows = known_to(databases.images.get(process.state_path, b""))
    replica.nobodys.forget(rows)
    if state != b"":
        # What was protected then, and known to nobody, may be protected no more.
        replica.edited |= replica.disk().keys() - rows
    replica.seen = replica.disk()


def deafen(world: World) -> None:
    """The watch loses what happens from now on, and will say so."""
    if world.producer.watch is not None:
        world.producer.watch.is_deaf = True


def overflow(world: World) -> None:
    """The watch says that it lost something."""
    if world.producer.watch is not None:
        world.producer.watch.overflow()


Happening = Callable[..., None]

ALWAYS: dict[Happening, float] = {edit: 12, produce: 20, turn: 16, wait: 10, bring_broker_back: 2}
CHAOS: dict[Happening, float] = {
    kill_producer: 1.5, stop_producer: 0.3, kill: 2, cut_power: 2,
    write_some: 2, disconnect: 1.5, disconnect_producer: 0.7, restart_broker: 0.8,
    lose: 3, drop_head: 1, swap: 1.5, purge: 0.4, delete_queue: 0.3, replay: 1.5,
    drift: 1.5, scrub: 1.0, spoil: 0.2, kill_answerer: 0.3, lose_state: 0.1, back_up: 0.6, restore: 0.4,
    lose_journal: 0.1, back_up_journal: 0.4, restore_journal: 0.15, deafen: 0.5, overflow: 0.5,
}  # fmt: skip
"""How often each happens; what happens to a replica happens to each of them so often."""
_ONE_ARGUMENT = 1
TO_ALL: dict[str, Happening] = {}
TO_A_REPLICA: dict[str, Happening] = {}


def know(happenings: Iterable[Happening]) -> None:
    """Acts that `perform` knows by name."""
    for act in happenings:
        (TO_ALL if act.__code__.co_argcount == _ONE_ARGUMENT else TO_A_REPLICA)[act.__name__] = act


know([*ALWAYS, *CHAOS])
