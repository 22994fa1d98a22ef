"""A journal that is older than what was published, and nobody who knows better answers in time: it takes nothing back."""

import pytest

from producer.leading import Leading
from tests.machine.acts import turn
from tests.machine.calm import calm
from tests.machine.disk import FILE
from tests.machine.laws import Observed
from tests.machine.needs import lose
from tests.machine.process import clock, databases
from tests.machine.producing import JOURNAL
from tests.machine.queues import UPSTREAM
from tests.machine.reference import LawBroken
from tests.machine.setting import Setting
from tests.machine.working import hash_files
from tests.machine.world import World

LARGE = b"large"
"""It must be hashed before it is known to have come: that takes as long as it takes."""


def level() -> tuple[World, Observed]:
    """A world with one replica that is level."""
    world = World(Setting(interleaves=False, replicas=("one",), edits=3))
    calm(world)
    return world, world.replicas["one"]


def restore_unheard() -> tuple[World, Observed]:
    """A file comes and is published, then the journal of before is restored, and announced before the replica has its turn."""
    world, replica = level()
    backup = databases.image(JOURNAL)
    world.hand.put(LARGE, FILE, 0o644, b"x" * 5000)
    world.master.look()
    world.hint(LARGE)
    calm(world)
    world.producer.end()
    lose(world, UPSTREAM)
    databases.images[JOURNAL] = backup
    for _ in range(3):
        world.turn_producer()
        world.producer.publisher.pump()
        clock.now += 1.1
    world.turn_producer()
    world.producer.publisher.pump()
    assert world.producer.pipeline.leading.is_live
    return world, replica


def ask(world: World, replica: Observed) -> None:
    """The replica asks what it lacks, and the producer would answer; the file is not hashed yet."""
    for _ in range(5):
        turn(world, replica)
        world.turn_producer()
        world.producer.publisher.pump()
        world.check()
        clock.now += 0.1


def test_before_it_was_compared_with_the_source_nobody_is_told_what_is_in_an_index() -> None:
    world, replica = restore_unheard()
    ask(world, replica)
    assert replica.process.state.standing().stale
    assert LARGE in replica.disk()
    hash_files(world, world.producer)
    calm(world)


def test_without_that_it_takes_back_what_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leading, "may_answer", property(lambda leading: leading.is_live))
    world, replica = restore_unheard()
    with pytest.raises(LawBroken, match="takes it back"):
        ask(world, replica)
