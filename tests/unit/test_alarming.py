from common.transport.ports import Link, Phase
from consumer.alarming import Alarming, Seen

OPEN = Link(Phase.OPEN)
REFUSED = Link(Phase.REFUSED, "may not write")
HELD = Link(Phase.HELD, "paris:7")


def kinds(alarming: Alarming, seen: Seen, now: float) -> set[str]:
    return {kind for kind, detail in alarming.judge(seen, now).items() if detail}


def test_a_silent_master_is_alarmed_within_a_minute_and_no_more_when_it_speaks() -> None:
    alarming = Alarming()
    assert not kinds(alarming, Seen(45.0, OPEN, OPEN, (0, 0)), 100.0)
    assert kinds(alarming, Seen(55.0, OPEN, OPEN, (0, 0)), 110.0) == {"silence"}
    assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (0, 0)), 111.0)


def test_words_that_reach_nobody_are_alarmed_until_they_do() -> None:
    alarming = Alarming()
    assert not kinds(alarming, Seen(1.0, OPEN, REFUSED, (0, 0)), 100.0)
    assert kinds(alarming, Seen(1.0, OPEN, REFUSED, (0, 0)), 131.0) == {"broker"}
    assert "may not write" in alarming.judge(Seen(1.0, OPEN, REFUSED, (0, 0)), 132.0)["broker"]
    assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (0, 0)), 133.0)


def test_what_is_missing_and_does_not_come_is_alarmed_within_a_minute() -> None:
    alarming = Alarming()
    assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (9, 1)), 100.0)
    assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (8, 1)), 149.0)
    assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (8, 1)), 198.0)
    assert kinds(alarming, Seen(1.0, OPEN, OPEN, (8, 1)), 200.0) == {"stalled"}
    assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (0, 0)), 201.0)


def test_contents_alone_that_do_not_come_are_the_masters_who_may_hold_their_deletes() -> None:
    alarming = Alarming()
    for now in (0.0, 100.0):
        told = alarming.judge(Seen(1.0, OPEN, OPEN, (0, 30)), now)
    assert told["stalled"].startswith("30 contents are missing")
    assert "treecast hold list" in told["stalled"]


def test_a_level_replica_is_never_stalled() -> None:
    alarming = Alarming()
    for now in (0.0, 1000.0):
        assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (0, 0)), now)


def test_a_queue_that_another_has_is_waited_for_for_a_minute_each_time() -> None:
    alarming = Alarming()
    assert not alarming.is_held(HELD, 100.0)
    assert not alarming.is_held(HELD, 159.0)
    assert alarming.is_held(HELD, 161.0)
    assert not alarming.is_held(OPEN, 162.0)
    assert not alarming.is_held(OPEN, 300.0)
    assert not alarming.is_held(HELD, 301.0)


def test_who_waits_for_room_is_not_told_to_look_at_the_master() -> None:
    """It reads no messages meanwhile; afterwards what has waited is read first."""
    alarming = Alarming()
    assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (9, 1)), 100.0)
    assert not kinds(alarming, Seen(80.0, OPEN, OPEN, (9, 1), is_short_of_room=True), 180.0)
    assert not kinds(alarming, Seen(81.0, OPEN, OPEN, (9, 1)), 181.0)
    assert kinds(alarming, Seen(91.0, OPEN, OPEN, (0, 0)), 191.5) == {"silence"}
    assert kinds(alarming, Seen(1.0, OPEN, OPEN, (9, 1)), 192.0) == set()
    assert kinds(alarming, Seen(1.0, OPEN, OPEN, (9, 1)), 243.0) == {"stalled"}


def test_a_since_answer_that_comes_slowly_is_not_stalled() -> None:
    """Nothing is level before all of it is there."""
    alarming = Alarming()
    for minute in range(1, 10):
        assert not kinds(alarming, Seen(1.0, OPEN, OPEN, (4096, 0), received=minute / 10), 45.0 * minute)
    assert kinds(alarming, Seen(1.0, OPEN, OPEN, (4096, 0), received=0.9), 500.0) == {"stalled"}
