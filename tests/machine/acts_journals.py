"""What happens to what the producer knows. Acts as in `acts`."""

from tests.machine.process import clock, databases
from tests.machine.producing import JOURNAL
from tests.machine.world import BACKUPS_KEPT, Copy, World


def kill_answerer(world: World) -> None:
    """The process that makes answers is started again."""
    if world.producer.is_running:
        world.producer.answerer.die()


def lose_journal(world: World) -> None:
    """The producer's journal is gone."""
    world.producer.end()
    databases.images.pop(JOURNAL, None)
    world.holds.let_go.clear()
    clock.now += 2.0
    world.count["journals lost"] += 1


def back_up_journal(world: World) -> None:
    """A copy of the journal."""
    if world.producer.is_running and world.producer.journal.is_base_complete:
        copies = world.backups.setdefault(JOURNAL, [])
        copies.append(Copy(databases.image(JOURNAL)))
        del copies[:-BACKUPS_KEPT]


def restore_journal(world: World) -> None:
    """The journal is an older copy."""
    if world.backups.get(JOURNAL):
        world.producer.end()
        databases.images[JOURNAL] = world.rng.choice(world.backups[JOURNAL]).database
        world.holds.let_go.clear()
        clock.now += 2.0
        world.count["journals restored"] += 1
