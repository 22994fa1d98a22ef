"""What power cuts do to the master's machine, and to all machines at once.

The journal keeps each commit, as SQLite promises with synchronous = FULL. The tree keeps what somebody synced: who edits a tree
seldom does. The embedded queue keeps everything up to its last durable append; what came behind that may be gone.
"""

from collections.abc import Callable

from tests.machine.process import clock
from tests.machine.queues import LogQueues
from tests.machine.world import World

KEEPS = (0.0, 0.2, 0.5, 0.8, 1.0)


def edit_unsynced(world: World) -> None:
    """The master's tree is edited, and nobody syncs that."""
    world.hand.is_durable = False
    for _ in range(world.rng.choice([1, 3, 8])):
        world.edit_master()
    world.hand.is_durable = True


def sync_master(world: World) -> None:
    """The system writes out what waits."""
    world.disks[b"master"].sync_all()


def cut_power_master(world: World) -> None:
    """The master's machine loses power between two steps: its producers die, and the tree is what was kept of it."""
    if world.producer.is_running and world.rng.random() < 0.7:
        world.turn_producer(world.rng.randrange(world.rng.choice([4, 20, 80])))
    for producer in world.producers:
        producer.end()
    world.disks[b"master"].cut_power(world.rng, world.rng.choice(KEEPS))
    world.master.look()
    world.master.rot()
    clock.now += world.rng.choice([0.0, 2.0, 30.0])
    world.count["power cuts of the master"] += 1


def cut_power_everywhere(world: World) -> None:
    """All machines lose power, the broker's too; with the embedded queue they are one anyway."""
    cut_power_master(world)
    for replica in world.replicas.values():
        if replica.process.is_running:
            world.turn_replica(replica, world.rng.randrange(world.rng.choice([4, 20])), power=True)
        if replica.process.is_running:
            world.bury(replica, power=True)
    queues = world.broker.queues
    if isinstance(queues, LogQueues):
        queues.cut_power(world.rng)


POWER: dict[Callable[[World], None], float] = {
    edit_unsynced: 6, sync_master: 1.5, cut_power_master: 2, cut_power_everywhere: 1,
}  # fmt: skip
