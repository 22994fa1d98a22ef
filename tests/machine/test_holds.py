"""Too many deletes are held, at the producer and on a replica, whatever dies meanwhile; and when a person says so, they go."""

import errno
from collections.abc import Callable
from itertools import count

import pytest

from tests.machine.acts import produce, turn
from tests.machine.acts_holds import unvouch
from tests.machine.calm import HOLD_ALARM, calm
from tests.machine.disk import DIRECTORY, FILE
from tests.machine.hold_laws import held_in_journal
from tests.machine.laws import Observed, claims_of
from tests.machine.looking import error_of
from tests.machine.persons import release_at, release_at_master
from tests.machine.process import clock
from tests.machine.queues import UPSTREAM
from tests.machine.setting import Setting
from tests.machine.world import World

LIMIT = 2
FILES = [b"full/%d" % number for number in range(5)]


def full_world(*, hold_paths: int | None = LIMIT, replica_hold_paths: int | None = None) -> tuple[World, Observed]:
    """A replica that is level with a master whose directory is full."""
    setting = Setting(
        interleaves=False, replicas=("one",), edits=0, hold_paths=hold_paths, replica_hold_paths=replica_hold_paths
    )
    world = World(setting)
    world.hand.put(b"stays", FILE, 0o644, b"stays")
    world.hand.put(b"full", DIRECTORY, 0o755)
    for path in FILES:
        world.hand.put(path, FILE, 0o644, b"in " + path)
    world.master.look()
    calm(world)
    return world, world.replicas["one"]


def empty(world: World) -> None:
    """The directory goes, with all that is in it."""
    world.hand.remove(b"full")
    changed(world)


def changed(world: World) -> None:
    """The watch tells of the directory, and some time passes."""
    world.master.look()
    world.hint(b"full")
    go_on(world)


def go_on(world: World, rounds: int = 20) -> None:
    """Everybody has some turns; nobody releases anything."""
    for _ in range(rounds):
        produce(world)
        for replica in world.replicas.values():
            turn(world, replica)
        clock.now += 0.3
        world.check()


def held(world: World) -> set[bytes]:
    """What the producer holds."""
    return held_in_journal(world.producer.journal._database)


def held_at(replica: Observed) -> set[bytes]:
    """What a replica holds."""
    unmet = claims_of(replica.process.state._database).unmet
    return {path for path, why in unmet.items() if why == "held"}


def test_a_mass_delete_is_held_over_restarts_and_goes_when_it_is_released() -> None:
    world, replica = full_world()
    before = replica.disk()
    empty(world)
    assert held(world) == {b"full", *FILES}
    for _ in range(3):
        world.producer.end()
        go_on(world)
        assert held(world) == {b"full", *FILES}
    assert replica.disk() == before
    assert HOLD_ALARM in world.producer.board.alarms()
    release_at_master(world)
    world.producer.end()
    go_on(world)
    assert replica.disk().keys() == {b"stays"}
    assert not world.producer.board.alarms()


def test_a_hold_is_over_when_the_files_are_back() -> None:
    world, replica = full_world()
    empty(world)
    world.hand.put(b"full", DIRECTORY, 0o755)
    for path in FILES[LIMIT:]:
        world.hand.put(path, FILE, 0o644, b"back")
    changed(world)
    assert held(world) == set()
    assert replica.disk() == world.master.tree


def test_a_move_is_not_held() -> None:
    world, replica = full_world()
    world.hand.rename(b"full", b"moved")
    world.hint(b"moved")
    changed(world)
    assert replica.disk() == world.master.tree
    assert world.count["deletes released at the producer"] == 0


def unvouched(fault: Callable[[str], None] = lambda what: None) -> tuple[World, Observed]:
    """A replica whose master deletes much, and nobody vouches for that. `fault`: its disk's, meanwhile."""
    world, replica = full_world(hold_paths=None, replica_hold_paths=LIMIT)
    replica.process.disk.fault = fault
    world.hand.remove(b"full")
    world.master.look()
    unvouch(world)
    world.broker.losing[UPSTREAM] = 1000
    go_on(world)
    assert replica.disk()[FILES[0]]
    return world, replica


@pytest.mark.parametrize("power", [False, True])
def test_what_a_replica_holds_it_holds_over_deaths(power: bool) -> None:
    world, replica = unvouched()
    is_held = held_at(replica)
    assert {b"full", *FILES} <= is_held
    before = replica.disk()
    for _ in range(3):
        world.bury(replica, power=power)
        go_on(world)
    assert held_at(replica) == is_held
    assert replica.disk() == before
    assert HOLD_ALARM in replica.process.board.alarms()


@pytest.mark.parametrize("nth", range(1, 8))
def test_what_a_replica_remembers_of_a_hold_waits_for_room(nth: int) -> None:
    """Each of the commits that come with a hold and with its release, while the disk is full for a moment."""
    world, replica = unvouched(_no_room_at(nth))
    release_at_master(world)
    replica.process.disk.fault = _no_room_at(nth)
    go_on(world, rounds=5)
    calm(world)
    assert held_at(replica) == set()


def _no_room_at(nth: int) -> Callable[[str], None]:
    """There is no room for the nth commit."""
    commits = count(1)

    def fault(what: str) -> None:
        if what == "commit" and next(commits) == nth:
            raise error_of(errno.ENOSPC)

    return fault


@pytest.mark.parametrize("who", ["master", "replica"])
def test_what_a_replica_holds_goes_when_it_is_released(who: str) -> None:
    world, replica = unvouched()
    if who == "master":
        release_at_master(world)
    else:
        release_at(world, replica)
    go_on(world, rounds=5)
    assert replica.disk() == world.master.tree
    world.broker.losing.clear()
    go_on(world, rounds=40)
    assert held_at(replica) == set()
    calm(world)


def test_a_release_is_not_lost_with_the_process() -> None:
    """The next process of a replica removes what its person released, wherever the first one died."""
    for steps in range(0, 40, 4):
        world, replica = unvouched()
        release_at(world, replica)
        world.turn_replica(replica, steps, power=True)
        calm(world)
        assert not world.count["held in the calm"]


def test_a_file_in_the_place_of_a_held_directory_is_judged_once_however_often_it_is_looked_at() -> None:
    world, replica = full_world()
    world.hand.remove(b"full")
    world.hand.put(b"full", FILE, 0o644, b"a file now")
    changed(world)
    holds = world.producer.pipeline.holds
    assert held(world) == {b"full", *FILES}
    for _ in range(3):
        world.hint(b"full")
        for _ in range(3):
            world.turn_producer()
        assert holds.is_judged
    release_at_master(world)
    go_on(world)
    assert replica.disk() == world.master.tree


def test_a_held_directory_that_is_a_file_now_counts_no_more() -> None:
    world, replica = full_world(hold_paths=len(FILES))
    empty(world)
    assert held(world) == {b"full", *FILES}
    world.hand.put(b"full", FILE, 0o644, b"a file now")
    changed(world)
    assert held(world) == set()
    assert replica.disk() == world.master.tree
