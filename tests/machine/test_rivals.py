"""A journal or base that is older than what was published, and nobody who knows better answers in time: it takes nothing back."""

import pytest

from producer.leading import Leading
from tests.machine.acts import turn
from tests.machine.acts_producers import start_rival
from tests.machine.calm import calm
from tests.machine.disk import FILE
from tests.machine.laws import Observed
from tests.machine.needs import lose
from tests.machine.process import clock, databases
from tests.machine.producing import JOURNAL, ProducerProcess
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


def go_on(world: World, *producers: ProducerProcess | None, rounds: int = 4) -> None:
    """These take turns; all is published that can be."""
    for _ in range(rounds):
        for producer in producers:
            world.turn_producer(producer=producer)
            hash_files(world, producer or world.producer)
            (producer or world.producer).publisher.pump()
        clock.now += 1.1


def base_of_a_second() -> tuple[World, Observed]:
    """A second has scanned the source for its base; what came then, and it did not see, the first has published and ends."""
    world = World(Setting(interleaves=False, replicas=("one",), edits=3))
    replica = world.replicas["one"]
    start_rival(world)
    first, second = world.rival, world.producer
    assert first is not None
    for _ in range(10):
        go_on(world, first, rounds=1)
        turn(world, replica)
    go_on(world, first, second)
    assert first.pipeline.leading.is_live
    assert second.watch is not None
    second.watch.is_deaf = True
    world.hand.put(LARGE, FILE, 0o644, b"new")
    world.master.look()
    world.hint(LARGE)
    for _ in range(4):
        go_on(world, first, second, rounds=1)
        turn(world, replica)
    assert LARGE in replica.disk()
    first.end()
    return world, replica


def test_a_base_of_before_another_published_is_scanned_for_again() -> None:
    world, replica = base_of_a_second()
    for _ in range(10):
        go_on(world, world.producer, rounds=1)
        turn(world, replica)
        world.check()
        assert LARGE in replica.disk()
    assert world.producer.pipeline.leading.is_live
    calm(world)


def test_a_base_of_before_another_published_that_took_over_is_compared_before_anybody_is_told_of_it() -> None:
    world, replica = level()
    start_rival(world)
    first, second = world.rival, world.producer
    assert first is not None
    while not first.is_running:
        world.turn_producer(producer=first)
    go_on(world, first, rounds=1)
    first.pipeline.leading.start(clock.now, takes_over=True)
    for _ in range(6):
        go_on(world, first, rounds=1)
        turn(world, replica)
    second.end()  # and started again: it hears of the first, and makes its index anew
    for _ in range(20):
        world.turn_producer()
        if second.pipeline.leading.is_whole:
            break
        second.publisher.pump()
        turn(world, replica)
        clock.now += 0.1
    assert second.pipeline.leading.word == "hearing"
    assert second.watch is not None
    second.watch.is_deaf = True
    world.hand.put(LARGE, FILE, 0o644, b"new")
    world.master.look()
    world.hint(LARGE)
    go_on(world, first, rounds=2)
    turn(world, replica)
    assert LARGE in replica.disk()
    for _ in range(10):
        go_on(world, second, rounds=1)
        turn(world, replica)
        world.check()
        assert LARGE in replica.disk()
    assert second.pipeline.leading.is_live
    calm(world)
