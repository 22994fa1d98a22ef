"""Disks that fail: a replica's, or the master's, for some calls or some time."""

from collections.abc import Callable

from tests.machine.faults import OF_A_REPLICA, OF_THE_MASTER, drawn
from tests.machine.laws import Observed
from tests.machine.process import clock
from tests.machine.world import World


def fail_disk(world: World, replica: Observed) -> None:
    """A replica's disk begins to fail."""
    fault = drawn(OF_A_REPLICA, world.rng, lambda: clock.now)
    replica.process.disk.fault = fault
    world.faults.append(fault)


def fail_source(world: World) -> None:
    """The master's disk begins to fail."""
    fault = drawn(OF_THE_MASTER, world.rng, lambda: clock.now)
    for producer in world.producers:
        producer.disk.fault = fault
    world.faults.append(fault)


def mend_disk(world: World, replica: Observed) -> None:
    """A replica's disk is sound again."""
    replica.process.disk.mend()


def mend_source(world: World) -> None:
    """The master's disk is sound again."""
    for producer in world.producers:
        producer.disk.mend()


FAULTS: dict[Callable[..., None], float] = {fail_disk: 3, fail_source: 2, mend_disk: 1, mend_source: 0.5}
