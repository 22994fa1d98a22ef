"""What the machine found in the product, each as a small story told by hand, so that it stays found."""

from tests.machine.acts import lose_state
from tests.machine.calm import calm
from tests.machine.disk import DIRECTORY, FIFO, FILE
from tests.machine.laws import Observed
from tests.machine.reference import Hand
from tests.machine.world import Setting, World


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
