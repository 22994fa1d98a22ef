"""What happens to producers: a second one beside the same tree, with a copy of the journal or none, and the power of either."""

from collections.abc import Callable
from copy import copy

from common.errors import StoppedError
from tests.machine.persons import asked
from tests.machine.process import clock, databases
from tests.machine.producing import ProducerProcess
from tests.machine.queues import UPSTREAM
from tests.machine.setting import limit_of
from tests.machine.working import hash_files
from tests.machine.world import World

RIVAL = "rival"
PAUSES = (0.0, 0.002, 0.03, 0.3)


def start_rival(world: World) -> None:
    """Somebody starts another producer, with a copy of the journal from now or from before, or none."""
    if world.rival is None:
        world.rival = _make_rival(world)
    if world.rival.is_running:
        return
    journal = world.producer.journal_path
    images = [databases.image(journal), b"", *(copied.database for copied in world.backups.get(journal, []))]
    if world.rng.random() < 0.7 or world.rival.journal_path not in databases.images:
        databases.images[world.rival.journal_path] = world.rng.choice(images)
    world.count["rivals"] += 1
    world.turn_producer(producer=world.rival)


def _make_rival(world: World) -> ProducerProcess:
    disk = copy(world.disks[b"master"])
    world.disks[RIVAL.encode()] = disk
    setting = world.setting
    return ProducerProcess(
        disk,
        world.broker,
        watches=setting.watches,
        log_rows=setting.log_rows,
        lateness=setting.lateness,
        hold=limit_of(setting.hold_paths),
        place=RIVAL,
    )


def produce_rival(world: World) -> None:
    """A few rounds of the other producer, while it runs."""
    for _ in range(world.rng.choice([1, 3])):
        clock.now += world.rng.choice(PAUSES)
        if world.rival is not None and world.rival.is_running:
            world.turn_producer(producer=world.rival)
            hash_files(world, world.rival, world.rng.choice([0, 1, 3]))
        if world.rival is not None and world.rival.is_running:
            world.rival.publisher.pump()


def kill_rival(world: World) -> None:
    """It dies between two steps."""
    if world.rival is not None and world.rival.is_running:
        world.turn_producer(world.rng.randrange(world.rng.choice([4, 20, 80])), producer=world.rival)


def end_one(world: World) -> None:
    """Somebody ends one of the two."""
    running = [producer for producer in world.producers if producer.is_running]
    if len(running) > 1:
        world.rng.choice(running).end()


def free_upstream(world: World) -> None:
    """The connection of the one who leads breaks, and the other may have the queue before it is back."""
    holder = world.broker.holders.get(UPSTREAM)
    if holder is not None:
        holder.reconnect()
        world.broker.free(UPSTREAM)


def take_over(world: World) -> None:
    """A person wants a new epoch of one of them, whoever leads."""
    running = [producer for producer in world.producers if producer.is_running]
    if running:
        producer = world.rng.choice(running)
        try:
            with asked(producer):
                done = producer.pipeline.leading.start(clock.now, takes_over=world.rng.random() < 0.7)
                world.count[f"a person says start: {done}"] += 1
        except StoppedError:
            world.count["a person is refused"] += 1


RIVALS: dict[Callable[[World], None], float] = {
    start_rival: 3, produce_rival: 12, kill_rival: 1, end_one: 0.5, free_upstream: 1.5, take_over: 0.5,
}  # fmt: skip
