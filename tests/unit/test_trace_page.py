"""What is told of one path, and how it reads."""

from typing import Any

from common.entries import Position, file_entry
from common.messages import Lineage, ReplicaState, Report
from producer.fleet_view import FleetView, Heard, see
from producer.roster import Member
from producer.traced import (
    Standing,
    Times,
    told,
    told_of_all,
    told_of_change,
    told_of_entry,
    told_of_fleet,
    told_of_standing,
)
from producer.values import Logged
from treecast.trace_page import page

OURS = Lineage("t", 7, b"i" * 16, bytes(32))
HERE = Position(7, 20)
ENTRY = file_entry(0o644, 1_000_000_000, 5, b"d" * 32)
MADE = Logged(11, 6, 90_000, b"a/b", 0, 0, 1, 5, 0)
GONE = Logged(20, 7, 100_000, b"a/b", 1, 5, 0, 0, 0)


def replica(name: str, level: Position, *, silent: float = 1.0, **details: Any) -> Heard:
    report = Report("t", name, OURS.instance, level, True, ReplicaState.FOLLOWING, 0, "1", 1, details=details)
    return Heard(Member(name, added=1.0, heard=5.0, level=level), report, silent)


def fleet(*replicas: Heard) -> FleetView:
    return see(replicas, OURS, HERE, lambda level: 0.0 if level == HERE else 3.0, 50.0)


def text(found: dict[str, Any]) -> list[str]:
    return page(found, lambda unix: f"<{unix:g}>", lambda unix: f"<{unix:g}>").splitlines()


def test_who_was_level_at_a_change_or_later_has_it() -> None:
    """Of an earlier epoch too; who is behind, gone or new has not what came after its last level position."""
    new = Heard(Member("d", added=1.0), None, 1.0)
    view = fleet(replica("a", HERE), replica("b", Position(6, 15)), replica("c", Position(6, 10), silent=99.0), new)
    assert told_of_fleet(MADE, view)["has"] == ["a", "b"]
    found = told_of_fleet(GONE, view)
    assert found["has"] == ["a"]
    assert {name: one["word"] for name, one in found["lacks"].items()} == {"b": "behind", "c": "gone", "d": "new"}


def test_what_fails_there_by_name_is_not_there_and_what_may_be_this_is_said() -> None:
    view = fleet(
        replica("a", HERE, unmet_problem=1, problems=["a/b: immutable"]),
        replica("b", HERE, unmet_problem=1, problems=["other: immutable"]),
        replica("c", HERE, unmet_problem=2, problems=["other: immutable"]),
        replica("d", HERE, unmet_held=3),
    )
    found = told_of_fleet(GONE, view)
    assert found["has"] == ["b"]
    assert {name: one["why"] for name, one in found["lacks"].items()} == {
        "a": "immutable",
        "c": "2 paths fail there, perhaps this",
        "d": "3 deletes are held there, perhaps this",
    }


def test_the_page_says_what_when_and_who() -> None:
    view = fleet(replica("a", HERE), replica("b", Position(7, 19), silent=40.0))
    times = {GONE.sequence: Times(0.5, 0.001, None)}
    changes = told_of_all([MADE, GONE], times.get, view)
    found = {**told(b"a/b", changes, None), "is_running": True, "of": 2, "now": told_of_standing(Standing(None))}
    assert text(found) == [
        "a/b: not published: absent on replicas",
        "<90> 6.11 create file of 5 bytes",
        "  older than what is remembered: only when it was journaled is known",
        "  at all 2",
        "<100> 7.20 delete file of 5 bytes",
        "  seen 0.500 s before, published 0.001 s after, not confirmed yet",
        "  dropped by 1 of 2",
        "  not b: gone since <5>",
    ]


def test_what_stands_in_the_way_is_said_first() -> None:
    standing = Standing(
        ENTRY, pending="waits to be looked at", held="held", problem="too large", excluded="*.tmp", is_scanning=True
    )
    found = {**told(b"a\n", [], 7000), "is_running": True, "of": 0, "now": told_of_standing(standing)}
    held = "its delete is held until a person releases it: treecast hold release"
    first = f"excluded by the pattern *.tmp; waits to be looked at; {held}; PROBLEM: too large; a scan is under way"
    assert text(found) == [
        f"a\\x0a: published as file, 5 bytes, mode 644, modified <1>; {first}",
        "  no change of it is in the log; what the first scan found is none",
        "  the log was read back to <7> only: it is long; see: treecast log",
    ]


def test_a_journal_alone_tells_no_replica() -> None:
    excluded = GONE._replace(kept=1)
    found = {
        **told(b"a/b", [told_of_change(excluded)], None),
        "is_running": False,
        "now": {"entry": told_of_entry(None)},
    }
    assert text(found) == [
        "a/b: not published: absent on replicas",
        "  no producer runs here: told by its journal alone, so not who has it",
        "<100> 7.20 exclude file of 5 bytes",
    ]


def test_many_that_lack_it_are_counted() -> None:
    view = fleet(*(replica(f"r{number:02}", Position(7, 1)) for number in range(15)))
    changes = told_of_all([GONE], lambda *_: None, view)
    found = {**told(b"a/b", changes, None), "is_running": True, "of": 15, "now": told_of_standing(Standing(None))}
    assert text(found)[-1] == "  and not 5 more; see: treecast trace --json"
