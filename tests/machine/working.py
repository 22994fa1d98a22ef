"""The turns of threads that work beside the loops: what they are in the middle of, the loop and the world go on with."""

from tests.machine.laws import Observed
from tests.machine.process import Killed
from tests.machine.producing import ProducerProcess
from tests.machine.world import World

ALL = 1000


def work(world: World, replica: Observed, most: int = ALL, *, power: bool = False) -> None:
    """Threads that write, copy and hash large contents do so many pieces of work at most. The process may die meanwhile."""
    process, life, disk = replica.process, replica.process.life, replica.process.disk
    if not process.is_running:
        return
    disk.glance = lambda: world.go_on_meanwhile(replica)
    try:
        for _ in range(most):
            if life.is_dead or not process.work_one():
                break
            world.count["pieces of work on large contents"] += 1
    except Killed:
        if replica.process.life is life and replica.process.is_running:  # else it had died already, in its loop
            world.count["deaths at work"] += 1
            world.bury(replica, power=power)
    finally:
        disk.glance = lambda: None


def hash_files(world: World, producer: ProducerProcess, most: int = ALL) -> None:
    """The producer's thread hashes so many large files at most. They may be edited meanwhile."""
    for _ in range(most):
        if not producer.is_running or not producer.hash_one():
            break
        world.count["large files hashed"] += 1
