"""What happens to large contents: they are written, moved, copied, and changed while they are on their way."""

from collections.abc import Callable

from tests.machine.disk import FILE
from tests.machine.editing import FILE_MODES
from tests.machine.laws import Observed
from tests.machine.process import clock
from tests.machine.setting import PATHS
from tests.machine.wire import INLINE_BYTES
from tests.machine.working import hash_files, work
from tests.machine.world import World

SIZES = (INLINE_BYTES, INLINE_BYTES + 1, 3000, 3072, 5000)


def write_large(world: World) -> None:
    """A large file comes to be; or one with the content of another."""
    content = _content(world)
    if world.rng.random() < 0.4 and (there := _large(world)):
        content = bytes(world.master.tree[world.rng.choice(there)][-1])  # type: ignore[call-overload]  # a file's content
    path = world.rng.choice(PATHS)
    world.hand.put(path, FILE, world.rng.choice(FILE_MODES), content)
    _seen(world, path)


def change_large(world: World) -> None:
    """One is written to where it lies: as long as before or not; its time may be set back."""
    if there := _large(world):
        path = world.rng.choice(there)
        node, content = world.master.tree[path], _content(world)
        assert isinstance(node[-1], bytes)
        assert isinstance(node[2], int)
        world.hand.write(
            path, content.ljust(len(node[-1]), b".")[: len(node[-1])] if world.rng.random() < 0.5 else content
        )
        if world.rng.random() < 0.3:
            world.hand.set(path, mtime_ns=node[2])
        _seen(world, path)


def touch_large(world: World) -> None:
    """Only the mode or the time of one is another."""
    if there := _large(world):
        path = world.rng.choice(there)
        if world.rng.random() < 0.5:
            world.hand.set(path, mode=world.rng.choice(FILE_MODES))
        else:
            world.hand.set(path, mtime_ns=world.rng.randrange(10**18))
        _seen(world, path)


def move_large(world: World) -> None:
    """One is called otherwise, or the directory that it is in."""
    if there := _large(world):
        path, to = world.rng.choice(there), world.rng.choice(PATHS)
        if world.rng.random() < 0.4:
            path = path.partition(b"/")[0]
        world.hand.rename(path, to)
        _seen(world, path, to)


def hash_some(world: World) -> None:
    """The producer's hashing goes on."""
    hash_files(world, world.producer, world.rng.choice([1, 2, 5]))


def work_on(world: World, replica: Observed) -> None:
    """A replica's threads go on."""
    work(world, replica, world.rng.choice([1, 2, 8]))


def die_at_work(world: World, replica: Observed) -> None:
    """A replica dies while its threads work, perhaps with the power."""
    life = replica.process.life
    if replica.process.is_running:
        life.left = world.rng.randrange(world.rng.choice([3, 10, 30]))
        work(world, replica, power=world.rng.random() < 0.5)
        life.left = None


def fetch(world: World) -> None:
    """Everybody goes on, so that parts flow."""
    for _ in range(world.rng.choice([1, 3])):
        clock.now += 0.06
        world.turn_producer()
        if world.producer.is_running:
            world.producer.publisher.pump()
        for replica in world.replicas.values():
            world.turn_replica(replica)
            work(world, replica, world.rng.choice([0, 1, 4]))


def _content(world: World) -> bytes:
    return (b"%d " % world.rng.randrange(1 << 40) * INLINE_BYTES)[: world.rng.choice(SIZES)]


def _large(world: World) -> list[bytes]:
    """Where large files are."""
    sizes = {path: len(node[-1]) for path, node in world.master.tree.items() if isinstance(node[-1], bytes)}
    return sorted(path for path, size in sizes.items() if size > INLINE_BYTES)


def _seen(world: World, *paths: bytes) -> None:
    for path in paths:
        world.hint(path)
    world.master.look()


LARGE: dict[Callable[..., None], float] = {
    write_large: 3, change_large: 1.5, touch_large: 0.7, move_large: 1.5,
    hash_some: 2, work_on: 1, die_at_work: 0.5, fetch: 8,
}  # fmt: skip
