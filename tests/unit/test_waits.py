"""Whether those who are waited for have it, and whether it is any use to wait on."""

from typing import Any

from common.entries import Position
from common.labels import parse_selector
from producer.fleet_view import FleetView, ReplicaView, Word
from producer.roster import Member
from producer.waits import Wanted, judge

AT = Position(7, 100)


def one(name: str, word: Word = Word.EQUAL, sequence: int = 100, **labels: str) -> ReplicaView:
    position = Position(7, sequence)
    agreed = word is Word.EQUAL or word is Word.BEHIND
    return ReplicaView(name, word, position, position, 0.0, 0.0, 1.0, agreed, "", 0, Member(name, labels=labels))


def verdict(*replicas: ReplicaView, **wanted: Any) -> tuple[int, int, bool, str, bool]:
    found = judge(FleetView(AT, replicas), Wanted(**wanted), AT)
    return found.have, found.of, found.is_done, found.why_hopeless, found.needs_person


def test_all_must_agree_at_the_position_or_beyond() -> None:
    assert verdict(one("a"), one("b", sequence=101)) == (2, 2, True, "", False)
    assert verdict(one("a"), one("b", Word.BEHIND, sequence=99)) == (1, 2, False, "", False)


def test_some_are_enough_when_that_is_asked() -> None:
    assert verdict(one("a"), one("b", Word.GONE), count=1) == (1, 2, True, "", False)
    assert verdict(one("a"), count=2)[3] == "2 are wanted, and there are 1"


def test_one_that_is_gone_makes_it_hopeless_unless_patient() -> None:
    fleet = one("a", Word.BEHIND, sequence=99), one("b", Word.GONE, sequence=90)
    assert verdict(*fleet) == (0, 2, False, "b is gone", False)
    assert verdict(*fleet, is_patient=True)[3] == ""
    assert verdict(*fleet, count=1)[3] == ""


def test_one_that_is_gone_has_nothing_that_anybody_knows_of() -> None:
    """Whatever it said last: perhaps its disk is what ended it."""
    fleet = one("a"), one("b", Word.GONE)
    assert verdict(*fleet) == (1, 2, False, "b is gone", False)
    assert verdict(*fleet, is_patient=True)[:3] == (1, 2, False)


def test_a_person_who_is_needed_is_told_apart() -> None:
    assert verdict(one("a"), one("b", Word.HELD)) == (1, 2, False, "b is holding deletes", True)
    assert verdict(one("a"), one("b", Word.HALTED))[4]


def test_names_and_labels_choose() -> None:
    fleet = one("a", region="eu"), one("b", Word.GONE, region="us")
    assert verdict(*fleet, selector=parse_selector("region=eu"))[:3] == (1, 1, True)
    assert verdict(*fleet, names=frozenset({"a"}))[:3] == (1, 1, True)
    assert verdict(*fleet, names=frozenset({"a", "c"}))[3] == "c: no replica of this fleet"


def test_nobody_to_wait_for_is_no_success() -> None:
    assert verdict()[2:4] == (False, "no replica is waited for: the fleet has none, or none with these labels")
