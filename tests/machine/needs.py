"""Small stories told by hand, each of which needs a rule: with all rules no law breaks, without that one some law does.

They are for rules that a story from a seed needs seldom. What happens here can happen to anybody: messages are lost, doubled and
late, processes die, disks are edited.
"""

from collections.abc import Callable

import pytest

from consumer import barrier
from tests.machine.acts import produce, spoil, turn
from tests.machine.calm import calm
from tests.machine.disk import DIRECTORY, FILE
from tests.machine.hands import Hand
from tests.machine.laws import Observed
from tests.machine.process import clock
from tests.machine.queues import UPSTREAM, Item
from tests.machine.setting import Setting
from tests.machine.wire import BATCH, apart
from tests.machine.world import World

FILES = [b"%02d" % number for number in range(24)]
NAME = "one"
SINCE = 4
"""The type of a since answer, by docs/wire.md."""


def level_world(*, log_rows: int = 1000) -> tuple[World, Observed]:
    """A replica that is level with a master of many files and a directory."""
    world = World(Setting(interleaves=False, replicas=(NAME,), edits=0, log_rows=log_rows))
    world.hand.put(b"d", DIRECTORY, 0o755)
    for path in FILES:
        world.hand.put(path, FILE, 0o644, b"first")
    world.master.look()
    calm(world)
    return world, world.replicas[NAME]


def change(world: World, *paths: bytes) -> None:
    """These files are other ones, and that is published."""
    for path in paths:
        world.hand.put(path, FILE, 0o644, b"changed %d" % world.master.disk.changes)
        world.hint(path)
    world.master.look()
    for _ in range(20):
        produce(world)
        clock.now += 0.3
        if world.published.tree == world.master.tree:
            break
    produce(world)


def lose(world: World, name: str = NAME) -> list[Item]:
    """What waits in a queue is lost. Returns it."""
    waiting = world.broker.queues.waiting(name)
    world.broker.queues.drop(name, waiting)
    return waiting


def deliver(world: World, items: list[Item], name: str = NAME) -> None:
    """These come after all."""
    for item in items:
        world.broker.queues.append(name, item.body, clock.now)


def listen(world: World, replica: Observed, rounds: int = 8) -> None:
    """The replica has its turns; nobody else has. Long enough to see that something is missing, not to ask twice."""
    for _ in range(rounds):
        turn(world, replica)
        clock.now += 0.3
        world.check()


def ask_behind_a_gap(world: World, replica: Observed, *hidden: bytes) -> list[Item]:
    """What changed is lost, and the replica has seen that it misses something. Returns its questions, which nobody has heard."""
    change(world, *hidden)
    lose(world)
    produce(world)
    change(world, FILES[-1])
    lose(world, UPSTREAM)
    listen(world, replica)
    assert replica.process.state.standing().stale
    return lose(world, UPSTREAM)


def answer(world: World, questions: list[Item]) -> list[Item]:
    """The producer answers. What it sends is on its way for longer, each part by itself: elsewhere they are large."""
    deliver(world, questions, UPSTREAM)
    lose(world)
    for _ in range(6):
        produce(world)
    return [Item(one, item.at) for item in lose(world) if is_since(item) for one in apart(item.body)]


def is_since(item: Item) -> bool:
    """Whether this is a part of a since answer."""
    return item.body[6] == SINCE


# -------------------------------------------------------------------------------------------------------------- stories


def a_gap() -> None:
    """A batch of several changes is lost."""
    world, _ = level_world()
    change(world, *FILES[:5])
    lose(world)
    change(world, FILES[9])
    calm(world)


def a_gap_behind_a_gap() -> None:
    """Before the first is healed, something else is missed."""
    world, replica = level_world()
    ask_behind_a_gap(world, replica, FILES[0])
    ask_behind_a_gap(world, replica, FILES[1])
    calm(world)


def a_gap_longer_than_the_log() -> None:
    """More was missed than the producer remembers."""
    world, _ = level_world(log_rows=4)
    for path in FILES[:8]:
        change(world, path)
    lose(world)
    change(world, FILES[9])
    calm(world)


def a_gap_over_a_restart_of_the_producer() -> None:
    """What was missed belongs to an epoch that is over."""
    world, _ = level_world()
    change(world, FILES[0])
    lose(world)
    lose(world)
    world.producer.end()
    while not any(item.body[6] == BATCH for item in lose(world)):  # the outbox goes first, once more
        produce(world)
        clock.now += 0.3
    calm(world)


def a_row_is_spoiled() -> None:
    """The index of a replica is wrong, and the next batch shows it."""
    world, replica = level_world()
    spoil(world, replica)
    change(world, FILES[0])
    calm(world)


def a_question_is_answered_twice() -> None:
    """Parts of both answers come, others are lost."""
    world, replica = level_world()
    questions = ask_behind_a_gap(world, replica, *FILES[1:4])
    first = answer(world, questions)
    change(world, FILES[0])
    listen(world, replica, 1)
    second = answer(world, questions)
    assert len(first) < len(second)
    deliver(world, [second[0], first[1]])
    listen(world, replica, 1)
    calm(world)


def an_answer_from_before_a_gap() -> None:
    """It is on its way for so long that the replica has missed something else meanwhile."""
    world, replica = level_world()
    late = answer(world, ask_behind_a_gap(world, replica, FILES[0]))
    change(world, FILES[1])
    lose(world)
    change(world, FILES[2])
    listen(world, replica, 8)
    deliver(world, late)
    listen(world, replica, 1)
    calm(world)


def an_answer_ahead_of_the_stream() -> None:
    """The batch that it stands behind is lost."""
    world, replica = level_world()
    questions = ask_behind_a_gap(world, replica, FILES[0])
    change(world, FILES[1])
    late = answer(world, questions)
    deliver(world, late)
    listen(world, replica, 1)
    calm(world)


def left_in_the_middle() -> tuple[World, Observed]:
    """A replica that died in the middle of a change below a directory whose mode somebody had changed."""
    world, replica = level_world()
    Hand(replica.process.disk, replica.process.target).set(b"d", mode=0o700)
    replica.note_edited({b"d"})
    change(world, b"d/new")
    life = replica.process.life

    def die_when_it_shows(what: str) -> None:
        life.left = 0 if b"d/new" in replica.disk() else None
        life.step(what)

    replica.process.disk.step = die_when_it_shows
    while replica.process.is_running:
        world.turn_replica(replica)
    world.start_replica(replica)
    return world, replica


def a_plan_is_left() -> None:
    """What is resolved at the start is not what the master has, and did not change there."""
    world, _ = left_in_the_middle()
    calm(world)


def a_gap_behind_a_plan() -> None:
    """Most buckets were level before the gap, and those of the plan were not."""
    world, replica = left_in_the_middle()
    lose(world)
    ask_behind_a_gap(world, replica, FILES[0])
    calm(world)


def power_goes_after_a_commit() -> None:
    """Nothing is kept of what was not synced, and what is synced is synced one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(barrier, "SYNCFS_SECONDS", 1e9)
        patch.setattr(barrier, "_MEMORY", 1.0)
        world, replica = level_world()
        change(world, FILES[0])
        listen(world, replica, 2)
        world.keep = 0.0
        world.bury(replica, power=True)
        world.start_replica(replica)
        world.check()


def a_late_answer_and_live_changes() -> None:
    """What the answer tells of was changed and deleted again, and that came live."""
    world, replica = level_world()
    late = answer(world, ask_behind_a_gap(world, replica, *FILES[:2]))
    world.hand.remove(FILES[0])
    world.hint(FILES[0])
    change(world, FILES[1])
    listen(world, replica, 1)
    deliver(world, late)
    listen(world, replica, 1)
    calm(world)


def somebody_edits_a_replica() -> None:
    """Nothing is published meanwhile."""
    world, replica = level_world()
    Hand(replica.process.disk, replica.process.target).write(FILES[0], b"elsewhere")
    replica.note_edited({FILES[0]})
    calm(world)


Story = Callable[[], None]
NEEDED: dict[str, Story] = {
    "base-before-jump": a_gap,
    "all-parts": a_gap,
    "compare-level": a_gap,
    "base-kept": a_gap_behind_a_gap,
    "too-old": a_gap_longer_than_the_log,
    "unmet": a_gap_longer_than_the_log,
    "base-not-over-epochs": a_gap_over_a_restart_of_the_producer,
    "epoch-marks": a_gap_over_a_restart_of_the_producer,
    "an epoch is drawn twice": a_gap_over_a_restart_of_the_producer,
    "base-not-after-divergence": a_row_is_spoiled,
    "one-answer": a_question_is_answered_twice,
    "close-questions+floor": an_answer_from_before_a_gap,
    "close-questions+floor-raised": an_answer_from_before_a_gap,
    "tombstones": a_late_answer_and_live_changes,
    "newer-stays": a_late_answer_and_live_changes,
    "wait-for-stream": an_answer_ahead_of_the_stream,
    "base-not-after-plan": a_plan_is_left,
    "base-covers": a_gap_behind_a_plan,
    "plan": a_gap_behind_a_plan,
    "contents are not durable before the swap": power_goes_after_a_commit,
    "names are not durable before the commit": power_goes_after_a_commit,
    "nothing is made durable": power_goes_after_a_commit,
    "a scrub reads nothing": somebody_edits_a_replica,
}
"""Rules, each with the story that needs it."""
STORIES = list(dict.fromkeys(NEEDED.values()))
