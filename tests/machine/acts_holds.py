"""What can happen in a world where too many deletes are held. Acts as in `acts`."""

from collections.abc import Callable

from tests.machine.disk import DIRECTORY, FILE, SYMLINK, tree_below
from tests.machine.laws import Observed
from tests.machine.persons import release_at, release_at_master
from tests.machine.process import clock, databases
from tests.machine.queues import UPSTREAM
from tests.machine.world import World

KINDS = {"d": DIRECTORY, "f": FILE, "l": SYMLINK}
LONG_SECONDS = 700.0
"""Longer than the window in which deletes are counted."""


def delete_many(world: World) -> None:
    """Much of the master's tree goes at once."""
    tops = sorted(path for path in world.master.tree if b"/" not in path)
    goes = world.rng.sample(tops, k=min(len(tops), world.rng.choice([1, 2, 3, 5])))
    for path in goes:
        world.gone |= {p: node for p, node in world.master.tree.items() if p == path or p.startswith(path + b"/")}
        world.hand.remove(path)
        world.hint(path)
    world.master.look()
    world.count["deleted at once"] += bool(goes)


def bring_back(world: World) -> None:
    """Some of what went is back as it was."""
    paths = sorted(world.gone)
    for path in paths if world.rng.random() < 0.5 else world.rng.sample(paths, k=len(paths) // 2):
        node, there = world.gone[path], tree_below(world.hand.top)
        if path in there or world.hand.above(path) is None:
            continue
        mode = node[1] if node[0] != "l" else 0o777
        content = node[-1] if node[0] != "d" else b""
        assert isinstance(mode, int)
        assert isinstance(content, bytes)
        world.hand.put(path, KINDS[str(node[0])], mode, content)
        if node[0] == "f":
            assert isinstance(node[2], int)
            world.hand.set(path, mtime_ns=node[2])
        world.hint(path)
    world.master.look()


def release_all(world: World) -> None:
    """A person releases what the producer holds."""
    release_at_master(world)


def release(world: World, replica: Observed) -> None:
    """A person releases what a replica holds."""
    release_at(world, replica)


def mistrust(world: World) -> None:
    """Nobody vouches any more for what the producer deletes, and it deletes much."""
    unvouch(world)
    delete_many(world)
    for _ in range(world.rng.choice([1, 4, 12])):
        clock.now += 0.03
        world.turn_producer()
        if world.producer.is_running:
            world.producer.publisher.pump()


def unvouch(world: World) -> None:
    """As with a journal that was lost while no replica was heard of; and for a while none is."""
    if world.producer.is_running and world.producer.journal.is_announced:
        world.producer.end()
        database = databases.connect(world.producer.journal_path)
        database.execute("UPDATE state SET value = 0 WHERE key = 'released'")
        databases.end(world.producer.journal_path)
        world.broker.queues.drop(UPSTREAM, world.broker.queues.waiting(UPSTREAM))
        world.broker.losing[UPSTREAM] = world.rng.choice([0, 5, 20])
        world.count["nobody vouches"] += 1


def wait_long(world: World) -> None:
    """So long that what went does not count any more."""
    clock.now += LONG_SECONDS


HOLDS: dict[Callable[..., None], float] = {
    delete_many: 4, bring_back: 1.5, release_all: 1, release: 0.7, mistrust: 1, wait_long: 0.5,
}  # fmt: skip
"""How often each happens, where deletes are held."""
