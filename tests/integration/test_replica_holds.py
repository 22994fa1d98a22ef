"""A replica keeps deletes that nobody released, when they are too many, until the master or a person says that they are meant."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.holds import HoldLimit
from consumer.values import Outcome, Plan, Reason, Step, Unmet
from tests.disk import read_tree
from tests.running_consumer import Running, many

FILES = 120
GONE = 30


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with Running(tmp_path, monkeypatch) as running:
        running.restart(hold=HoldLimit(20, 10, 50))
        running.say(running.master.batch(many(FILES)))
        running.level()
        yield running


def another_journal(running: Running) -> None:
    """The producer starts anew, and nobody vouches for what it has."""
    running.master.start_epoch(6)
    running.master.is_vouched = False


def delete(running: Running, first: int, count: int) -> None:
    running.say(running.master.batch({b"d/%04d" % number: None for number in range(first, first + count)}))
    running.turn(3)


def held(running: Running) -> int:
    return running.state.count_unmet().get(Reason.HELD, 0)


def asked(running: Running, verb: str, **arguments: Any) -> dict[str, Any]:
    return running.replica._handlers[verb](arguments)


def test_a_mass_delete_that_nobody_vouches_for_stays_here_and_one_release_on_the_master_lets_it_go(
    running: Running,
) -> None:
    another_journal(running)
    before = read_tree(running.root)
    delete(running, 0, GONE)
    assert held(running) == GONE
    assert read_tree(running.root) == before
    assert "hold" in running.alarms
    assert not running.replica._follower.is_agreed()
    assert running.board.is_ready, "the last good tree beats no tree"

    running.say(running.master.batch({b"d/new": b"everything else flows"}))
    running.turn(3)
    assert (running.root / "d" / "new").exists()

    running.master.is_vouched = True
    running.level()
    assert "hold" not in running.alarms


def test_few_deletes_go_at_once_and_count_for_those_that_follow_also_behind_a_restart(running: Running) -> None:
    another_journal(running)
    delete(running, 0, 15)
    assert held(running) == 0
    assert not (running.root / "d" / "0000").exists()
    running.restart()
    delete(running, 15, 15)
    assert held(running) == 15
    assert (running.root / "d" / "0015").exists()


def test_what_is_held_costs_no_round_of_the_loop_anything(running: Running) -> None:
    """However many paths are held, and whatever else is unmet beside them. Counted in steps of SQLite's machine, not in time."""
    another_journal(running)
    running.level()
    running.answer = lambda question: ()
    running.say(running.master.batch({b"z": b"its content never comes"}, bodies=False))
    running.turn(3)
    held = {b"held/%06d" % number: Unmet(Reason.HELD) for number in range(20_000)}
    running.state.commit(Step(running.state.standing()), Plan(unmet=held), Outcome())
    thousands = 0

    def count() -> int:
        nonlocal thousands
        thousands += 1
        return 0

    running.state._database.set_progress_handler(count, 1000)
    running.turn(20)
    running.say(running.master.batch({b"d/0002": b"new"}))
    running.turn(20)
    running.clock.now += 31
    running.turn(20)
    assert thousands < 20
    assert (running.root / "d/0002").read_bytes() == b"new"


def test_a_hold_outlives_a_restart_and_a_person_here_can_end_it(running: Running) -> None:
    another_journal(running)
    delete(running, 0, GONE)
    told = asked(running, "hold-list")
    running.clock.now += 100
    running.restart()
    running.turn(3)
    assert "hold" in running.alarms
    again = asked(running, "hold-show", path="d", number=2)
    assert (again["held"], again["since"], again["paths"]) == (GONE, told["since"], ["d/0000", "d/0001"])
    assert asked(running, "hold-show", number=1, after=again["after"])["paths"] == ["d/0002"]
    assert asked(running, "hold-release") == {"released": GONE}
    running.level()


def test_a_replica_that_was_away_while_it_was_released_asks_nobody(running: Running) -> None:
    another_journal(running)
    running.master.batch({b"d/%04d" % number: None for number in range(GONE)})
    running.master.is_vouched = True
    running.level()
    assert not running.alarms


def test_what_is_told_by_an_answer_is_held_as_what_is_told_live(running: Running) -> None:
    another_journal(running)
    running.master.batch({b"d/%04d" % number: None for number in range(GONE)})
    running.say(running.master.heartbeat())
    running.until(lambda: held(running) == GONE)
    assert (running.root / "d" / "0000").exists()


def test_a_whole_directory_that_becomes_a_file_waits_with_what_is_in_it(running: Running) -> None:
    another_journal(running)
    gone: dict[bytes, Any] = {b"d/%04d" % number: None for number in range(FILES)}
    running.say(running.master.batch({**gone, b"d": b"a file now"}))
    running.turn(3)
    assert (running.root / "d" / "0000").exists()
    running.say(running.master.heartbeat())
    running.pass_by(60)
    assert held(running) == FILES + 1
    running.master.is_vouched = True
    running.say(running.master.heartbeat())
    running.pass_by(60)
    running.level()


def test_a_first_copy_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Running(tmp_path, monkeypatch) as running:
        running.restart(hold=HoldLimit(1, 0, 50))
        running.master.is_vouched = False
        running.say(running.master.batch(many(FILES)))
        delete(running, 0, GONE)
        running.level()
        assert held(running) == 0
