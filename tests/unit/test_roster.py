"""Who belongs to the fleet."""

from typing import Any

from common.entries import Position
from common.messages import ReplicaState, Report
from producer.roster import EPHEMERAL_LIFE_SECONDS, MEMBERS_LIMIT, SAVE_SECONDS, UNNOTICED_SECONDS, Member, Roster


def report(name: str = "paris", *, stale: int = 0, sequence: int = 5, **details: Any) -> Report:
    return Report(
        "t", name, bytes(16), Position(7, sequence), True, ReplicaState.FOLLOWING, stale, "1.0", 1, details=details
    )


def names(roster: Roster) -> list[str]:
    return [one.name for one in roster.members()]


def test_who_reports_or_is_added_belongs_to_it_until_forgotten() -> None:
    roster = Roster([Member("oslo", added=1.0)], 0.0)
    roster.hear(report(labels="region=eu"), 1.0, 1000.0)
    roster.add("rome", {"region": "it"}, 1.0, 1000.0)
    assert names(roster) == ["oslo", "paris", "rome"]
    assert roster.forget("oslo")
    assert not roster.forget("oslo")
    assert names(roster) == ["paris", "rome"]
    assert [one.labels for one in roster.members()] == [{"region": "eu"}, {"region": "it"}]


def test_labels_that_were_added_stay_until_the_replica_says_others() -> None:
    roster = Roster([], 0.0)
    roster.add("paris", {"region": "fr"}, 0.0, 1.0)
    roster.hear(report(), 1.0, 2.0)
    assert roster.members()[0].labels == {"region": "fr"}
    roster.hear(report(labels="region=eu"), 1.0, 2.0)
    assert roster.members()[0].labels == {"region": "eu"}
    roster.hear(report(labels=7), 1.0, 2.0)
    assert roster.members()[0].labels == {"region": "eu"}


def test_labels_that_a_replica_takes_back_are_gone() -> None:
    """It told some, and tells none now: nobody else's word comes into it."""
    roster = Roster([], 0.0)
    roster.hear(report(labels="region=eu"), 1.0, 2.0)
    roster.hear(report(), 1.0, 2.0)
    assert roster.members()[0].labels == {}
    roster.add("paris", {"region": "fr"}, 2.0, 3.0)
    roster.hear(report(labels=""), 3.0, 4.0)
    assert roster.members()[0].labels == {"region": "fr"}


def test_level_is_the_last_position_at_which_nothing_was_stale_nor_missing() -> None:
    roster = Roster([], 0.0)
    roster.hear(report(sequence=5), 0.0, 1.0)
    roster.hear(report(sequence=8, stale=2), 0.0, 1.0)
    roster.hear(report(sequence=9, unmet_body=1), 0.0, 1.0)
    assert roster.members()[0].level == Position(7, 5)
    roster.hear(report(sequence=9, unmet_problem=1), 0.0, 1.0)
    assert roster.members()[0].level == Position(7, 9)


def test_an_ephemeral_one_expires_ten_minutes_after_its_last_word_as_far_as_somebody_listened() -> None:
    roster = Roster([Member("pod-1", is_ephemeral=True), Member("paris")], 0.0)
    assert roster.expired(EPHEMERAL_LIFE_SECONDS - 1) == []
    assert roster.expired(EPHEMERAL_LIFE_SECONDS) == ["pod-1"]
    roster.listen(EPHEMERAL_LIFE_SECONDS)
    assert roster.expired(EPHEMERAL_LIFE_SECONDS + 10) == []
    roster.hear(report("pod-1", ephemeral=True), 2000.0, 1.0)
    assert roster.expired(2000.0 + EPHEMERAL_LIFE_SECONDS) == ["pod-1"]


def test_who_belongs_to_it_is_saved_at_once_and_a_mere_word_now_and_then() -> None:
    roster = Roster([], 0.0)
    roster.hear(report(), 1.0, 1000.0)
    saved = roster.to_save(1.0)
    assert saved is not None
    assert [one.name for one in saved[0]] == ["paris"]
    roster.saved(1.0)
    roster.hear(report(sequence=6), 2.0, 1001.0)
    assert roster.to_save(2.0) is None
    assert roster.to_save(2.0, at_once=True) is not None
    assert roster.to_save(1.0 + SAVE_SECONDS) is not None
    roster.forget("paris")
    assert roster.to_save(2.0) == ([], ["paris"])


def test_invented_names_do_not_fill_it_without_end() -> None:
    roster = Roster((Member(f"r{number}") for number in range(MEMBERS_LIMIT)), 0.0)
    roster.hear(report("one-more"), 0.0, 1.0)
    assert "one-more" not in roster


def test_silence_counts_while_somebody_listens_and_begins_anew_with_that() -> None:
    """Also of one that was added long ago, and had no time to speak."""
    roster = Roster([Member("oslo", added=1.0)], 0.0)
    roster.hear(report("rome"), 5.0, 1000.0)
    roster.hear(report("paris"), 10.0, 1000.0)
    roster.deafen(10.0)
    roster.deafen(20.0)
    assert (roster.silent_seconds("rome", 910.0), roster.spoke_seconds("rome", 910.0)) == (5.0, 905.0)
    assert roster.missed(910.0, 1905.0, 30.0) == []
    roster.listen(910.0)
    assert roster.silent_seconds("rome", 912.0) == 2.0
    assert roster.missed(939.0, 1934.0, 30.0) == []
    assert [one.name for one in roster.missed(940.0, 1935.0, 30.0)] == ["oslo", "paris", "rome"]


def test_what_was_lost_before_it_was_noticed_is_nobodys_silence() -> None:
    """Unless it is so long that nobody was there."""
    for late_seconds, silent_seconds in ((40.0, 0.0), (UNNOTICED_SECONDS + 100.0, 100.0)):
        roster = Roster([Member("oslo", heard=1.0)], 0.0)
        roster.deafen(late_seconds)
        assert roster.silent_seconds("oslo", 900.0) == silent_seconds


def test_one_that_is_added_or_heard_while_nobody_listens_is_silent_for_no_time() -> None:
    roster = Roster([], 0.0)
    roster.deafen(10.0)
    roster.add("rome", {}, 50.0, 1000.0)
    assert roster.silent_seconds("rome", 60.0) == 0.0


def test_who_should_be_there_and_is_not_is_missed() -> None:
    """One that spoke after the given silence, one that was only added after ten minutes, an ephemeral one never."""
    roster = Roster([], 0.0)
    roster.hear(report("rome"), 0.0, 1000.0)
    roster.hear(report("pod", ephemeral=True), 0.0, 1000.0)
    roster.add("oslo", {}, 0.0, 1000.0)
    assert [one.name for one in roster.missed(29.0, 1029.0, 30.0)] == []
    assert [one.name for one in roster.missed(30.0, 1030.0, 30.0)] == ["rome"]
    assert [one.name for one in roster.missed(700.0, 1700.0, 30.0)] == ["oslo", "rome"]
