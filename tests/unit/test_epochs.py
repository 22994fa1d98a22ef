from common.transport.ports import Link, Phase
from producer import epochs
from producer.epochs import Lead, Standing


def test_an_epoch_is_above_all_that_are_known_and_above_those_of_a_lost_journal() -> None:
    assert epochs.next_epoch(5, 1000.9) == 1000
    assert epochs.next_epoch(2000, 1000.0) == 2001
    assert epochs.next_epoch(1000, 1000.5) == 1001


def test_two_runs_never_have_the_same_lineage() -> None:
    one, other = (epochs.new_lineage("music", bytes(32), 7, 0.0) for _ in range(2))
    assert one.epoch == other.epoch == 8
    assert one.instance != other.instance
    assert epochs.first_head(one) != epochs.first_head(other)


def test_only_an_open_upstream_queue_makes_a_leader() -> None:
    lead = Lead()
    assert lead.judge(Link(Phase.CONNECTING), 0.0) is Standing.WAITS
    assert lead.judge(Link(Phase.OPEN), 1.0) is Standing.LEADS
    assert lead.judge(Link(Phase.CONNECTING), 2.0) is Standing.WAITS


def test_a_newcomer_yields_after_a_minute_of_somebody_else_leading() -> None:
    lead = Lead()
    held = Link(Phase.HELD, "there:1")
    assert lead.judge(held, 0.0) is Standing.WAITS
    assert lead.judge(Link(Phase.CONNECTING), 30.0) is Standing.WAITS
    assert lead.judge(held, 59.0) is Standing.WAITS
    assert lead.judge(held, 60.0) is Standing.YIELDS


def test_leading_in_between_starts_the_minute_anew() -> None:
    lead = Lead()
    held = Link(Phase.HELD)
    lead.judge(held, 0.0)
    lead.judge(Link(Phase.OPEN), 30.0)
    assert lead.judge(held, 70.0) is Standing.WAITS
    assert lead.judge(held, 129.0) is Standing.WAITS
    assert lead.judge(held, 130.0) is Standing.YIELDS


def test_who_has_seen_another_lead_needs_a_new_epoch() -> None:
    """Also where it was only for a moment; who has not, keeps the one of its start."""
    lead = Lead()
    lead.judge(Link(Phase.OPEN), 0.0)
    lead.judge(Link(Phase.CONNECTING), 1.0)
    assert not lead.has_seen_another
    lead.judge(Link(Phase.HELD), 2.0)
    lead.judge(Link(Phase.OPEN), 3.0)
    assert lead.has_seen_another


def test_who_takes_over_leads_although_another_holds_the_queue_and_needs_no_new_epoch_when_it_is_free() -> None:
    lead = Lead()
    held = Link(Phase.HELD, "there:1")
    assert lead.judge(held, 0.0) is Standing.WAITS
    lead.take_over(10.0)
    lead.has_seen_another = False
    assert lead.judge(held, 11.0) is Standing.TAKES_OVER
    assert not lead.held_too_long(69.0)
    assert lead.judge(held, 70.0) is Standing.TAKES_OVER
    assert lead.held_too_long(70.0)
    assert lead.judge(Link(Phase.OPEN), 71.0) is Standing.LEADS
    assert not lead.has_seen_another
    assert lead.judge(held, 72.0) is Standing.WAITS
