"""The calm after a story: faults stop, the master is quiet, and within a bound everything must be equal (law 7)."""

from tests.machine.acts import overflow, produce, turn
from tests.machine.disk import FILE
from tests.machine.laws import Observed
from tests.machine.process import clock
from tests.machine.reference import LawBroken
from tests.machine.world import World

CALM_ROUNDS = 400
CALM_SECONDS = 0.5
SCRUB_EVERY = 5


def calm(world: World) -> None:
    """Law 7: faults stop and the master is quiet: every replica agrees, and is equal to the dict of the master's tree."""
    world.rng.seed(0)
    glance, world.disks[b"master"].glance = world.disks[b"master"].glance, lambda: None
    settle_on_one(world)
    world.broker.is_up = True
    world.broker.losing.clear()
    if not world.master.tree:
        # An empty source is a disk that is not mounted, to the guard.
        world.hand.put(b"a", FILE, 0o644, b"not empty")
        world.master.look()
    overflow(world)
    try:
        for number in range(CALM_ROUNDS):
            produce(world)
            approve(world)
            for replica in world.replicas.values():
                turn(world, replica)
                if number % SCRUB_EVERY == 0 and replica.edited:
                    world.scrub(replica)
            clock.now += CALM_SECONDS
            world.check()
            if all(is_level(world, replica) for replica in world.replicas.values()):
                for replica in world.replicas.values():
                    world.count_figures(replica)
                return
    finally:
        world.disks[b"master"].glance = glance
    raise LawBroken("law 7: never agrees: " + "; ".join(why_not_level(world, r) for r in world.replicas.values()))


def settle_on_one(world: World) -> None:
    """A person sees that one producer is left."""
    if world.rival is not None:
        world.rival.end()
        if world.rng.random() < 0.5:
            world.producer.end()
            world.producer, world.rival = world.rival, world.producer
            world.count["the rival stays"] += 1


def approve(world: World) -> None:
    """A person says that the source is right, where a journal that was lost or restored would change much."""
    if world.producer.is_running and "trial" in world.producer.board.alarms():
        world.producer.pipeline.leading.approve()
        world.count["a person approves"] += 1


def is_level(world: World, replica: Observed) -> bool:
    """Whether it says to agree where the producer stands, and is equal."""
    if not (replica.process.is_running and world.producer.is_running):
        return False
    if replica.edited:
        return False
    here = replica.process.state.standing().position == world.producer.journal.stand.position
    return here and replica.process.replica._follower.is_agreed() and replica.disk() == world.master.tree


def why_not_level(world: World, replica: Observed) -> str:
    """For a person."""
    if not (replica.process.is_running and world.producer.is_running):
        return "somebody does not run"
    state, stand = replica.process.state, world.producer.journal.stand
    standing = state.standing()
    disk, tree = replica.disk(), world.master.tree
    differ = sorted(path for path in disk.keys() | tree.keys() if disk.get(path) != tree.get(path))
    return (
        f"{replica.process.name} at {tuple(standing.position)} of {tuple(stand.position)}, stale {sorted(standing.stale)}, "
        f"unmet {state.count_unmet()}, forked {standing.is_forked}, differs at {differ}, "
        f"alarms {sorted(replica.process.board.alarms())} and {sorted(world.producer.board.alarms())}"
    )
