"""What the machine found in the product, each as a small story told by hand, so that it stays found."""

import errno
from math import inf
from random import Random

import pytest

from common.errors import HaltError, NoRoomError
from tests.machine.acts import lose_state, produce, turn
from tests.machine.acts_journals import lose_journal
from tests.machine.calm import calm
from tests.machine.disk import DIRECTORY, FIFO, FILE
from tests.machine.faults import Fault
from tests.machine.hands import Hand
from tests.machine.laws import Observed
from tests.machine.needs import lose
from tests.machine.process import clock
from tests.machine.queues import UPSTREAM
from tests.machine.setting import Setting
from tests.machine.test_crash_points import go_on
from tests.machine.world import World


def failing(replica: Observed, number: int, *whats: str, left: int | None = None) -> Fault:
    """From now on the replica's disk fails at these calls."""
    fault = Fault(number, frozenset(whats), 1.0, left, inf, lambda: clock.now, Random(0))
    replica.process.disk.fault = fault
    return fault


def level(*, is_root_user: bool = True) -> tuple[World, Observed, Hand]:
    """A world with one replica that is level, and a hand that edits its disk."""
    world = World(Setting(interleaves=False, is_root_user=is_root_user, replicas=("one",), edits=3))
    calm(world)
    replica = world.replicas["one"]
    return world, replica, Hand(replica.process.disk, replica.process.target)


def test_what_a_start_sets_aside_does_not_come_back_with_the_power() -> None:
    world, replica, hand = level()
    hand.put(b"pipe", FIFO, 0o644)
    lose_state(world, replica)
    world.start_replica(replica)
    assert replica.disk() == world.master.tree
    world.keep = 0.0
    world.bury(replica, power=True)
    assert replica.disk() == world.master.tree


def test_what_lies_in_a_directory_that_forbids_it_goes_aside_all_the_same() -> None:
    world, replica, hand = level(is_root_user=False)
    hand.put(b"closed", DIRECTORY, 0o755)
    hand.put(b"closed/file", FILE, 0o644, b"somebody's")
    hand.put(b"closed/below", DIRECTORY, 0o555)
    hand.set(b"closed", mode=0o555)
    replica.edited |= {b"closed", b"closed/file", b"closed/below"}
    calm(world)
    (label,) = replica.process.disk.find(b"target", b".treecast", b"aside").names  # type: ignore[union-attr]
    kept = replica.process.disk.find(b"target", b".treecast", b"aside", label, b"closed", b"below")
    assert kept is not None
    assert kept.mode == 0o555, "what is set aside keeps its mode"


@pytest.mark.parametrize("kind", [FILE, DIRECTORY])
def test_what_lies_in_a_directory_that_forbids_it_goes_where_what_is_foreign_is_deleted(kind: int) -> None:
    setting = Setting(interleaves=False, is_root_user=False, replicas=("one",), edits=3, foreign={"one": "delete"})
    world = World(setting)
    calm(world)
    replica = world.replicas["one"]
    hand = Hand(replica.process.disk, replica.process.target)
    hand.put(b"closed", DIRECTORY, 0o755)
    hand.put(b"closed/inside", kind, 0o755, b"somebody's" if kind == FILE else b"")
    hand.set(b"closed", mode=0o555)
    replica.edited |= {b"closed", b"closed/inside"}
    calm(world)
    assert replica.disk() == world.master.tree


def test_a_directory_in_the_way_of_a_file_gives_way_in_a_directory_that_forbids_it() -> None:
    world, replica, hand = level(is_root_user=False)
    world.hand.put(b"closed", DIRECTORY, 0o755)
    world.hand.put(b"closed/file", FILE, 0o644, b"published")
    world.hand.set(b"closed", mode=0o555)
    world.master.look()
    world.hint(b"closed")
    calm(world)
    hand.put(b"closed/file", DIRECTORY, 0o750)
    replica.edited.add(b"closed/file")
    calm(world)
    assert replica.disk()[b"closed/file"][-1] == b"published"


def test_a_file_that_its_owner_may_not_read_is_fetched_again_when_its_time_says_that_it_was_edited() -> None:
    world, replica, hand = level(is_root_user=False)
    world.hand.put(b"secret", FILE, 0o200, b"published")
    world.master.look()
    world.hint(b"secret")
    calm(world)
    hand.write(b"secret", b"elsewhere")
    replica.edited.add(b"secret")
    calm(world)
    assert replica.disk()[b"secret"][-1] == b"published"


def test_a_root_that_could_not_be_listed_for_a_moment_is_no_finding() -> None:
    world, replica, _ = level()
    failing(replica, errno.EIO, "list", left=1)
    world.scrub(replica)
    turn(world, replica)
    figures = replica.process.board.figures()
    assert not [name for name, _ in figures if name == "scrub_findings_total"]
    assert b"aside" not in replica.process.disk.find(b"target", b".treecast").names  # type: ignore[union-attr]
    assert replica.disk() == world.master.tree


@pytest.mark.parametrize(("number", "error"), [(errno.EIO, HaltError), (errno.EMFILE, NoRoomError)])
@pytest.mark.parametrize("what", ["open", "stat", "dup"])
def test_a_disk_that_fails_at_the_start_is_no_wrong_setting(number: int, error: type[Exception], what: str) -> None:
    _, replica, _ = level()
    replica.process.end()
    failing(replica, number, what)
    with pytest.raises(error):
        replica.process.start()


@pytest.mark.parametrize("what", ["open", "stat", "list"])
def test_a_running_replica_whose_disk_cannot_be_read_halts_or_goes_on(what: str) -> None:
    world, replica, hand = level()
    hand.put(b"foreign", FILE, 0o644, b"goes aside")
    replica.edited.add(b"foreign")
    calm(world)
    fault = failing(replica, errno.EIO, what)
    clock.now += 1000.0
    for _ in range(5):
        world.edit_master()
        world.turn_producer()
        world.producer.publisher.pump()
        world.turn_replica(replica)
    assert fault.hits
    calm(world)


@pytest.mark.parametrize("what", ["open", "stat", "list"])
def test_a_source_that_cannot_be_read_stops_nothing(what: str) -> None:
    world, _, _ = level()
    world.producer.end()
    world.start_producer()
    world.disks[b"master"].fault = fault = Fault(
        errno.EIO, frozenset({what}), 1.0, None, inf, lambda: clock.now, Random(0)
    )
    for _ in range(20):
        world.turn_producer()
        clock.now += 0.5
    assert fault.hits
    assert world.producer.is_running
    assert world.producer.board.alarms()
    calm(world)


def test_somebodys_file_where_something_came_and_went_goes_aside() -> None:
    world, replica, hand = level()
    hand.put(b"passing", FILE, 0o644, b"somebody's")
    replica.edited.add(b"passing")
    for comes in (True, False):
        if comes:
            world.hand.put(b"passing", FILE, 0o644, b"ours")
        else:
            world.hand.remove(b"passing")
        world.master.look()
        world.hint(b"passing")
        while world.published.tree != world.master.tree:
            produce(world)
            clock.now += 0.1
    go_on(world, replica)
    (label,) = replica.process.disk.find(b"target", b".treecast", b"aside").names  # type: ignore[union-attr]
    kept = replica.process.disk.find(b"target", b".treecast", b"aside", label, b"passing")
    assert kept is not None
    assert kept.content == b"somebody's"
    calm(world)


def with_patterns(world: World, *rules: str) -> None:
    """The producer is started with these patterns."""
    world.producer.end()
    world.producer.patterns = rules
    world.rules.add(rules)


def test_what_is_excluded_stays_when_the_directory_that_it_lies_in_goes() -> None:
    world, replica, _ = level()
    world.hand.put(b"goes", DIRECTORY, 0o755)
    world.hand.put(b"goes/note.tmp", FILE, 0o644, b"excluded later")
    world.master.look()
    calm(world)
    with_patterns(world, "*.tmp")
    world.hand.remove(b"goes")
    world.master.look()
    calm(world)
    assert replica.disk()[b"goes/note.tmp"][-1] == b"excluded later"


def test_a_file_goes_where_the_master_has_an_excluded_directory_now() -> None:
    world, replica, _ = level()
    world.hand.put(b"turns", FILE, 0o644, b"published")
    world.master.look()
    calm(world)
    with_patterns(world, "turns/")
    world.hand.put(b"turns", DIRECTORY, 0o755)
    world.master.look()
    calm(world)
    assert b"turns" not in replica.disk()


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_what_an_adoption_found_below_an_excluded_directory_leaves_the_index_with_it(seed: int) -> None:
    # By the seed: the bucket of the directory is level before those of what lies in it.
    world = World(Setting(interleaves=False, lateness=0.7, replicas=("one",), edits=3, seed=seed))
    with_patterns(world, "kept")
    replica = world.replicas["one"]
    hand = Hand(replica.process.disk, replica.process.target)
    hand.put(b"kept", DIRECTORY, 0o755)
    for number in range(9):
        hand.put(b"kept/%d" % number, FILE, 0o644, b"theirs")
    replica.note_edited(set(replica.disk()))
    calm(world)
    assert replica.disk()[b"kept/8"][-1] == b"theirs"


@pytest.mark.parametrize("rules", [("turns/",), ("turns", "!turns/")])
def test_what_left_as_excluded_goes_where_it_is_of_another_kind_that_is_not(rules: tuple[str, ...]) -> None:
    world = World(Setting(interleaves=False, replicas=("one",), edits=3, foreign={"one": "keep"}))
    replica = world.replicas["one"]
    kinds = [FILE, DIRECTORY] if len(rules) == 1 else [DIRECTORY, FILE]
    for kind in kinds:
        world.hand.put(b"turns", kind, 0o755, b"text" if kind == FILE else b"")
        world.master.look()
        world.hint(b"turns")
        if kind == kinds[0]:
            calm(world)
    while world.published.tree != world.master.tree or any(world.producer.journal.outbox.unconfirmed()):
        produce(world)
        clock.now += 0.1
    lose(world)
    with_patterns(world, *rules)
    while b"turns" in world.published.tree:
        produce(world)
        clock.now += 0.3
        lose(world, UPSTREAM)
        turn(world, replica)
        lose(world, UPSTREAM)
    for _ in range(3):
        turn(world, replica)
    assert b"turns" not in replica.disk()
    calm(world)


def test_a_producer_without_a_journal_that_excludes_everything_does_not_wait_in_silence() -> None:
    world, replica, _ = level()
    before = replica.disk()
    with_patterns(world, "*")
    lose_journal(world)
    calm(world)
    assert replica.disk() == before
