"""What patterns kept for a while is the tree's no more, or is not as the tree has it: it stays until a scrub finds it."""

import pytest

from tests.machine.acts import back_up, restore, turn
from tests.machine.calm import calm
from tests.machine.disk import FILE
from tests.machine.hands import Hand
from tests.machine.laws import Observed
from tests.machine.process import clock
from tests.machine.rules import Rules
from tests.machine.setting import Setting
from tests.machine.world import World

OLD = b"old"


def level() -> tuple[World, Observed]:
    """A world with one replica that is level, and has a file of the master's."""
    world = World(Setting(interleaves=False, replicas=("one",), edits=3))
    world.hand.put(OLD, FILE, 0o644, b"published")
    world.master.look()
    calm(world)
    return world, world.replicas["one"]


def start_with(world: World, rules: Rules) -> None:
    """The producer is started with these patterns, and publishes what follows from them."""
    world.rules.add(rules)
    world.producer.end()
    world.producer.patterns = rules
    for _ in range(8):
        world.turn_producer()
        if world.producer.is_running:
            world.producer.publisher.pump()
        clock.now += 1.1


@pytest.mark.parametrize("looks", [True, False])
def test_what_left_as_excluded_and_went_from_the_master_is_found_when_it_is_excluded_no_more(looks: bool) -> None:
    world, replica = level()
    start_with(world, ("/old",))
    if looks:
        turn(world, replica)
        world.check()
    world.hand.remove(OLD)
    world.master.look()
    start_with(world, ())
    for _ in range(3):
        turn(world, replica)
    world.check()
    assert OLD in replica.disk(), "it left as excluded: nobody said that it is to go"
    calm(world)
    assert OLD not in replica.disk()


def test_what_was_edited_behind_a_pattern_is_found_when_a_backup_of_then_stands_without_the_pattern() -> None:
    world, replica = level()
    replica.process.end()
    replica.protect(("/old",))
    calm(world)
    Hand(replica.process.disk, replica.process.target).remove(OLD)
    replica.note_edited({OLD})
    turn(world, replica)
    world.check()
    back_up(world, replica)
    replica.process.end()
    replica.protect(())
    while not world.count["restore both"]:
        restore(world, replica)
    turn(world, replica)
    world.check()
    calm(world)
    assert OLD in replica.disk()
