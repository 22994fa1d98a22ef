"""What the loop knows of the fleet, and what is made of it when somebody asks."""

from dataclasses import replace

from common.entries import Position
from common.labels import Selector
from common.messages import Lineage, ReplicaState, Report
from producer.fleet_view import Deaf, Word, told
from producer.roster import Member
from producer.sighting import NOBODY, Sighting

OURS = Lineage("t", 7, b"i" * 16, bytes(32))
HERE = Position(7, 100)


def sighting(*members: Member, silent: float = 1.0, since: dict[int, float] | None = None) -> Sighting:
    by_name = {member.name: member for member in members}
    reports = {
        name: Report("t", name, OURS.instance, one.level, True, ReplicaState.FOLLOWING, 0, "1", 1)
        for name, one in by_name.items()
        if one.heard
    }
    heard_at = dict.fromkeys(by_name, 500.0 - silent)
    return Sighting(by_name, reports, heard_at, 500.0, OURS, HERE, since or {}, 1000.0)


def test_each_has_its_word_and_its_lag_by_name() -> None:
    here = Member("b", added=1.0, heard=5.0, level=HERE)
    behind = Member("a", added=1.0, heard=5.0, level=Position(7, 60))
    ahead = Member("c", added=1.0, heard=5.0, level=Position(7, 101))
    view = sighting(here, behind, ahead, since={60: 940.0}).view
    assert [(one.name, one.word, one.lag_seconds) for one in view.replicas] == [
        ("a", Word.BEHIND, 60.0),
        ("b", Word.EQUAL, 0.0),
        ("c", Word.FORKED, None),
    ]


def test_where_nobody_is_heard_silence_stands_still_a_lag_grows_and_all_of_the_view_knows() -> None:
    """What was published so long ago may not have come; who had everything lacks nothing."""
    deaf = Deaf(990.0, "connecting", "cut off")
    seen = sighting(Member("a", added=1.0, heard=5.0, level=HERE), Member("b", heard=5.0, level=Position(7, 60)))
    later = replace(seen, unix=1900.0, since={60: 940.0}, deaf=deaf).view
    assert [(one.name, one.word, one.silent_seconds, one.lag_seconds) for one in later.replicas] == [
        ("a", Word.EQUAL, 1.0, 0.0),
        ("b", Word.BEHIND, 1.0, 960.0),
    ]
    assert later.selected(Selector()).named(["a"]).deaf is deaf
    assert told(later)["deaf"] == {"since": 990.0, "phase": "connecting", "detail": "cut off"}
    assert told(seen.view)["deaf"] is None


def test_what_was_seen_stays_as_it_was() -> None:
    """It is worked out once, whoever asks."""
    seen = sighting(Member("a", added=1.0, heard=5.0, level=HERE), silent=30.0)
    assert seen.view is seen.view
    assert [one.word for one in seen.view.replicas] == [Word.GONE]
    assert NOBODY.view.replicas == ()
