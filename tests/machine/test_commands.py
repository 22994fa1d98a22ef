"""Whatever is asked of replicas from beside the stream: nothing else changes by it, and never are too few in service."""

import pytest

from producer.resting import Resting
from tests.machine.acts import perform, produce, spoil, turn
from tests.machine.acts_commands import command, look, serve
from tests.machine.calm import calm
from tests.machine.needs import change, lose
from tests.machine.process import clock
from tests.machine.reference import LawBroken
from tests.machine.setting import Setting
from tests.machine.storms import survey
from tests.machine.themes import themes_of
from tests.machine.world import World

MAX_LAG_SECONDS = 1.0
LEASES_ROUNDS = 12


def level() -> World:
    """Two replicas that are level, of which one may be behind for a second."""
    world = World(Setting(interleaves=False, edits=5, ready_max_lag_seconds=MAX_LAG_SECONDS))
    calm(world)
    return world


def fall_behind(world: World) -> None:
    """Both miss something, and nobody answers what they ask."""
    change(world, b"missed")
    for name in world.replicas:
        lose(world, name)
    world.producer.answerer.take = lambda room_bytes, now: []  # type: ignore[method-assign]


def ask(world: World, verb: str) -> None:
    """A person asks until it is this."""
    while not world.count[f"asked to {verb}"]:
        command(world)


def serve_for_long(world: World) -> None:
    """Longer than any leave lasts."""
    for _ in range(LEASES_ROUNDS):
        serve(world)


def serve_seconds(world: World, seconds: float) -> None:
    """Everybody has turns for so long."""
    until = clock.now + seconds
    while clock.now < until:
        produce(world)
        for replica in world.replicas.values():
            turn(world, replica)
            world.check()
        clock.now += 0.3


def test_every_law_holds_where_replicas_are_asked_and_step_out() -> None:
    seeds = [seed for seed in range(500, 700) if "commands" in themes_of(seed)]
    _, broken, count = survey(seeds)
    assert broken == {}
    for what in ("asked to prove", "asked to scrub", "proved", "steps out of service"):
        assert count[what], what


def test_both_prove_their_digest_in_the_calm() -> None:
    world = level()
    ask(world, "prove")
    for _ in range(3):
        serve(world)
    look(world)
    assert world.count["proved"] == len(world.replicas)


def test_a_scrub_that_is_asked_for_is_carried_out_by_both() -> None:
    world = level()
    ask(world, "scrub")
    for _ in range(3):
        serve(world)
    assert world.count["disks read again"] >= len(world.replicas)


def test_who_was_spoiled_proves_another_digest() -> None:
    world = level()
    spoil(world, world.replicas["one"])
    ask(world, "prove")
    world.replicas["one"].is_sound = True
    with pytest.raises(LawBroken, match="not of the tree"):
        serve(world)


def test_one_of_two_steps_out_while_both_are_behind() -> None:
    world = level()
    serve_for_long(world)
    fall_behind(world)
    for _ in range(4):
        serve(world)
    assert len(world.service.resting) == 1
    world.producer.end()
    calm(world)
    serve(world)
    assert all(replica.process.board.is_ready for replica in world.replicas.values())


def test_nobody_steps_out_before_leave_has_ended_that_an_earlier_leader_gave() -> None:
    world = level()
    world.producer.end()
    serve_seconds(world, 4.0)
    fall_behind(world)
    serve_seconds(world, 10.0)
    assert not world.count["steps out of service"]
    assert all(replica.process.replica._follower._heeding.wants_rest for replica in world.replicas.values())


def test_nobody_stays_out_because_nobody_speaks() -> None:
    world = level()
    serve_for_long(world)
    fall_behind(world)
    for _ in range(4):
        serve(world)
    assert world.service.resting
    world.producer.end()
    world.broker.is_up = False
    for number in range(LEASES_ROUNDS):
        for name in world.replicas:
            perform(world, f"turn {name}", number)
        perform(world, "wait", number)
    assert not world.service.resting


def test_where_all_get_leave_all_step_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The law can be broken: the product goes without its floor."""
    monkeypatch.setattr(Resting, "_granted", lambda self, heard, floor, now: set(heard))
    world = level()
    serve_for_long(world)
    fall_behind(world)
    with pytest.raises(LawBroken, match="too many may step out"):
        serve_for_long(world)
