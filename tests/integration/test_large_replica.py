"""Large contents on a replica: fetched in parts, taken from its own tree, placed like any other; whatever happens on the way."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from common.digests import content_digest
from common.messages import INLINE_LIMIT_BYTES, PART_BYTES, AskParts, PartAnswer, Question
from common.wire.codec import encode
from consumer import descriptors, filling, lane
from consumer.filling import Content as Filling
from consumer.filling import Filled
from consumer.values import Keep
from tests.dying_os import Countdown, DyingOs
from tests.running_consumer import Content, Running
from tests.waiting import scaled

PARTS = 7
LARGE = os.urandom((PARTS - 1) * PART_BYTES + 5)
OTHER = os.urandom(len(LARGE))
assert len(LARGE) > INLINE_LIMIT_BYTES

Answer = Callable[[Question], Iterable[bytes]]


class Killed(Exception):
    """The process was killed here."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with Running(tmp_path, monkeypatch) as running:
        yield running


def store(world: Running) -> list[str]:
    return sorted(os.listdir(world.root / ".treecast" / "large"))


def asks(world: Running) -> list[AskParts]:
    return [question.ask for question in world.questions if isinstance(question.ask, AskParts)]


def asked_parts(world: Running) -> int:
    return sum(ask.count for ask in asks(world))


def level(world: Running) -> None:
    """Level and equal, each large file with one name, and nothing left that nobody wants."""
    world.level()
    for path, _, names in os.walk(world.root):
        if ".treecast" not in path:
            assert all(os.lstat(os.path.join(path, name)).st_nlink == 1 for name in names)
    world.until(lambda: all(name.endswith(".link") for name in store(world)))


def following(world: Running, tree: dict[bytes, Content]) -> None:
    """The replica has this tree, and no question was asked yet."""
    world.say(world.master.batch({b"d": 0o755, **tree}))
    level(world)
    world.questions.clear()


def only(world: Running, allowed: int) -> Answer:
    """The master answers, but no more than so many parts."""
    left = count(allowed, -1)

    def answer(question: Question) -> Iterable[bytes]:
        for one in world.master.answers(question):
            if not isinstance(one, PartAnswer) or next(left) > 0:
                yield encode(one)

    return answer


def test_a_thread_that_outlives_the_end_keeps_its_descriptor(world: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it writes at last must not land in a file that was opened meanwhile under the same number."""
    may_go_on, is_writing = threading.Event(), threading.Event()
    real = descriptors.write_all
    written: list[int] = []

    def write_all(descriptor: int, content: bytes) -> None:
        is_writing.set()
        assert may_go_on.wait(scaled(20))
        written.append(os.fstat(descriptor).st_ino)
        real(descriptor, content)

    monkeypatch.setattr(filling, "write_all", write_all)
    monkeypatch.setattr(lane, "CLOSE_SECONDS", 0.01)
    world.say(world.master.batch({b"large": LARGE}))
    world.until(is_writing.is_set, rounds=20_000)
    (name,) = store(world)
    thread = world.replica._large._lane._thread
    world.replica._large.close()
    with (world.place / "innocent").open("wb") as innocent:
        may_go_on.set()
        assert thread is not None
        thread.join(scaled(20))
        assert os.fstat(innocent.fileno()).st_size == 0
    assert written == [(world.root / ".treecast/large" / name).stat().st_ino]
    monkeypatch.undo()
    world.replica._large.close()
    assert name not in [
        os.path.basename(os.path.realpath(f"/proc/self/fd/{one}")) for one in os.listdir("/proc/self/fd")
    ]


def test_what_gives_room_back_may_outlive_the_store(world: Running) -> None:
    following(world, {b"large": LARGE})
    world.say(world.master.batch({b"large": None}))
    world.until(lambda: store(world), what="kept")
    remove = world.target.store.put_away(world.target.store.kept())
    world.end()
    with (world.place / "innocent").open("wb"):
        remove()
    assert store(world) == []
    world.start()


# ----------------------------------------------------------------------------------------------------------- in parts


def test_a_large_file_is_fetched_in_parts_and_placed(world: Running) -> None:
    world.say(world.master.batch({b"d": 0o755, b"d/large": LARGE, b"small": b"small"}))
    world.turn()
    assert (world.root / "small").read_bytes() == b"small"
    level(world)
    assert asked_parts(world) == PARTS
    assert world.counted("large_bytes_fetched_total") == len(LARGE)
    assert store(world) == []


@pytest.mark.parametrize("parts", range(PARTS))
def test_a_restart_after_any_part_goes_on_from_there(world: Running, parts: int) -> None:
    """What came before the restart is hashed again, and not asked for again."""
    world.answer = only(world, parts)
    world.say(world.master.batch({b"large": LARGE}))
    world.until(lambda: world.counted("large_bytes_fetched_total") == parts * PART_BYTES and asked_parts(world) > parts)
    world.turn(5)
    world.restart()
    world.questions.clear()
    world.answer = None
    level(world)
    assert min(ask.offset for ask in asks(world)) == parts * PART_BYTES


def test_what_a_crash_left_of_the_last_part_is_not_believed(world: Running) -> None:
    """A partial file is no content: torn at its end, it is cut to whole parts; wrong inside, it is fetched anew."""
    world.answer = only(world, 3)
    world.say(world.master.batch({b"large": LARGE}))
    world.until(lambda: world.counted("large_bytes_fetched_total") == 3 * PART_BYTES)
    world.turn(5)
    world.end()
    (partial,) = (world.root / ".treecast" / "large").iterdir()
    with partial.open("r+b") as file:
        file.write(b"rotten")
        file.truncate(2 * PART_BYTES + 100)
    world.start()
    world.questions.clear()
    world.answer = None
    level(world)
    assert [asks(world)[0].offset, min(ask.offset for ask in asks(world))] == [2 * PART_BYTES, 0]
    assert not any(ask.is_doubted for ask in asks(world)), "the master is not to blame"


def test_a_part_that_is_wrong_is_found_by_the_whole_and_the_master_is_told_to_look(world: Running) -> None:
    """Nothing is placed that was not proved as a whole; it is fetched again, after a pause, with the doubt."""
    liars = count(1, -1)

    def answer(question: Question) -> Iterable[bytes]:
        for one in world.master.answers(question):
            if isinstance(one, PartAnswer) and one.offset == PART_BYTES and next(liars) > 0:
                yield encode(replace(one, content=bytes(len(one.content))))
            else:
                yield encode(one)

    world.answer = answer
    world.say(world.master.batch({b"large": LARGE}))
    world.until(lambda: "body-mismatch" in world.alarms)
    assert not (world.root / "large").exists()
    level(world)
    assert [ask.offset for ask in asks(world) if ask.is_doubted] == [0]


def test_parts_that_are_lost_come_twice_or_out_of_order_are_asked_for_again(world: Running) -> None:
    numbers = count(1)

    def answer(question: Question) -> Iterable[bytes]:
        found = [encode(one) for one in world.master.answers(question)]
        if not isinstance(question.ask, AskParts):
            return found
        number = next(numbers)
        return found[1:] if number == 1 else found[::-1] if number == 2 else found + found

    world.answer = answer
    world.say(world.master.batch({b"large": LARGE}))
    level(world)
    assert world.counted("large_bytes_fetched_total") == len(LARGE)


def test_a_change_in_the_middle_of_sending_ends_with_the_file_as_it_is(world: Running) -> None:
    """What came of the old content is dropped; the new one is fetched."""
    world.answer = only(world, 3)
    world.say(world.master.batch({b"large": LARGE}))
    world.until(lambda: world.counted("large_bytes_fetched_total") == 3 * PART_BYTES)
    world.say(world.master.batch({b"large": OTHER}))
    world.answer = None
    level(world)
    world.until(lambda: not store(world))
    assert {ask.digest for ask in asks(world)} == {content_digest(LARGE), content_digest(OTHER)}


def test_a_file_that_goes_while_it_is_sent_is_asked_for_no_more(world: Running) -> None:
    world.answer = only(world, 3)
    world.say(world.master.batch({b"large": LARGE}))
    world.until(lambda: world.counted("large_bytes_fetched_total") == 3 * PART_BYTES)
    world.say(world.master.batch({b"large": None}))
    level(world)
    world.until(lambda: not store(world))


def test_one_content_at_several_paths_travels_once(world: Running) -> None:
    """Hard links on the master, or copies: each arrives as a file of its own."""
    world.say(world.master.batch({b"a": LARGE, b"b": LARGE, b"c": LARGE}))
    level(world)
    assert asked_parts(world) == PARTS
    assert world.counted("large_bytes_copied_total") == 2 * len(LARGE)


def test_many_large_files_come_one_after_another(world: Running) -> None:
    """Each part once; few are begun and not whole at any time."""
    files: dict[bytes, Content] = {b"%d" % number: LARGE + bytes([number]) for number in range(12)}
    world.say(world.master.batch(files))
    level(world)
    assert asked_parts(world) == 12 * PARTS


def test_a_content_that_nobody_can_give_is_in_no_others_way(world: Running) -> None:
    """Its parts are not answered; the next content has its turn, and small changes never wait."""

    def answer(question: Question) -> Iterable[bytes]:
        is_lost = isinstance(question.ask, AskParts) and question.ask.path == b"lost"
        return [] if is_lost else map(encode, world.master.answers(question))

    world.answer = answer
    world.say(world.master.batch({b"lost": LARGE, b"other": OTHER}))
    world.until((world.root / "other").exists)
    world.say(world.master.batch({b"small": b"small"}))
    world.turn(2)
    assert (world.root / "small").exists()
    world.answer = None
    level(world)


def test_small_changes_are_applied_between_the_parts(world: Running) -> None:
    """Each is on the disk as soon as the parts before it have come, and they are few."""
    world.say(world.master.batch({b"large": LARGE}))
    for number in range(PARTS):
        world.say(world.master.batch({b"small%d" % number: b"small"}))
        world.until((world.root / f"small{number}").exists, rounds=4)
    level(world)


def test_without_room_a_content_waits_and_the_rest_goes_on(world: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, touches nothing, and goes on by itself when there is room."""
    room = monkeypatch.context()
    with room as full:
        full.setattr(type(world.target.store), "free_bytes", lambda store: 1 << 20)
        world.say(world.master.batch({b"large": LARGE, b"small": b"small"}))
        world.until(lambda: "no-room-for-content" in world.alarms)
        assert (world.root / "small").exists()
        world.pass_by(120)
        assert not asks(world)
        assert "stalled" not in world.alarms
    level(world)
    world.until(lambda: "no-room-for-content" not in world.alarms)


# --------------------------------------------------------------------------------------------------- from its own tree

MOVES: dict[str, list[dict[bytes, Content]]] = {
    "in one batch": [{b"d/large": None, b"e": 0o755, b"e/large": LARGE}],
    "created first": [{b"e": 0o755, b"e/large": LARGE}, {b"d/large": None}],
    "deleted first": [{b"d/large": None}, {b"e": 0o755, b"e/large": LARGE}],
    "rotated": [{b"d/large": OTHER, b"e": 0o755}, {b"e/large": LARGE}],
}


@pytest.mark.parametrize("batches", MOVES.values(), ids=MOVES.keys())
def test_what_the_tree_has_or_had_does_not_travel(world: Running, batches: list[dict[bytes, Content]]) -> None:
    """A file that was moved is taken from where it was, in whatever order its events come."""
    following(world, {b"d/large": LARGE})
    for batch in batches:
        world.say(world.master.batch(batch))
        world.turn(3)
    level(world)
    assert {ask.digest for ask in asks(world)} <= {content_digest(OTHER)}


def test_what_was_moved_long_after_it_was_deleted_travels_again(world: Running) -> None:
    """What went is not kept for ever."""
    following(world, {b"d/large": LARGE})
    world.target.store._clock = world.clock.monotonic
    world.say(world.master.batch({b"d/large": None}))
    level(world)
    assert len(store(world)) == 1
    world.pass_by(700)
    assert store(world) == []


def test_a_file_that_is_not_what_the_index_says_is_not_taken(world: Running) -> None:
    """Somebody changed it on the replica, with size and time kept: the hash tells, and the content is fetched."""
    following(world, {b"d/large": LARGE})
    here = world.root / "d" / "large"
    times = here.stat()
    here.write_bytes(OTHER)
    os.utime(here, ns=(times.st_atime_ns, times.st_mtime_ns))
    world.say(world.master.batch({b"d/large": None, b"e": LARGE}))
    level(world)
    assert asked_parts(world) == PARTS


def test_only_the_file_that_was_proved_is_taken(world: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is hashed its link gives way for room, and another file that should have this content is kept in its place."""
    following(world, {b"d/large": LARGE, b"d/twin": LARGE})
    (world.root / "d/twin").write_bytes(OTHER)
    gate, prove = threading.Event(), Filling.prove
    is_proving = threading.Event()

    def wait(content: Filling) -> Filled:
        is_proving.set()
        gate.wait(scaled(30))
        return prove(content)

    monkeypatch.setattr(Filling, "prove", wait)
    digest = content_digest(LARGE)
    world.say(world.master.batch({b"d/large": None, b"e": LARGE}))
    world.until(is_proving.is_set, rounds=20_000)
    world.target.store.drop_links()
    world.target.keep((Keep(b"d/twin", digest, len(LARGE)),))
    assert world.target.store.has_link(digest)
    gate.set()
    world.until((world.root / "e").exists, rounds=20_000)
    assert (world.root / "e").read_bytes() == LARGE
    assert (world.root / "d/twin").read_bytes() == OTHER, "who changed it will be found by the scrub"


def test_a_new_mode_costs_no_part_and_no_copy(world: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the file is being copied to another name."""
    gate, copy = threading.Event(), Filling.copy

    def wait(content: Filling, source: int) -> Filled:
        gate.wait(30)
        return copy(content, source)

    monkeypatch.setattr(Filling, "copy", wait)
    following(world, {b"d/large": LARGE})
    inode = (world.root / "d" / "large").stat().st_ino
    world.say(world.master.batch({b"copy": LARGE}))
    world.until(lambda: (world.root / "d" / "large").stat().st_nlink == 2)
    (event,) = [event for path, event in world.master.events.items() if path == b"d/large"]
    assert event.entry is not None
    world.say(world.master.publish((event._replace(entry=event.entry._replace(mode=0o600)),)))
    world.turn(3)
    gate.set()
    level(world)
    assert (world.root / "d" / "large").stat().st_ino == inode
    assert not asks(world)


def test_links_give_their_room_first(world: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files that went are kept only while the disk has room for everything else."""
    following(world, {b"d/large": LARGE})
    world.say(world.master.batch({b"d/large": None}))
    level(world)
    assert len(store(world)) == 1
    dying = DyingOs()
    dying.install(monkeypatch)

    def no_room(name: str, *_: object) -> None:
        if name == "write" and store(world):
            raise OSError(28, os.strerror(28))

    dying.before_each = no_room
    world.say(world.master.batch({b"small": b"small"}))
    world.turn(2)
    assert (world.root / "small").exists()
    assert store(world) == []


ORDERS = ["in one batch", "created first", "deleted first"]
STRIDE = 11
"""Each order dies at every eleventh change, beginning at another one."""


@pytest.mark.parametrize("order", ORDERS)
def test_a_move_survives_a_kill_at_any_point_without_travelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Killed at each change of the disk in turn, and started again: equal in the end, and not one part was asked for."""
    dying, countdown = DyingOs(), Countdown(Killed)
    dying.install(monkeypatch)
    dying.before_each = countdown
    for point in count(ORDERS.index(order), STRIDE):
        (tmp_path / str(point)).mkdir()
        with Running(tmp_path / str(point), monkeypatch) as world:
            following(world, {b"d/large": LARGE})
            for batch in MOVES[order]:
                world.say(world.master.batch(batch))
            world.say(world.master.heartbeat())
            countdown.left = point
            was_killed = False
            try:
                world.until(lambda: world.is_level)
            except Killed:
                was_killed = True
            countdown.revive()
            world.restart()
            for data in world.master.sent:
                world.say(data)
            level(world)
            assert not asks(world)
        if not was_killed:
            break
    assert point > 3 * STRIDE
