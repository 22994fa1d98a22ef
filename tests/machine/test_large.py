"""Large contents travel in parts beside the stream: whatever dies or changes meanwhile, no path ever shows another content."""

import errno
from collections.abc import Callable
from contextlib import nullcontext
from math import inf
from random import Random

import pytest

from common.errors import HaltError
from consumer.filling import Content
from consumer.store import Store
from producer import parts
from tests.machine import calm as calm_module
from tests.machine.acts import produce, turn
from tests.machine.calm import calm
from tests.machine.disk import DIRECTORY, FILE
from tests.machine.faults import SYNCING, Fault
from tests.machine.laws import Observed
from tests.machine.process import clock
from tests.machine.reference import LawBroken, check
from tests.machine.setting import Setting
from tests.machine.wire import INLINE_BYTES, PART, apart
from tests.machine.working import hash_files, work
from tests.machine.world import World

LARGE = b"".join(b"%06d" % number for number in range(900))
OTHER = LARGE[::-1]
KEPT = {"kill": None, "nothing is kept": 0.0, "some is kept": 0.5}
"""What a power cut keeps of what was not synced; None: the power stays."""
STEPS_APART = 2
"""Every other step: stories take care of the others."""


def level_world(*, content: bytes = LARGE[:INLINE_BYTES]) -> tuple[World, Observed]:
    """A replica that is level with a master that has one file."""
    world = World(Setting(interleaves=False, replicas=("one",), edits=0))
    world.hand.put(b"d", DIRECTORY, 0o755)
    world.hand.put(b"d/file", FILE, 0o644, content)
    world.master.look()
    calm(world)
    world.ear.heard.clear()
    return world, world.replicas["one"]


def put(world: World, path: bytes, content: bytes) -> None:
    """A file is another one; the watch tells."""
    world.hand.put(path, FILE, 0o644, content)
    tell(world, path)


def tell(world: World, *paths: bytes) -> None:
    """The watch tells of these."""
    for path in paths:
        world.hint(path)
    world.master.look()


def publish(world: World) -> None:
    """What changed is hashed and published."""
    for _ in range(20):
        produce(world)
        hash_files(world, world.producer)
        clock.now += 0.3
        if world.published.tree == world.master.tree:
            return
    raise AssertionError("not published")


def fetch(world: World, replica: Observed, rounds: int = 1) -> None:
    """Everybody goes on, and nobody's work is left."""
    for _ in range(rounds):
        produce(world)
        turn(world, replica)
        work(world, replica)
        clock.now += 0.06
        world.check()


def parts_sent(world: World) -> int:
    """How many parts were sent."""
    return sum(one[6] == PART for message in world.ear.heard for one in apart(message.body))


def until_parts(world: World, replica: Observed, number: int = 1) -> None:
    """Until so many parts were sent."""
    for _ in range(100):
        if parts_sent(world) >= number:
            return
        fetch(world, replica)
    raise AssertionError("no parts")


@pytest.mark.parametrize("how", KEPT)
def test_a_replica_may_die_at_any_step_while_a_content_comes(how: str) -> None:
    """What is there of it is of use to the next process, and nothing of it is seen before it is whole."""
    step, is_over = 0, False
    while not is_over:
        world, replica = level_world()
        put(world, b"d/file", LARGE)
        publish(world)
        world.keep, life = KEPT[how], replica.process.life
        life.left = step
        for _ in range(60):
            if life.is_dead or replica.disk() == world.published.tree:
                break
            go_on(world, replica, power=KEPT[how] is not None)
        is_over, life.left = not life.is_dead, None
        step += STEPS_APART
        calm(world)
    assert step > 40


def go_on(world: World, replica: Observed, *, power: bool) -> None:
    """A round of each, in which the replica may die."""
    produce(world)
    clock.now += 0.06
    world.turn_replica(replica, power=power)
    if replica.process.is_running:
        work(world, replica, 1, power=power)
    world.check()


@pytest.mark.parametrize("shortly", [False, True])
def test_a_content_that_changes_while_it_is_sent_ends_as_it_is(shortly: bool) -> None:
    """Also where time and size stay."""
    world, replica = level_world()
    put(world, b"d/file", LARGE)
    publish(world)
    until_parts(world, replica)
    node = world.master.tree[b"d/file"]
    world.hand.write(b"d/file", OTHER)
    if shortly:
        assert isinstance(node[2], int)
        world.hand.set(b"d/file", mtime_ns=node[2])
    tell(world, b"d/file")
    fetch(world, replica, 4)
    calm(world)
    assert replica.disk()[b"d/file"][-1] == OTHER


def test_a_move_sends_no_part() -> None:
    """Nor does one of the directory; the replica has the content."""
    world, replica = level_world(content=LARGE)
    world.hand.rename(b"d/file", b"file")
    tell(world, b"d/file", b"file")
    calm(world)
    world.hand.rename(b"d", b"e")
    world.hand.rename(b"file", b"e/file")
    tell(world, b"d", b"e", b"file")
    calm(world)
    world.hand.set(b"e/file", mode=0o600)
    tell(world, b"e/file")
    calm(world)
    assert parts_sent(world) == 0
    assert replica.disk()[b"e/file"][-1] == LARGE


def test_what_was_fetched_is_not_fetched_again_by_the_next_process() -> None:
    world, replica = level_world()
    put(world, b"d/file", LARGE)
    publish(world)
    until_parts(world, replica, 4)
    fetch(world, replica)
    sent = parts_sent(world)
    world.bury(replica, power=False)
    calm(world)
    assert parts_sent(world) <= -(-len(LARGE) // 1024) + 2, sent


def test_a_file_that_became_small_before_it_was_hashed_travels_with_its_event() -> None:
    world, _ = level_world()
    put(world, b"d/file", LARGE)
    produce(world)
    world.hand.write(b"d/file", b"small")
    tell(world, b"d/file")
    publish(world)
    calm(world)


def _never_wrong(content: Content) -> object:
    verdict = _JUDGE(content)
    return type(verdict).WHOLE if verdict.name == "WRONG" else verdict


_JUDGE = Content._judge


def the_disk_has_another_content(world: World, replica: Observed) -> None:
    """Where the content of what moves should be."""
    replica.process.target.names[b"d"].names[b"file"].content = OTHER
    replica.note_edited({b"d/file"})
    world.hand.rename(b"d/file", b"file")
    tell(world, b"d/file", b"file")
    calm(world)
    check(replica.disk()[b"file"][-1] == LARGE, "another content")


def the_file_is_another_when_it_is_asked_for(world: World, replica: Observed) -> None:
    """And nobody knows yet."""
    put(world, b"d/file", OTHER)
    publish(world)
    world.hand.write(b"d/file", LARGE)
    world.master.look()
    fetch(world, replica, 20)
    calm(world)


UNPROVED: dict[str, tuple[Callable[[World, Observed], None], tuple[object, str, Callable[..., object]]]] = {
    "a content is not proved": (the_disk_has_another_content, (Content, "_judge", _never_wrong)),
    "a part is read of whatever is there": (
        the_file_is_another_when_it_is_asked_for,
        (parts, "_is_still", lambda file, known: True),
    ),
}


@pytest.mark.parametrize("name", UNPROVED)
def test_without_proof_a_wrong_content_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calm_module, "CALM_ROUNDS", 80)
    story, patch = UNPROVED[name]
    story(*level_world(content=LARGE))
    monkeypatch.setattr(*patch)
    world, replica = level_world(content=LARGE)
    with pytest.raises(LawBroken):
        story(world, replica)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEM])
def test_a_disk_that_fails_at_the_store_halts_the_process_or_is_told(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: Store, digest: bytes) -> int:
        raise OSError(number, "failed")

    world, replica = level_world()
    put(world, b"d/file", LARGE)
    publish(world)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "size", fail)
        with pytest.raises(HaltError) if number == errno.EIO else nullcontext():
            fetch(world, replica, 4)
        assert number == errno.EIO or "no-room-for-content" in replica.process.board.alarms()
    world.bury(replica, power=False)
    calm(world)


def test_what_a_failed_sync_left_of_a_content_is_written_once_more() -> None:
    """What is read of it comes from memory, and a sync that failed once says "done" ever after."""
    world, replica = level_world()
    put(world, b"large", LARGE)
    publish(world)
    disk = replica.process.disk
    fetch(world, replica, 3)
    disk.fault = Fault(errno.EIO, SYNCING, 1.0, None, inf, lambda: clock.now, Random(0))
    for _ in range(20):
        world.turn_replica(replica)
        if not replica.process.is_running:
            break
        work(world, replica)
        produce(world)
    assert not replica.process.is_running
    disk.mend()
    calm(world)
    assert replica.disk()[b"large"][-1] == LARGE
    world.keep = 0.0
    world.bury(replica, power=True)
    assert replica.disk()[b"large"][-1] == LARGE


def test_a_stage_that_cannot_be_listed_once_a_content_is_placed_halts() -> None:
    world, replica = level_world()
    put(world, b"large", LARGE)
    publish(world)
    disk = replica.process.disk
    disk.fault = Fault(errno.EIO, frozenset({"list"}), 1.0, None, inf, lambda: clock.now, Random(0))
    fetch(world, replica, 60)
    assert world.count["halts of a replica"]
    calm(world)
    assert replica.disk()[b"large"][-1] == LARGE
