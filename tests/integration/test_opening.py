"""What a start finds on a real disk, and what comes of it: every case of `consumer.starting`, and starts after kill -9."""

import itertools
import os
import random
import shutil
import stat
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from common.board import Board
from common.errors import AdoptionNeededError, AlreadyRunningError, NoRoomError, NotOurTargetError, StateError
from common.messages import Question
from common.transport.broker import open_broker
from common.transport.ports import Outgoing, Route
from common.wire.codec import decode_upstream, encode
from consumer import adoption, opening, service
from consumer.opening import Stopping, look_at_start, release
from consumer.stagefiles import Age, encode_age, encode_mark, new_mark
from consumer.starting import Start
from consumer.state import State
from consumer.target import Target
from tests.disk import read_tree
from tests.memory_place import memory_place
from tests.running_consumer import MTIME_NS, REPLICA, TREE, Content, Master, Running, Stop
from tests.services import Options, Service
from tests.transports import embedded_url
from tests.waiting import eventually

CONTENT: dict[bytes, Content] = {b"a": b"1", b"d": 0o755, b"d/x": b"x", b"d/y": b"y", b"e": 0o700, b"l": "a"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with memory_place(tmp_path) as place:
        yield place


@pytest.fixture
def fresh(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A replica that was never started, of a master that holds something."""
    monkeypatch.setattr(adoption, "SILENCE_LIMIT_SECONDS", 0.0)
    running = Running(place, monkeypatch)
    running.master.batch(CONTENT)
    yield running
    running.end()


@pytest.fixture
def level(fresh: Running) -> Running:
    """A replica that is level."""
    fresh.start()
    fresh.level()
    return fresh


def listing(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything about a directory but when it was read."""
    seen = {b".": os.lstat(root)} | {
        os.path.join(here, name): os.lstat(os.path.join(here, name))
        for here, directories, files in os.walk(os.fsencode(root))
        for name in [*directories, *files]
    }
    return {
        path: (s.st_mode, s.st_ino, s.st_nlink, s.st_uid, s.st_gid, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
        for path, s in seen.items()
    }


def found_by(running: Running, adopt: bool = False) -> Start:
    """What the next start will find; the process has ended."""
    running.end()
    settings = running.settings.model_copy(update={"adopt": adopt})
    with (
        State.open(settings.state / "state.db", TREE, REPLICA) as state,
        Target.open(settings.target) as target,
    ):
        return look_at_start(state, target, settings)


def aside(running: Running) -> dict[bytes, tuple[object, ...]]:
    """What stands aside, without the labels."""
    place = running.root / ".treecast" / "aside"
    found = read_tree(place) if place.exists() else {}
    return {path.partition(b"/")[2]: what for path, what in found.items() if b"/" in path}


# ------------------------------------------------------------------------------------------------- taking a target


def test_an_empty_target_is_filled(fresh: Running) -> None:
    (fresh.root / "lost+found").mkdir()
    fresh.start()
    assert fresh.target.mark() is not None
    assert not fresh.state.first_copy_complete
    fresh.say(fresh.master.heartbeat())
    fresh.until(lambda: fresh.is_level)
    assert read_tree(fresh.root) == {**fresh.master.as_read(), b"lost+found": ("directory", 0o755)}
    assert fresh.state.first_copy_complete


def test_a_target_that_holds_files_is_refused_with_counts_and_nothing_is_written(fresh: Running) -> None:
    (fresh.root / "d").mkdir()
    for name in ("a", "b", "d/x"):
        (fresh.root / name).write_text(name)
    (fresh.root / "link").symlink_to("/etc")
    os.mkfifo(fresh.root / "fifo")
    before = listing(fresh.root)
    for _ in range(2):
        with pytest.raises(AdoptionNeededError, match=r"3 files, 1 directories, 1 symlinks, 1 of other kinds.*--adopt"):
            fresh.start()
        fresh.end()
        assert listing(fresh.root) == before


def test_the_refusal_tells_what_an_adoption_would_do(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept: what is equal. Fetched: what is missing or another. Aside: what is another, or nobody's."""
    monkeypatch.setattr(adoption, "SILENCE_LIMIT_SECONDS", 10.0)
    (fresh.root / "a").write_bytes(b"1")
    (fresh.root / "l").write_bytes(b"no link")
    (fresh.root / "mine").write_bytes(b"mine")
    before = listing(fresh.root)

    class Heard(deque[bytes]):
        def append(self, message: bytes) -> None:
            super().append(message)
            fresh.hear()

    fresh.broker.upstream = Heard()
    fresh.say(fresh.master.heartbeat())
    with pytest.raises(AdoptionNeededError, match=r"keep 1 paths, fetch 5 and set 2 aside"):
        fresh.start()
    assert listing(fresh.root) == before


def test_an_adopted_target_keeps_what_is_equal_fetches_what_differs_and_sets_the_rest_aside(fresh: Running) -> None:
    (fresh.root / "d").mkdir()
    (fresh.root / "d/x").write_bytes(b"x")
    os.utime(fresh.root / "d/x", ns=(MTIME_NS, MTIME_NS))
    (fresh.root / "d/x").chmod(0o644)
    (fresh.root / "a").write_bytes(b"another")
    (fresh.root / "e").write_bytes(b"a file where a directory must be")
    (fresh.root / "mine").mkdir()
    (fresh.root / "mine/too").write_bytes(b"mine")
    os.mkfifo(fresh.root / "fifo")
    inode = (fresh.root / "d/x").stat().st_ino
    fresh.start(adopt=True)
    fresh.level()
    assert (fresh.root / "d/x").stat().st_ino == inode
    found = aside(fresh)
    assert found[b"a"][-1] == b"another"
    assert found[b"e"][-1] == b"a file where a directory must be"
    assert found[b"mine/too"][-1] == b"mine"
    assert b"fifo" in found
    assert b"d/x" not in found


def test_adopt_acts_only_while_there_is_no_mark(level: Running) -> None:
    """The word stays in a unit file for years: what somebody puts on the replica later is not a reason to scan it again."""
    (level.root / "foreign").write_bytes(b"foreign")
    assert found_by(level, adopt=True) is Start.CONTINUE


def test_an_adoption_that_was_broken_off_begins_again(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh.root / "mine").write_bytes(b"mine")
    before = listing(fresh.root)
    with monkeypatch.context() as patch:
        patch.setattr(opening, "FOUND_BETWEEN_TICKS", 1)
        patch.setattr(Target, "scan", _stopping(fresh))
        with pytest.raises(Stopping):
            fresh.start(adopt=True)
    assert listing(fresh.root) == before
    fresh.restart(adopt=True)
    fresh.level()
    assert aside(fresh)[b"mine"][-1] == b"mine"


def _stopping(running: Running) -> Callable[..., Iterator[object]]:
    scan = Target.scan

    def stopping(self: Target, others: list[bytes], pulse: Callable[[], None]) -> Iterator[object]:
        running.stop.set()
        yield from scan(self, others, pulse)

    return stopping


# ---------------------------------------------------------------------------------------------------------- refusals


def test_a_volume_that_is_not_mounted_is_refused_and_nothing_is_written(level: Running) -> None:
    """The mark is missing although the state knows files: an empty directory must not be filled, nor another one emptied."""
    for left in ({}, {"somebody's": b"file"}):
        level.end()
        shutil.rmtree(level.root)
        level.root.mkdir()
        for name, content in left.items():
            (level.root / name).write_bytes(content)
        before = listing(level.root)
        for adopt in (False, True):
            with pytest.raises(NotOurTargetError, match="mounted"):
                level.restart(adopt=adopt)
            level.end()
            assert listing(level.root) == before


@pytest.mark.parametrize("tree", ["another", TREE])
def test_the_target_of_another_is_refused_and_nothing_is_written(tree: str, level: Running) -> None:
    level.end()
    (level.root / ".treecast/mark").write_bytes(encode_mark(new_mark(tree, "two")))
    before = listing(level.root)
    with pytest.raises(NotOurTargetError, match="another replica's or another tree's"):
        level.restart(adopt=True)
    assert listing(level.root) == before


def test_a_second_consumer_on_the_same_target_ends_at_once(level: Running, place: Path) -> None:
    before = listing(level.root)
    (place / "other").mkdir()
    other = level.settings.model_copy(update={"state": place / "other"})
    with pytest.raises(AlreadyRunningError, match=str(os.getpid())), ExitStack() as parts:
        opening.open_replica(other, level.stop, level.board, parts, lambda: level.broker)
    with pytest.raises(AlreadyRunningError), ExitStack() as parts:
        opening.open_replica(level.settings, level.stop, level.board, parts, lambda: level.broker)
    assert listing(level.root) == before


def test_a_corrupt_state_is_refused_and_never_taken_for_empty(level: Running) -> None:
    level.end()
    path = level.settings.state / "state.db"
    path.write_bytes(b"this is no database" * 1000)
    before = listing(level.root)
    with pytest.raises(StateError, match="move it away"):
        level.restart()
    assert listing(level.root) == before
    path.unlink()
    level.restart()
    level.level()


def test_the_same_disk_at_another_place_or_on_another_device_carries_on(level: Running, tmp_path: Path) -> None:
    """Device numbers change with a reboot, and volumes are attached elsewhere: the mark tells."""
    level.end()
    moved = tmp_path / "attached elsewhere"
    shutil.copytree(level.root, moved, symlinks=True)
    assert moved.stat().st_ino != level.root.stat().st_ino
    level.root = moved
    level.questions.clear()
    level.restart(target=moved)
    level.level()
    assert not level.questions


def test_a_start_without_room_waits_and_goes_on(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt, left = State.adopt, 3

    def full(self: State, *args: Any, **kwargs: Any) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise NoRoomError("database or disk is full")
        adopt(self, *args, **kwargs)

    monkeypatch.setattr(State, "adopt", full)
    alarms: list[set[str]] = []
    board, stop = Board("consumer", TREE, REPLICA), Stop(fresh.clock)
    stop.on_wait = lambda _: alarms.append(set(board.alarms()))
    with ExitStack() as parts:
        state, target = service._open_patiently(fresh.settings, stop, board, parts)
        assert alarms == [{"no-room"}] * 3
        assert not board.alarms()
        assert state.mark
        assert target.mark() is not None
    with Target.open(fresh.root):
        """It was let go with the parts."""


# ------------------------------------------------------------------------------------------- state and disk of one age


def test_a_restart_of_what_is_of_one_age_asks_nothing(level: Running) -> None:
    level.questions.clear()
    assert found_by(level) is Start.CONTINUE
    level.restart()
    level.level()
    assert not level.questions
    assert level.state.first_copy_complete


def keep(running: Running, *parts: str) -> Path:
    """Copies of state or target, as of now."""
    running.end()
    copies = running.place / "copies"
    shutil.rmtree(copies, ignore_errors=True)
    for part in parts:
        shutil.copytree(running.place / part, copies / part, symlinks=True)
    running.start()
    return copies


def put_back(running: Running, *parts: str) -> None:
    """What was kept is there again; the process has ended."""
    running.end()
    for part in parts:
        shutil.rmtree(running.place / part)
        shutil.copytree(running.place / "copies" / part, running.place / part, symlinks=True)


@pytest.mark.parametrize("part", ["state", "target"])
def test_a_disk_that_is_older_or_newer_than_the_state_is_noticed_and_brought_level(part: str, level: Running) -> None:
    keep(level, part)
    level.say(level.master.batch({b"a": b"2", b"d/x": None, b"d/new": b"new", b"e": None, b"l": "new"}))
    level.until(lambda: level.is_level)
    put_back(level, part)
    assert found_by(level) is Start.SCAN
    level.start()
    assert level.state.first_copy_complete, "it may be served from as before"
    assert not level.replica._follower.is_agreed()
    level.level()
    # What the state knew is deleted. An older disk has what a newer state does not know any more: that is kept.
    assert set(aside(level)) == ({b"d", b"d/x", b"e"} if part == "target" else set())


def test_state_and_disk_that_were_put_back_together_follow_as_if_they_had_been_away(level: Running) -> None:
    keep(level, "state", "target")
    for n in range(3):
        level.say(level.master.batch({b"a": b"%d" % n, b"d/%d" % n: b"new"}))
    level.until(lambda: level.is_level)
    put_back(level, "state", "target")
    assert found_by(level) is Start.CONTINUE
    level.start()
    level.level()


def test_a_lost_state_is_made_again_from_the_disk(level: Running) -> None:
    (level.root / "foreign").write_bytes(b"foreign")
    level.end()
    shutil.rmtree(level.settings.state)
    level.settings.state.mkdir()
    assert found_by(level) is Start.SCAN
    level.start()
    level.level()
    assert aside(level)[b"foreign"][-1] == b"foreign"


@pytest.mark.parametrize("content", [None, b"", b"torn", encode_age(Age(77, b"x" * 8))])
def test_a_position_that_is_missing_torn_or_anothers_is_noticed(content: bytes | None, level: Running) -> None:
    position = level.root / ".treecast/position"
    position.unlink()
    if content is not None:
        position.write_bytes(content)
    (level.root / "d/x").write_bytes(b"from another age")
    assert found_by(level) is Start.SCAN
    level.start()
    level.level()


# ------------------------------------------------------------------------------------------------------- plans that are left


def kill_in(running: Running, where: str, tree: dict[bytes, Content]) -> bytes:
    """The process dies before this step of a batch, which is not settled. Returns the batch."""
    batch = running.master.batch(tree)
    running.say(batch)
    with dying_at(where), pytest.raises(KeyboardInterrupt):
        running.turn(3)
    running.end()
    return batch


@contextmanager
def dying_at(step: str) -> Iterator[None]:
    """The process dies before this step of a target."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Target, step, die)
        yield


CHANGES: dict[bytes, Content] = {b"a": b"2", b"d/x": None, b"n": 0o755, b"n/z": b"z", b"e": b"now a file", b"l": None}
STEPS = {
    "barrier": Start.RESOLVE,
    "swap": Start.RESOLVE,
    "names_barrier": Start.RESOLVE,
    "finish_plan": Start.CONTINUE,
}


@pytest.mark.parametrize("comes_again", [True, False], ids=["the batch comes again", "the queue is lost"])
@pytest.mark.parametrize("where", STEPS)
def test_a_plan_that_was_left_is_resolved(where: str, comes_again: bool, level: Running) -> None:
    batch = kill_in(level, where, CHANGES)
    assert found_by(level) is STEPS[where]
    level.broker.queues[REPLICA].clear()
    level.start()
    assert level.target.left_plan() is None
    assert os.listdir(level.root / ".treecast/stage") == []
    if comes_again:
        level.say(batch)
    level.level()
    assert not aside(level)


def test_a_copy_of_the_state_from_before_a_plan_was_resolved_is_noticed(level: Running) -> None:
    """Number and token alone of the last commit would be the same."""
    keep(level, "state")
    kill_in(level, "names_barrier", CHANGES)
    level.start()
    put_back(level, "state")
    assert found_by(level) is Start.SCAN
    level.start()
    level.level()


def test_a_kill_while_a_left_plan_is_resolved_is_survived(level: Running) -> None:
    kill_in(level, "names_barrier", CHANGES)
    with dying_at("settle"), pytest.raises(KeyboardInterrupt):
        level.start()
    level.restart()
    level.level()


def test_a_plan_of_another_age_is_not_believed(level: Running) -> None:
    """State put back to long before, and a plan left on the disk: its paths are not all that differs."""
    keep(level, "state")
    level.say(*(level.master.batch({b"d/%d" % n: b"new"}) for n in range(3)))
    level.until(lambda: level.is_level)
    kill_in(level, "names_barrier", CHANGES)
    put_back(level, "state")
    assert found_by(level) is Start.SCAN
    level.start()
    level.level()


# ------------------------------------------------------------------------------------------------ released, and taken again


def test_a_target_that_was_released_is_taken_again_without_a_word(level: Running) -> None:
    """As a mirror does: what the old state knew and the master has no more is deleted; what nobody knows goes aside."""
    level.end()
    assert release(level.settings) is None
    assert not (level.root / ".treecast").exists()
    assert release(level.settings) is None
    (level.root / "mine").write_bytes(b"mine")
    (level.root / "d/mine").write_bytes(b"mine too")
    (level.root / "d/y").write_bytes(b"edited")
    level.master.batch({b"a": None, b"d/x": None, b"d/new": b"new"})
    assert found_by(level) is Start.ADOPT
    level.start()
    level.level()
    assert set(aside(level)) == {b"mine", b"d", b"d/mine"}
    level.end()
    kept = release(level.settings)
    assert kept == os.fspath(level.root / ".treecast/aside")
    level.start()
    level.level()


def test_a_release_that_was_broken_off_is_survived(level: Running) -> None:
    level.end()
    with dying_at("release"), pytest.raises(KeyboardInterrupt):
        release(level.settings)
    level.start()
    level.level()
    assert not aside(level)


# ------------------------------------------------------------------------------------------------------------- kill -9

BATCHES, CHANGES_PER_BATCH, KILLS = 250, 20, 6


class Producing:
    """The master's twin on a real queue: publishes, and answers what comes."""

    def __init__(self, url: str, master: Master) -> None:
        self.master = master
        broker = open_broker(url, TREE)
        self.publisher = broker.publisher(wake=lambda: None, declare=True)
        self._upstream = broker.upstream_subscriber(holder="test", wake=lambda: None)
        eventually(lambda: self.publisher.link.is_open and self._upstream.link.is_open)
        self.publisher.make_queue(REPLICA)
        self._tokens = itertools.count(1)

    def publish(self, message: bytes) -> None:
        self.publisher.publish(Outgoing(Route.EVENTS, message, token=next(self._tokens)))
        self.publisher.confirmed()

    def answer(self) -> None:
        """What the replica asked since."""
        while (delivery := self._upstream.receive(0.0)) is not None:
            message = decode_upstream(delivery.body, TREE)
            self._upstream.settle(delivery)
            if isinstance(message, Question) and message.epoch == self.master.lineage.epoch:
                for answer in self.master.answers(message):
                    self.publisher.publish(Outgoing(Route.DIRECT, encode(answer), REPLICA))

    def close(self) -> None:
        self.publisher.close(5)
        self._upstream.close(5)


def some_changes(rng: random.Random, master: Master) -> dict[bytes, Content]:
    """Changes that leave a tree: files in twenty directories, some of which become files and back."""
    tree: dict[bytes, Content] = {}
    for _ in range(CHANGES_PER_BATCH):
        top = b"%d" % rng.randrange(20)
        path = top + b"/%d" % rng.randrange(30)
        has = {**master.events, **tree}
        is_directory = isinstance(has.get(top), int) or _is_directory(master, tree, top)
        if rng.random() < 0.03 and top not in tree and not any(p.startswith(top + b"/") for p in tree):
            tree |= {p: None for p in master.events if p.startswith(top + b"/")}
            tree[top] = b"a file %d" % rng.randrange(1000) if is_directory else 0o755
        elif is_directory and tree.get(top, 0) is not None:
            tree[path] = None if rng.random() < 0.3 else rng.randbytes(rng.randrange(300))
        elif top not in tree:
            tree[top] = 0o755
    return {path: content for path, content in tree.items() if content is not None or path in master.events}


def _is_directory(master: Master, tree: dict[bytes, Content], path: bytes) -> bool:
    if path in tree:
        return isinstance(tree[path], int)
    entry = master.events[path].entry if path in master.events else None
    return entry is not None and entry.is_directory


def test_killed_again_and_again_while_changes_flow_it_ends_equal_and_leaves_nothing_in_the_stage(place: Path) -> None:
    """kill -9 of a real process at any moment, while five thousand changes pass through a queue on the disk."""
    rng = random.Random(9)
    url = embedded_url(place / "queue.db")
    root = place / "target"
    root.mkdir()
    producing = Producing(url, Master())
    consumer = Service("consumer", place / "consumer", Options(TREE, url), root, f"--replica={REPLICA}")
    kills = set(rng.sample(range(10, BATCHES), KILLS))
    try:
        consumer.start()
        for number in range(BATCHES):
            producing.publish(producing.master.batch(some_changes(rng, producing.master)))
            producing.answer()
            if number in kills:
                _answer_until(producing, consumer, producing.master.sequence - rng.randrange(400))
                consumer.kill()
                consumer.start()
        producing.publish(producing.master.heartbeat())
        _answer_until(producing, consumer, producing.master.sequence)
        eventually(lambda: _answered(producing, consumer.is_agreed), 60, "it agrees")
    finally:
        consumer.kill()
        producing.close()
    assert read_tree(root) == producing.master.as_read()
    assert os.listdir(root / ".treecast/stage") == []
    assert not (root / ".treecast/plan").exists()
    assert not [str(path) for path in (root / ".treecast/aside").rglob("*")]
    assert "Traceback" not in consumer.log


def _answer_until(producing: Producing, consumer: Service, sequence: int) -> None:
    eventually(lambda: _answered(producing, consumer.position.sequence >= sequence), 60, f"{sequence} is reached")


def _answered(producing: Producing, is_so: bool) -> bool:
    producing.answer()
    return is_so


def test_the_state_and_the_stage_are_private(level: Running) -> None:
    """What is staged is not readable before its own mode says so."""
    assert stat.S_IMODE((level.root / ".treecast").stat().st_mode) == 0o700
    assert stat.S_IMODE((level.root / ".treecast/stage").stat().st_mode) == 0o700
