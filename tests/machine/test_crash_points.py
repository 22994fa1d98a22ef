"""Wherever a process dies, or the power goes, in the middle of one batch of everything: the laws hold, and all ends equal.

The crash point is a parameter: every single step of a replica that applies the batch, of one that starts after a death or with a
disk that it must read anew, and of the producer that finds, numbers and publishes it; pairs of deaths by sample.
"""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from consumer import barrier
from tests.machine.acts import lose_state, produce
from tests.machine.calm import calm
from tests.machine.disk import DIRECTORY, FILE, SYMLINK
from tests.machine.laws import Observed, may_be
from tests.machine.process import clock
from tests.machine.reference import Tree, check
from tests.machine.setting import Setting
from tests.machine.world import World

PAIRS = 60
KEPT = {"kill": None, "nothing is kept": 0.0, "some is kept": 0.5, "all names are kept": 1.0}
"""Ways to die: what a power cut keeps of what was not synced; None: the power stays."""
WAYS = {"fsync": "SYNCFS_SECONDS", "syncfs": "FSYNC_SECONDS"}
"""Ways to make things durable, and what must be dear for each to be taken."""


def level_world(*, is_root_user: bool = True) -> World:
    """A replica that is level with a master that has something of everything."""
    world = World(Setting(interleaves=False, is_root_user=is_root_user, replicas=("one",), edits=0))
    put = world.hand.put
    for directory in (b"full", b"full/deep", b"modes", b"turns", b"moves"):
        put(directory, DIRECTORY, 0o755)
    for file in (b"modified", b"deleted", b"touched", b"full/deep/a", b"full/b", b"turns/c", b"into", b"moves/d"):
        put(file, FILE, 0o644, b"first " + file)
    put(b"link", SYMLINK, 0o777, b"modified")
    put(b"link-into", SYMLINK, 0o777, b"nowhere")
    world.master.look()
    calm(world)
    return world


def change_everything(world: World) -> None:
    """Create, modify, delete, change kinds, modes and times, links: one batch of all of it."""
    hand = world.hand
    hand.put(b"created", FILE, 0o600, b"new")
    hand.put(b"made", DIRECTORY, 0o700)
    hand.put(b"made/below", FILE, 0o644, b"new below")
    hand.put(b"new-link", SYMLINK, 0o777, b"/outside/secret")
    hand.put(b"link", SYMLINK, 0o777, b"full/b")
    hand.put(b"modified", FILE, 0o644, b"second")
    hand.put(b"modes/unreadable", FILE, 0o000, b"nobody reads this")
    hand.remove(b"deleted")
    hand.remove(b"full")
    hand.put(b"turns", FILE, 0o644, b"was a directory")
    hand.put(b"into", DIRECTORY, 0o755)
    hand.put(b"into/c", FILE, 0o644, b"was a file above")
    hand.put(b"link-into", DIRECTORY, 0o750)
    hand.rename(b"moves", b"moved")
    hand.set(b"touched", mode=0o755, mtime_ns=1_600_000_000_000_000_001)
    hand.set(b"modes", mode=0o555)
    world.master.look()
    for path in world.master.states:
        world.hint(path)
    while world.published.tree != world.master.tree:
        produce(world)
        clock.now += 0.5


def waiting(*, is_root_user: bool = True) -> tuple[World, Observed]:
    """A replica whose queue holds the batch."""
    world = level_world(is_root_user=is_root_user)
    world.ear.heard.clear()
    change_everything(world)
    world.check()
    return world, world.replicas["one"]


def die(world: World, replica: Observed, step: int, keep: float | None) -> bool:
    """Let it die before this step of its round, or of its start. False: it came to the end."""
    world.keep = keep
    if not replica.process.is_running:
        world.start_replica(replica, step)
        return replica.process.life.is_dead
    replica.process.life.left = step
    go_on(world, replica, power=keep is not None)
    replica.process.life.left = None
    return replica.process.life.is_dead


def go_on(world: World, replica: Observed, *, power: bool = False) -> None:
    """Rounds until the batch is applied, or the process is dead."""
    for _ in range(20):
        if replica.process.is_running and replica.disk() != world.published.tree:
            world.turn_replica(replica, power=power)


def ends_equal(world: World) -> None:
    """The next process, the laws, and the calm."""
    world.check()
    calm(world)


def steps_of(prepare: Callable[[], tuple[World, Observed]]) -> int:
    """How many steps the round, or the start, has."""
    world, replica = prepare()
    if not replica.process.is_running:
        world.start_replica(replica)
        return replica.process.life.steps
    before = replica.process.life.steps
    go_on(world, replica)
    return replica.process.life.steps - before


@pytest.mark.parametrize(
    ("how", "way"), [(how, way) for how in KEPT for way in WAYS if (how, way) != ("kill", "syncfs")]
)
def test_a_replica_may_die_at_any_step_of_the_batch(how: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare() -> tuple[World, Observed]:
        return waiting(is_root_user=way == "fsync")

    monkeypatch.setattr(barrier, WAYS[way], 1e9)
    monkeypatch.setattr(barrier, "_MEMORY", 1.0)
    steps = steps_of(prepare)
    assert steps > (80 if way == "fsync" else 60)
    for step in range(steps):
        world, replica = prepare()
        assert die(world, replica, step, KEPT[how]), step
        ends_equal(world)


def left_in_the_middle() -> tuple[World, Observed]:
    """A replica that died when half of the names had moved."""
    world, replica = waiting()
    assert die(world, replica, 45, None)
    return world, replica


def state_is_lost() -> tuple[World, Observed]:
    """A replica whose state is lost, and that holds something that no tree carries."""
    world, replica = waiting()
    lose_state(world, replica)
    return world, replica


@pytest.mark.parametrize("how", KEPT)
@pytest.mark.parametrize("prepare", [left_in_the_middle, state_is_lost])
def test_a_replica_may_die_at_any_step_of_its_start(how: str, prepare: Callable[[], tuple[World, Observed]]) -> None:
    for step in range(steps_of(prepare)):
        world, replica = prepare()
        assert die(world, replica, step, KEPT[how]), step
        ends_equal(world)


@pytest.mark.parametrize("half", range(2))
def test_a_replica_may_die_twice(half: int) -> None:
    for seed in range(half, PAIRS, 2):
        rng = Random(seed)
        world, replica = waiting()
        keeps = list(KEPT.values())
        assert die(world, replica, rng.randrange(60), rng.choice(keeps))
        die(world, replica, rng.randrange(25), rng.choice(keeps))
        die(world, replica, rng.randrange(60), rng.choice(keeps))
        ends_equal(world)


def test_a_reader_sees_the_old_or_the_new_at_every_step() -> None:
    world, replica = waiting()
    before, after = replica.disk(), dict(world.published.tree)
    step, seen = replica.process.life.step, []

    def look(what: str) -> None:
        step(what)
        check_reader(replica.disk(), before, after)
        seen.append(what)

    replica.process.disk.step = look
    go_on(world, replica)
    assert replica.disk() == after
    assert len(seen) > 40


def check_reader(disk: Tree, before: Tree, after: Tree) -> None:
    """Law 2: at each path what was there, or what will be; a change of kind may show nothing for a moment."""
    for path in before.keys() | after.keys():
        allowed = {before.get(path), after.get(path)}
        check(may_be(disk.get(path), path, allowed, [before, after]), f"{path!r} shows {disk.get(path)}")
    assert disk.keys() <= before.keys() | after.keys()


def deaths_of_the_producer() -> Iterator[int]:
    """Every step until the batch is published and confirmed."""
    world = level_world()
    first = world.producer.life.steps
    change_everything(world)
    yield from range(world.producer.life.steps - first + 3)


def test_the_producer_may_die_at_any_step() -> None:
    for step in deaths_of_the_producer():
        world = level_world()
        world.producer.life.left = step
        change_everything(world)
        ends_equal(world)
