"""How far a mirror is, decided from what its processes say; what it calls things; how it reads."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.entries import Position
from common.names import is_name
from common.transport.urls import EmbeddedUrl, parse_url
from treecast.mirroring.child import child_environment
from treecast.mirroring.layout import make_layout, replica_name, tree_name
from treecast.mirroring.once import ReplicaResult, Result
from treecast.mirroring.progress import Alarms, Problems
from treecast.mirroring.standing import Goal, Lag, Level, Look, Rate, Reaching, look_at
from treecast.mirroring.words import PROBLEMS_SHOWN, counted, replica_words, result_json, share_done

AT_5 = Position(7, 5)
QUIET = Look(position=AT_5, is_quiet=True, is_all_found=True)
BUSY = Look(position=AT_5, is_all_found=True)
LEVEL = Look(position=AT_5, is_agreed=True, stale_buckets=0)


def test_the_goal_is_where_a_quiet_producer_stands_and_stays() -> None:
    goal = Goal()
    goal.see(Look(position=AT_5, is_quiet=True), 0.0)
    assert goal.position is None, "not all is found yet"
    goal.see(QUIET, 1.0)
    goal.see(Look(position=Position(7, 9), is_quiet=True, is_all_found=True), 2.0)
    assert goal.position == AT_5


def test_a_source_that_is_never_quiet_has_a_goal_after_ten_seconds() -> None:
    goal = Goal()
    goal.see(BUSY, 100.0)
    goal.see(BUSY, 109.9)
    assert goal.position is None
    goal.see(BUSY, 110.0)
    assert goal.position == AT_5


@pytest.mark.parametrize(
    ("look", "level"),
    [
        (LEVEL, Level.PROVED),
        (Look(position=Position(7, 6), is_agreed=True), Level.PROVED),
        (Look(position=Position(7, 4), is_agreed=True), Level.NOT_YET),
        (Look(position=Position(6, 9), is_agreed=True), Level.NOT_YET),
        (Look(position=AT_5), Level.NOT_YET),
        (Look(position=AT_5, stale_buckets=0), Level.NOT_YET),
        (Look(state="halted", position=AT_5), Level.HALTED),
    ],
)
def test_a_replica_is_level_when_it_agrees_at_the_goal_or_beyond(look: Look, level: Level) -> None:
    assert Reaching().judge(look, AT_5, 0.0) is level
    assert Reaching().judge(LEVEL, None, 0.0) is Level.NOT_YET, "there is no goal yet"


def test_problems_alone_hold_nobody_up_but_only_when_they_last() -> None:
    problems = Look(position=AT_5, stale_buckets=0, unmet={"problem": 2})
    missing = Look(position=AT_5, stale_buckets=0, unmet={"problem": 2, "body": 1})
    reaching = Reaching()
    assert reaching.judge(problems, AT_5, 0.0) is Level.NOT_YET
    assert reaching.judge(missing, AT_5, 0.9) is Level.NOT_YET
    assert reaching.judge(problems, AT_5, 1.0) is Level.NOT_YET
    assert reaching.judge(problems, AT_5, 2.0) is Level.BUT_PROBLEMS


def test_a_full_disk_is_given_up_when_nothing_comes_of_waiting() -> None:
    """Whoever runs once waits for an end; room that is made in time, or anything that is applied, begins the time anew."""
    full = Look(position=AT_5, alarms={"no-room": "no room"})
    moving = Look(position=AT_5, alarms={"no-room": "no room"}, applied=3)
    reaching = Reaching()
    assert reaching.judge(full, None, 0.0) is Level.NOT_YET
    assert reaching.judge(full, AT_5, 14.9) is Level.NOT_YET
    assert reaching.judge(moving, AT_5, 15.0) is Level.NOT_YET
    assert reaching.judge(Look(position=AT_5), AT_5, 29.0) is Level.NOT_YET
    assert reaching.judge(full, AT_5, 31.0) is Level.NOT_YET
    assert reaching.judge(full, AT_5, 46.0) is Level.NO_ROOM


def test_an_alarm_is_told_when_it_begins_changes_and_ends() -> None:
    """A process that does not answer for a moment says nothing of its alarms."""
    layout = make_layout(("s", Path("/s")), [("a", Path("/a"))], Path("/t"))
    alarms = Alarms(layout)
    on, other = (Look(state="waiting", alarms={"no-room": detail}) for detail in ("full", "fuller"))
    assert list(alarms.lines(QUIET, [on])) == ["treecast: alarm no-room at a: full"]
    assert list(alarms.lines(QUIET, [on])) == []
    assert list(alarms.lines(QUIET, [Look()])) == []
    assert list(alarms.lines(QUIET, [other])) == ["treecast: alarm no-room at a: fuller"]
    assert list(alarms.lines(QUIET, [LEVEL])) == ["treecast: alarm no-room at a is over"]
    assert list(alarms.lines(QUIET, [LEVEL])) == []


def test_each_problem_is_told_once_and_not_more_than_a_screen_of_them() -> None:
    layout = make_layout(("s", Path("/s")), [("a", Path("/a"))], Path("/t"))
    problems = Problems(layout)
    failing = Look(problems=(("x", "x: Permission denied"),), problem_count=1)
    assert list(problems.lines(QUIET, [failing])) == ["treecast: a: problem at x: Permission denied"]
    assert list(problems.lines(QUIET, [failing])) == []
    many = Look(problems=tuple((str(number), "a fifo is not carried") for number in range(100)), problem_count=100)
    lines = list(problems.lines(many, [failing]))
    assert len(lines) == PROBLEMS_SHOWN
    assert lines[-1] == "treecast: s: more problems; see: treecast status"
    assert list(problems.lines(many, [failing])) == []


def test_lag_counts_from_the_first_position_that_was_not_agreed_to() -> None:
    lag = Lag()
    assert lag.of(LEVEL, 1.0) == 0.0
    for sequence, now in ((5, 10.0), (6, 11.0), (6, 12.0), (8, 13.0)):
        lag.see(Position(7, sequence), now)
    assert lag.of(Look(position=Position(7, 8), is_agreed=True), 20.0) == 0.0
    assert lag.of(Look(position=Position(7, 7), is_agreed=True), 20.0) == 7.0
    assert lag.of(LEVEL, 20.0) == 9.0
    assert lag.of(Look(), 20.0) == 10.0, "nothing was ever agreed to"
    assert lag.of(Look(position=Position(7, 8)), 20.0) == 7.0, "what it has is not proved"


def test_a_replica_that_copies_says_how_fast_and_for_how_long() -> None:
    """As far as it is known."""
    copying = Look(position=AT_5, entries=1200, stale_buckets=9)
    assert replica_words(copying, 5000) == "copying, 1,200 of 5,000"
    sync = {"bytes_per_second": 2_400_000.0, "seconds_left": 75.0}
    assert (
        replica_words(replace(copying, sync=sync), 5000) == "copying, 1,200 of 5,000, 2.4 MB/s, about 1 min 15 s left"
    )


def test_a_rate_is_over_the_last_seconds_and_begins_anew_with_another_run() -> None:
    rate = Rate()
    assert rate.see(0, 0.0) == 0.0
    assert rate.see(100, 1.0) == 100.0
    for second in range(2, 20):
        last = rate.see(100, float(second))
    assert last == 0.0
    assert rate.see(5, 20.0) == 0.0


def test_what_a_process_says_is_read_and_what_it_does_not_say_has_a_default() -> None:
    assert look_at(None) == look_at({}) == Look()
    look = look_at(
        {
            "state": "following",
            "position": {"epoch": 7, "sequence": 5},
            "agreed": True,
            "stale_buckets": 0,
            "unmet": {"body": 1},
            "entries": 10,
            "files": 8,
            "figures": {"events_applied_total": 3.0},
            "problems": [{"path": "a", "problem": "b", "since": 1}],
            "problem_count": 1,
            "alarms": [{"kind": "halt", "detail": "why", "since": 1}],
        }
    )
    assert (look.position, look.is_agreed, look.shown, look.applied) == (AT_5, True, 9, 3)
    assert (look.problems, look.alarms) == ((("a", "b"),), {"halt": "why"})
    assert look_at({"position": None}).position == Position(0, 0)


def test_progress_goes_from_nothing_to_all() -> None:
    assert share_done(Look(entries=5, stale_buckets=2048), 10) == 0.5
    assert share_done(Look(entries=10, stale_buckets=4096), 10) == 0.0, "there, but nothing of it is proved"
    assert share_done(LEVEL, 0) == 1.0
    assert replica_words(Look(position=AT_5, entries=4, unmet={"body": 1}), 10) == "copying, 3 of 10"
    assert counted(1, "path") == "1 path"


def test_the_exit_code_is_that_of_what_needs_a_person_most() -> None:
    place = make_layout(("s", Path("/s")), [("a", Path("/a"))], Path("/t")).replicas[0]

    def code(*results: ReplicaResult, producer: Look = QUIET) -> int:
        return Result(producer, AT_5, results, 1.0).exit_code

    level = ReplicaResult(place, Level.PROVED, LEVEL, 1.0)
    assert code(level) == 0
    assert code(level, producer=Look(problem_count=1)) == 1
    assert code(level, ReplicaResult(place, Level.BUT_PROBLEMS, LEVEL, 1.0)) == 1
    assert code(level, ReplicaResult(place, Level.NOT_YET, Look(), 1.0, "why", 4)) == 4
    assert code(level, ReplicaResult(place, Level.HALTED, Look(), 1.0)) == 4


def test_a_program_is_told_what_is_held_too() -> None:
    """How much, the first paths, and the exit code that goes with it."""
    layout = make_layout(("s", Path("/s")), [("a", Path("/a"))], Path("/t"))
    level = ReplicaResult(layout.replicas[0], Level.PROVED, LEVEL, 1.0)
    told = result_json(layout, Result(replace(QUIET, held=100), AT_5, (level,), 1.0, ("1/1", "1/2")), {})
    assert (told["held"], told["held_paths"], told["exit_code"]) == (100, ["1/1", "1/2"], 4)
    assert (told["replicas"][0]["level"], told["replicas"][0]["held"]) == (True, 0)


def test_names_are_allowed_and_differ_with_the_path() -> None:
    for path in (Path("/srv/My Music!"), Path("/"), Path("/" + "x" * 200), Path("/srv/é")):
        assert is_name(tree_name(path))
        assert is_name(replica_name(path))
    assert replica_name(Path("/a/copy")) != replica_name(Path("/b/copy"))
    assert replica_name(Path("/a/copy")).startswith("copy-")


def test_the_broker_is_a_file_in_the_state() -> None:
    layout = make_layout(("s", Path("/s")), [], Path("/state"))
    assert parse_url(layout.broker) == EmbeddedUrl(Path("/state/queue.db"))


def test_only_harmless_variables_reach_a_child() -> None:
    kept = child_environment({"PATH": "p", "TREECAST_TREE": "t", "TREECAST_DEBUG": "1", "STATE_DIRECTORY": "/s"})
    assert {name for name in kept if name != "PYTHONPATH"} == {"PATH", "TREECAST_DEBUG"}
