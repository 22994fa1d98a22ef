"""The consumer's loop, round by round: what a replica says of itself, and when it must not go on in silence."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.board import Board
from common.errors import AlreadyRunningError
from common.messages import Heartbeat, Lineage, Report
from common.orders import Orders
from common.settings import ConsumeSettings
from common.transport.ports import Link, Phase
from common.wire.codec import decode_upstream, encode
from consumer import alarming
from consumer.apply import Applier
from consumer.opening import Stopping, open_replica
from consumer.service import Replica
from consumer.values import Outcome, Plan, Step
from tests.running_consumer import Running
from tests.twins import MemoryBroker, MemorySubscriber

LINEAGE = Lineage("music", 5, b"i" * 16, b"s" * 32)


class Queue(MemorySubscriber):
    """The replica's queue, which another may hold."""

    holder = ""

    @property
    def link(self) -> Link:
        return Link(Phase.HELD, self.holder) if self.holder else super().link


def settings_in(base: Path, *, adopt: bool = False) -> ConsumeSettings:
    return ConsumeSettings(
        tree="music",
        broker="sqlite:////unused/queue.db",
        state=base / "state",
        target=base / "target",
        replica="paris",
        adopt=adopt,
    )


class Watching(Board):
    """A board that remembers whether it said ready while the target was scanned."""

    def __init__(self) -> None:
        super().__init__("consumer", "music", "paris")
        self.ready_in_scan: list[bool] = []
        self.ticks = 0

    def tick(self, loop: str) -> None:
        super().tick(loop)
        self.ticks += 1

    def tell(self, **status: Any) -> None:
        super().tell(**status)
        if "scanned" in status:
            self.ready_in_scan.append(self.is_ready)


class StopsAfter(threading.Event):
    """Set after it was asked so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    def is_set(self) -> bool:
        self._times -= 1
        return self._times < 0


class World:
    """One replica with an empty target, its broker in memory."""

    def __init__(self, base: Path, parts: ExitStack) -> None:
        (base / "target").mkdir()
        (base / "state").mkdir()
        settings = settings_in(base)
        self.board = Board("consumer", "music", "paris")
        self.broker = MemoryBroker()
        self.broker.queues["paris"] = deque()
        self.queue = Queue(self.broker, "paris")
        stop = threading.Event()
        self.state, target = open_replica(settings, stop, self.board, parts, lambda: pytest.fail("nobody to ask"))
        applier = Applier(target, self.state, self.board)
        self.replica = Replica(
            settings, self.state, applier, self.broker.publisher(), self.queue, self.board, stop=stop, orders=Orders()
        )

    def round(self) -> None:
        self.replica._round()

    def hear(self, sequence: int = 7, unix_seconds: int = 0) -> None:
        """A heartbeat arrives, and is taken."""
        heartbeat = Heartbeat(LINEAGE, sequence, b"h" * 32, b"d" * 32, 1, unix_seconds * 10**9)
        self.broker.queues["paris"].append(encode(heartbeat))
        self.round()

    def reports(self) -> list[Report]:
        said = [decode_upstream(body, "music") for body in self.broker.upstream]
        return [message for message in said if isinstance(message, Report)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as parts:
        yield World(tmp_path, parts)


def test_problems_at_the_longest_paths_of_no_text_can_be_reported(world: World) -> None:
    for number in range(50):
        world.board.problem((b"\xff" * 200 + b"/") * 19 + b"%d" % number, "no such luck")
    world.round()
    assert len(world.reports()[-1].details["problems"]) == 20


def test_while_another_has_the_queue_nothing_is_said_in_this_replicas_name_and_it_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.queue.holder = "elsewhere:7"
    for _ in range(3):
        world.round()
    assert not world.reports()
    monkeypatch.setattr(alarming, "HELD_LIMIT_SECONDS", 0.0)
    with pytest.raises(AlreadyRunningError, match="elsewhere:7"):
        world.round()


def test_while_another_has_the_queue_the_loop_rests(world: World) -> None:
    world.queue.holder = "elsewhere:7"
    world.round()
    assert world.replica._pause_seconds() > 0.1


def test_what_is_asked_and_never_answered_is_alarmed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarming, "STALLED_SECONDS", 0.0)
    world.hear()
    world.round()
    assert world.state.standing().stale
    assert "stalled" in world.board.alarms()


def test_a_fork_is_alarmed_after_a_restart_too(world: World) -> None:
    world.hear()
    standing = world.state.standing()
    world.state.commit(Step(replace(standing, is_forked=True)), Plan(), Outcome())
    world.board.clear("fork")
    world.hear(8)
    assert "fork" in world.board.alarms()


def test_a_replica_that_had_its_first_copy_is_ready_while_it_is_scanned_anew(tmp_path: Path) -> None:
    with ExitStack() as parts:
        World(tmp_path, parts).state.complete_first_copy()
    (tmp_path / "target" / ".treecast" / "position").unlink()
    (tmp_path / "target" / "file").write_text("served")
    settings = settings_in(tmp_path)
    board = Watching()
    with ExitStack() as parts:
        open_replica(settings, threading.Event(), board, parts, lambda: pytest.fail("nobody to ask"))
    assert board.ready_in_scan == [True]


def test_a_target_that_is_adopted_is_not_ready_before_it_is_level(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "target" / "file").write_text("whose?")
    board = Watching()
    with ExitStack() as parts:
        open_replica(settings_in(tmp_path, adopt=True), threading.Event(), board, parts, lambda: pytest.fail("nobody"))
    assert board.ready_in_scan == [False]


def test_a_scan_stops_and_shows_that_it_lives_within_one_large_file(tmp_path: Path) -> None:
    for name in ("target", "state"):
        (tmp_path / name).mkdir()
    with (tmp_path / "target" / "large").open("wb") as large:
        large.truncate(50 << 20)
    stop, board = StopsAfter(10), Watching()
    with ExitStack() as parts, pytest.raises(Stopping):
        open_replica(settings_in(tmp_path, adopt=True), stop, board, parts, lambda: pytest.fail("nobody"))
    assert board.ticks >= 10


def test_each_turn_of_a_replica_is_one_line_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An epoch that is followed, a sync that begins and is over: where it stands, and what is left to do."""
    caplog.set_level("INFO", "treecast")
    with Running(tmp_path, monkeypatch) as running:
        running.say(running.master.batch({b"d": 0o755, b"d/a": b"one"}))
        running.level()
        running.master.batch({b"lost": b"never came"})
        running.say(running.master.heartbeat())
        running.level()
        running.turn(100)
    lines = [one.getMessage() for one in caplog.records if "buckets to compare" in one.getMessage()]
    assert lines == [
        "copying at 5.2: 4096 buckets to compare, 0 contents to fetch",
        "following at 5.2: 0 buckets to compare, 0 contents to fetch",
        "copying at 5.3: 4096 buckets to compare, 0 contents to fetch",
        "following at 5.3: 0 buckets to compare, 0 contents to fetch",
    ]
