"""What may be acked."""

import pytest

from common.transport.ledger import AckLedger


def ledger(*tags: int) -> AckLedger:
    made = AckLedger()
    for tag in tags:
        made.delivered(tag)
    return made


def test_in_order_each_settled_delivery_may_be_acked() -> None:
    assert [ledger(1, 2).settled(1)] == [1]
    two = ledger(1, 2)
    assert [two.settled(1), two.settled(2), len(two)] == [1, 2, 0]


def test_nothing_is_acked_beyond_the_lowest_unsettled() -> None:
    made = ledger(3, 5, 9)
    assert [made.settled(9), made.settled(5), len(made)] == [None, None, 3]
    assert made.settled(3) == 9
    assert len(made) == 0


def test_settling_again_or_what_was_never_delivered_changes_nothing() -> None:
    made = ledger(3, 5)
    assert [made.settled(5), made.settled(5), made.settled(3), made.settled(3)] == [None, None, 5, None]
    assert [made.settled(4), made.settled(99), AckLedger().settled(1)] == [None, None, None]


def test_a_tag_between_two_deliveries_does_not_pass_for_one() -> None:
    made = ledger(3, 5)
    made.settled(4)
    assert made.settled(3) == 3
    assert made.settled(5) == 5


def test_tags_must_rise() -> None:
    with pytest.raises(ValueError, match="tag 5 after 5"):
        ledger(5, 5)
