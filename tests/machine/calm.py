"""The calm after a story: faults stop, the master is quiet, and within a bound everything must be equal (law 7).

What is held is in the way of that, and nothing else: it must be told, on the disks still, and go when a person has released it.
"""

from collections.abc import Collection

from tests.machine.acts import overflow, produce, turn
from tests.machine.disk import FILE
from tests.machine.hold_laws import HELD, held_in_journal
from tests.machine.laws import Observed, claims_of
from tests.machine.persons import release_at, release_at_master
from tests.machine.process import clock
from tests.machine.reference import LawBroken, Tree, check, parents
from tests.machine.working import hash_files, work
from tests.machine.world import World

CALM_ROUNDS = 400
CALM_SECONDS = 0.5
HOLD_ALARM = "hold"
SCRUB_EVERY = 5


def calm(world: World) -> None:
    """Law 7: faults stop and the master is quiet: every replica agrees, and is equal to the dict of the master's tree."""
    world.rng.seed(0)
    world.is_calm = True
    settle_on_one(world)
    world.broker.is_up = True
    for disk in world.disks.values():
        disk.mend()
    world.broker.losing.clear()
    if not world.master.tree:
        # An empty source is a disk that is not mounted, to the guard.
        world.hand.put(b"a", FILE, 0o644, b"not empty")
        world.master.look()
    overflow(world)
    is_released = False
    try:
        for number in range(CALM_ROUNDS):
            _go_on(world, number)
            if all(is_level(world, replica) for replica in world.replicas.values()):
                for replica in world.replicas.values():
                    world.count_figures(replica)
                return
            if _rests(world):
                check(not is_released, "released once, and held again: " + _why(world))
                is_released = True
                _release(world)
    finally:
        world.is_calm = False
    raise LawBroken("law 7: never agrees: " + _why(world))


def _go_on(world: World, number: int) -> None:
    produce(world)
    hash_files(world, world.producer)
    approve(world)
    if number % SCRUB_EVERY == 0 and world.master.may_be_rotten:
        reread(world)
    for replica in world.replicas.values():
        turn(world, replica)
        work(world, replica)
        if number % SCRUB_EVERY == 0 and replica.edited:
            world.scrub(replica)
    clock.now += CALM_SECONDS
    world.check()


def settle_on_one(world: World) -> None:
    """A person sees that one producer is left."""
    if world.rival is not None:
        world.rival.end()
        if world.rng.random() < 0.5:
            world.producer.end()
            world.producer, world.rival = world.rival, world.producer
            world.holds.let_go.clear()  # it has a journal of its own
            world.count["the rival stays"] += 1


def reread(world: World) -> None:
    """All files of the master are read again, as the producer does slowly and always."""
    if world.producer.is_running and world.producer.pipeline.may_reread:
        for path in world.master.tree:
            world.producer.pipeline.reread(path)
        world.master.may_be_rotten = False


def approve(world: World) -> None:
    """A person says that the source is right, where a journal that was lost or restored would change much."""
    if world.producer.is_running and "trial" in world.producer.board.alarms():
        world.producer.pipeline.leading.approve()
        world.count["a person approves"] += 1


# ------------------------------------------------------------------------------------------------------------- holds


def _rests(world: World) -> bool:
    """Whether everything is as it should be but for what is held, and that is told."""
    if not world.producer.is_running or not world.producer.pipeline._is_quiet:
        return False
    held = held_in_journal(world.producer.journal._database)
    if _without(world.published.tree, held) != _without(world.visible(), held):
        return False
    is_told = not held or HOLD_ALARM in world.producer.board.alarms()
    if not held and not any(_held_at(replica) for replica in world.replicas.values()):
        return False
    return is_told and all(_rests_at(world, replica, held) for replica in world.replicas.values())


def _held_at(replica: Observed) -> set[bytes]:
    unmet = claims_of(replica.process.state._database).unmet if replica.process.is_running else {}
    return {path for path, why in unmet.items() if why == HELD}


def _rests_at(world: World, replica: Observed, held: set[bytes]) -> bool:
    """`held`: at the master; who has not the content of such a path yet cannot have it any more."""
    if not replica.process.is_running:
        return False
    claims = claims_of(replica.process.state._database)
    disk, nobodys = replica.disk(), replica.nobodys
    # What stands below such a path is in its way, and nobody looks at it before; what is protected is never looked at.
    if any(not _is_at(path, claims.unmet) and not replica.is_nobodys(path) for path in replica.edited):
        return False
    if claims.at != tuple(world.producer.journal.stand.position) or not claims.is_proved or claims.floors:
        return False
    here = _held_at(replica)
    stand = world.producer.journal.stand
    if here and 0 < stand.released >= stand.sequence:
        return False  # a person released it at the master: the replica will hear of that
    if any(not nobodys.is_in_the_way(path, disk) for path in claims.unmet.keys() - here - held):
        return False
    check(not claims.unmet or not replica.process.replica._follower.is_agreed(), "it agrees, and something is unmet")
    world.count["held at a replica in the calm"] += bool(here)
    is_kept = all(_is_at(path, claims.unmet) for path in differing(replica, world.published.tree))
    return is_kept and (not here or HOLD_ALARM in replica.process.board.alarms())


def _without(tree: Tree, paths: Collection[bytes]) -> Tree:
    return {path: node for path, node in tree.items() if not _is_at(path, paths)}


def _is_at(path: bytes, paths: Collection[bytes]) -> bool:
    """Whether it is one of them, or below one."""
    return any(one in paths for one in (path, *parents(path)))


def _release(world: World) -> None:
    """A person releases it at the master, for all; or on each replica, where the master holds nothing."""
    world.count["held in the calm"] += 1
    if held_in_journal(world.producer.journal._database) or world.setting.seed % 2:
        release_at_master(world)
    else:
        for replica in world.replicas.values():
            release_at(world, replica)


# ------------------------------------------------------------------------------------------------------------- level


def is_level(world: World, replica: Observed) -> bool:
    """Whether it says to agree where the producer stands, and is equal."""
    if not (replica.process.is_running and world.producer.is_running):
        return False
    if not is_found_out(replica, world.visible()):
        return False
    here = replica.process.state.standing().position == world.producer.journal.stand.position
    if not here or differing(replica, world.visible()):
        return False
    if replica.process.replica._follower.is_agreed():
        return True
    # What something protected is in the way of is a problem for as long as it is.
    claims, disk = claims_of(replica.process.state._database), replica.disk()
    is_proved = claims.is_proved and not claims.floors and bool(claims.unmet)
    return is_proved and all(replica.nobodys.is_in_the_way(path, disk) for path in claims.unmet)


def is_found_out(replica: Observed, tree: Tree) -> bool:
    """Whether nothing that somebody else did to its disk is left to be found."""
    disk = replica.disk()
    return all(replica.is_nobodys(path) or replica.nobodys.is_left_below(path, disk, tree) for path in replica.edited)


def differing(replica: Observed, tree: Tree) -> list[bytes]:
    """Where the replica's disk is not this tree, and no pattern says that it may be so."""
    disk, nobodys = replica.disk(), replica.nobodys
    differ = sorted(path for path in disk.keys() | tree.keys() if disk.get(path) != tree.get(path))
    return [
        path
        for path in differ
        if not nobodys.guards(path, disk.get(path))
        and not (path not in tree and nobodys.stays(path, disk))
        and not (path in tree and nobodys.is_in_the_way(path, disk))
        and not nobodys.is_left_below(path, disk, tree)
    ]


def _why(world: World) -> str:
    return "; ".join(why_not_level(world, replica) for replica in world.replicas.values())


def why_not_level(world: World, replica: Observed) -> str:
    """For a person."""
    if not (replica.process.is_running and world.producer.is_running):
        return "somebody does not run"
    state, stand = replica.process.state, world.producer.journal.stand
    standing = state.standing()
    differ = differing(replica, world.visible())
    return (
        f"{replica.process.name} at {tuple(standing.position)} of {tuple(stand.position)}, stale {sorted(standing.stale)}, "
        f"unmet {state.count_unmet()}, forked {standing.is_forked}, differs at {differ}, "
        f"alarms {sorted(replica.process.board.alarms())} and {sorted(world.producer.board.alarms())}"
    )
