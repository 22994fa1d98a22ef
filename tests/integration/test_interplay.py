"""Where two parts of a replica meet: a crash beside a scrub, patterns beside a new scan, a full disk beside a large content."""

import os
import sqlite3
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.errors import NoRoomError
from common.messages import PART_BYTES, AskParts
from consumer import drifting, rereader, scrubbing
from consumer.agreement import Decided
from consumer.filling import Content, Filled
from consumer.rereading import Walk
from consumer.sweep import IndexReader, Page
from consumer.values import Drift, Outcome, Plan, Reason, Step
from consumer.walking import Directories
from tests.disk import read_tree
from tests.memory_place import memory_place
from tests.running_consumer import Running
from tests.waiting import scaled

LARGE = os.urandom(6 * PART_BYTES + 5)


class Killed(Exception):
    """The process was killed here."""


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with memory_place(tmp_path) as place, Running(place, monkeypatch) as running:
        yield running


def aside_of(running: Running) -> dict[bytes, tuple[object, ...]]:
    """What stands aside, by its own path."""
    shelf = running.root / ".treecast" / "aside"
    labels = os.listdir(shelf) if shelf.exists() else []
    return {path: seen for label in labels for path, seen in read_tree(shelf / label).items()}


def killed_while_putting_right(running: Running, drift: dict[bytes, Drift], patch: pytest.MonkeyPatch) -> None:
    """A scrub's step is staged, and the process dies before its first name moves; the next one starts."""

    def die(plan: Plan, staged: object) -> Outcome:
        raise Killed

    decided = drifting.put_right(running.state.standing(), running.state, drift)
    assert isinstance(decided, Decided)
    with patch.context() as now:
        now.setattr(running.target, "swap", die)
        with pytest.raises(Killed):
            running.replica._follower.put_right(decided)
    running.restart()


def killed_before_its_commit(running: Running, batch: dict[bytes, bytes], patch: pytest.MonkeyPatch) -> None:
    """A batch is on the disk, and the process dies before the state knows of it."""

    def die(step: Step, plan: Plan, outcome: Outcome, **_: object) -> None:
        raise Killed

    with patch.context() as now:
        now.setattr(running.state, "commit", die)
        running.say(running.master.batch({**batch}))
        with pytest.raises(Killed):
            running.turn(3)


def test_what_is_foreign_goes_aside_also_when_the_scrub_that_found_it_was_killed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.say(running.master.batch({b"a": b"1", b"d": 0o755}))
    running.level()
    (running.root / "foreign").write_bytes(b"somebody's work")
    (running.root / "d").rmdir()
    (running.root / "d").write_bytes(b"somebody's file")
    killed_while_putting_right(running, {b"foreign": Drift.ADDED, b"d": Drift.KIND}, monkeypatch)
    running.level()
    contents = {path: seen[3] for path, seen in aside_of(running).items()}
    assert contents == {b"foreign": b"somebody's work", b"d": b"somebody's file"}


def test_what_a_killed_step_had_placed_is_no_foreign_thing_once_it_is_level(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.say(running.master.batch({b"a": b"1"}))
    running.level()
    killed_before_its_commit(running, {b"b": b"2"}, monkeypatch)
    running.restart()
    running.say(running.master.heartbeat(), running.master.sent[-1])
    running.level()
    running.say(running.master.batch({b"b": None}))
    running.level()
    assert aside_of(running) == {}


def test_what_stands_where_something_new_is_published_goes_aside(running: Running) -> None:
    """Also what was excluded and one's own until now."""
    running.say(running.master.exclude("*.tmp"), running.master.batch({b"a": b"1", b"d": 0o755}))
    running.say(running.master.heartbeat())
    running.until(lambda: running.is_level)
    (running.root / "own.tmp").write_bytes(b"own")
    (running.root / "file").write_bytes(b"mine")
    (running.root / "directory").write_bytes(b"my list")
    (running.root / "d" / "other").mkdir()
    (running.root / "d" / "other" / "in").write_bytes(b"in")
    running.say(running.master.exclude(), running.master.batch({b"own.tmp": b"the master's", b"file": b"2"}))
    running.say(running.master.batch({b"directory": 0o755, b"d/other": b"3"}))
    running.level()
    contents = {path: seen[3] for path, seen in aside_of(running).items() if len(seen) > 3}
    assert contents == {b"own.tmp": b"own", b"file": b"mine", b"directory": b"my list", b"d/other/in": b"in"}


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
def test_what_stands_where_something_new_is_published_goes_aside_also_when_the_content_comes_later(
    running: Running, content: bytes
) -> None:
    running.say(running.master.batch({b"a": b"1"}))
    running.level()
    (running.root / "new").write_bytes(b"mine")
    running.say(running.master.batch({b"new": content}, bodies=False))
    running.level()
    assert {path: seen[3] for path, seen in aside_of(running).items()} == {b"new": b"mine"}
    running.say(running.master.batch({b"new": b"again"}))
    running.level()
    assert len(aside_of(running)) == 1


@pytest.mark.parametrize("body", [b"the master's", LARGE], ids=["small", "large"])
def test_a_problem_that_stays_keeps_no_other_alarm_on_and_what_is_protected_is_not_fetched_again(
    running: Running, body: bytes
) -> None:
    running.restart(protect=("own",))
    (running.root / "own").write_bytes(b"own")
    running.say(running.master.batch({b"own": body, b"d": 0o755}), b"not a message")
    running.board.alarm("diverged", "as it was before it was compared anew")
    running.say(running.master.heartbeat())
    running.until(lambda: running.state.count_unmet().get(Reason.PROBLEM))
    assert {"refused", "diverged"} & running.alarms
    running.pass_by(40)
    running.questions.clear()
    running.pass_by(120)
    assert not {"refused", "diverged"} & running.alarms
    assert running.questions == []
    running.restart(protect=())
    running.pass_by(40)
    running.level()


def test_what_a_step_left_half_done_is_looked_at_with_signs_of_life(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.say(running.master.batch({b"a": b"1"}))
    running.level()
    killed_before_its_commit(running, {b"b": b"2", b"c": b"3"}, monkeypatch)
    (running.root / "c").write_bytes(LARGE)
    ticks: list[str] = []
    monkeypatch.setattr(running.board, "tick", ticks.append)
    running.replica._applier.give_up()
    assert len(ticks) > 2


def test_patterns_that_were_taken_back_while_the_target_is_scanned_anew_protect_nothing_more(running: Running) -> None:
    running.say(running.master.exclude("*.tmp"), running.master.batch({b"a": b"1"}))
    running.level()
    running.end()
    (running.root / ".treecast" / "position").unlink()
    running.master.exclude()
    running.master.batch({b"b.tmp": b"2"})
    running.start()
    running.level()


def test_a_large_content_comes_when_there_is_room_again(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.say(running.master.batch({b"a": b"1"}))
    running.level()
    allocate = running.target.stage

    def full(plan: Plan, number: int, token: bytes) -> object:
        if any(content.path == b"b" for content in plan.contents):
            raise NoRoomError("no room")
        return allocate(plan, number, token)

    with monkeypatch.context() as now:
        now.setattr(running.target, "stage", full)
        running.answer = lambda question: []
        running.say(running.master.batch({b"large": LARGE}), running.master.batch({b"b": b"2"}))
        running.until(lambda: running.replica._follower.has_no_room_for_contents, rounds=5000)
    running.answer = None
    running.level()


def test_nothing_is_left_in_the_stage_by_a_step_that_was_tried_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.say(running.master.batch({b"a": b"1"}))
    running.level()
    commit, tries = running.state.commit, list[Plan]()

    def full_once(step: Step, plan: Plan, outcome: Outcome, **more: bytes) -> None:
        if plan.contents and not tries:
            tries.append(plan)
            raise NoRoomError("no room for the state")
        commit(step, plan, outcome, **more)

    monkeypatch.setattr(running.state, "commit", full_once)
    running.say(running.master.batch({b"large": LARGE}))
    running.level()
    assert tries


def test_a_kept_file_that_gives_its_room_away_while_it_is_proved_stops_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept of a moved file goes for want of room just before it is taken: then it is fetched."""
    running.say(running.master.batch({b"d": 0o755, b"d/large": LARGE}))
    running.level()
    running.say(running.master.batch({b"d/large": None}))
    running.level()
    prove = Content.prove

    def prove_without_room(content: Content) -> Filled:
        running.target.store.drop_links()
        return prove(content)

    monkeypatch.setattr(Content, "prove", prove_without_room)
    running.questions.clear()
    running.say(running.master.batch({b"e": LARGE}))
    running.level()
    assert any(isinstance(question.ask, AskParts) for question in running.questions)


def test_a_scrub_that_was_ordered_and_met_an_error_begins_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.say(running.master.batch({b"a": b"1"}))
    running.level()
    pages, errors = IndexReader.page, list[Exception]()

    def fails_once(reader: IndexReader, after: bytes) -> Page:
        if not errors:
            errors.append(sqlite3.OperationalError("disk I/O error"))
            raise errors[0]
        return pages(reader, after)

    monkeypatch.setattr(IndexReader, "page", fails_once)
    monkeypatch.setattr(rereader, "RETRY_SECONDS", 0.01)
    scrub = running.replica._scrub
    deadline = time.monotonic() + scaled(10)
    with scrub.running():
        run = scrub.verbs["scrub"]({})["run"]
        while scrub._last.get("run") != run:
            assert time.monotonic() < deadline, running.board.status()
            running.turn()
            time.sleep(0.001)
    assert errors


def test_findings_that_nobody_can_put_right_are_in_no_other_ones_way(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as may be open at once, and their contents never come: the rest of the disk is read all the same."""
    monkeypatch.setattr(scrubbing, "GIVEN_UP_SECONDS", 0.2)
    monkeypatch.setattr(scrubbing, "OPEN_LIMIT", 2)
    running.say(running.master.batch({b"%d" % number: b"content %d" % number for number in range(600)}))
    running.level()
    running.answer = lambda question: ()
    for number in range(300):
        (running.root / str(number)).unlink()
    scrub = running.replica._scrub
    deadline = time.monotonic() + scaled(20)
    with scrub.running():
        run = scrub.verbs["scrub"]({})["run"]
        while scrub._last.get("run") != run:
            assert time.monotonic() < deadline, running.board.status()
            running.turn()
            time.sleep(0.001)
    assert scrub._last["problems"] == 300


def test_a_walk_remembers_nothing_of_the_files_behind_it(tmp_path: Path) -> None:
    with memory_place(tmp_path) as place:
        for number in range(40):
            (place / f"d{number:02}").mkdir()
            for name in range(50):
                (place / f"d{number:02}" / f"{name:040}").touch()
        root = os.open(place, os.O_RDONLY)
        with closing(Directories(root, may_loosen=False)) as directories:
            walk = Walk(directories, b"", None)
            tracemalloc.start()
            for path in walk:
                if isinstance(path, bytes) and b"/" in path:
                    walk.leave_out(path)
            held_bytes = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
        os.close(root)
    assert held_bytes < 20_000
