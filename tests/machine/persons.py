"""What a person may ask of processes that run here."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import HaltError, NoRoomError, StateError
from tests.machine.consuming import ReplicaProcess
from tests.machine.hold_laws import held_in_journal
from tests.machine.laws import Observed
from tests.machine.process import clock
from tests.machine.producing import ProducerProcess
from tests.machine.world import World


@contextmanager
def asked(process: ProducerProcess | ReplicaProcess) -> Iterator[None]:
    """Something is asked of a process whose disk may fail: without room nothing is done, else it halts."""
    try:
        yield
    except (HaltError, StateError, NoRoomError) as error:
        if not process.faults_met:
            raise
        if not isinstance(error, NoRoomError):
            process.end()


def release_at_master(world: World) -> None:
    """What is held there is released, and the tree vouched for."""
    if world.producer.is_running:
        held = held_in_journal(world.producer.journal._database) - world.master.tree.keys()
        with asked(world.producer):
            released = world.producer.pipeline.release(clock.monotonic())
            world.holds.let_go |= held
            world.count["deletes released at the producer"] += released.held


def release_at(world: World, replica: Observed) -> None:
    """What is held on a replica is released."""
    if replica.process.is_running:
        replica.holds.is_let_go = True
        with asked(replica.process):
            world.count["deletes released at a replica"] += replica.process.release()
