"""What can happen in a world whose replicas are asked from beside the master, and step out of service. Acts as in `acts`."""

from collections.abc import Callable

from common.messages import CommandVerb
from producer.proofs import Proved
from tests.machine.acts import produce, turn, wait
from tests.machine.persons import asked
from tests.machine.process import clock
from tests.machine.reference import check
from tests.machine.world import World


def command(world: World) -> None:
    """A person asks all replicas for something."""
    producer = world.producer
    if not producer.is_running or not producer.pipeline.leading.is_live:
        return
    now, verb = clock.monotonic(), world.rng.choice(list(CommandVerb))
    with asked(producer):
        world.tickets.append(producer.pipeline.commanding.begin(verb, producer.pipeline.members.view(now), now))
        world.count[f"asked to {verb}"] += 1


def look(world: World) -> None:
    """And looks what came of it. Nobody who follows this producer may seem to hold another tree, unless a bug has spoiled it."""
    producer, now = world.producer, clock.monotonic()
    for ticket in world.tickets if producer.is_running else []:
        asked = producer.pipeline.commanding.look(ticket, producer.pipeline.members.view(now), now)
        for name, (proof, _) in asked.proofs.items() if asked is not None else []:
            world.count[proof.word] += 1
            is_sound = world.replicas[name].is_sound
            check(proof.word is not Proved.DIFFERS or not is_sound, f"{name} seems to differ: {proof.why}")


def serve(world: World) -> None:
    """Everybody has some turns, and some seconds pass: so that leave can be asked for, and given."""
    for _ in range(3):
        produce(world)
        for replica in world.replicas.values():
            turn(world, replica)
            world.check()
            if replica.process.is_running and replica.process.is_scrub_asked:
                world.scrub(replica)
        wait(world)


COMMANDS: dict[Callable[[World], None], float] = {command: 2, look: 1, serve: 3}
