"""The ledger against the plain rule: everything below the lowest unsettled delivery, and nothing else, is acked."""

from hypothesis import given
from hypothesis import strategies as st

from common.transport.ledger import AckLedger


@given(st.permutations(range(12)), st.integers(0, 12))
def test_acked_is_all_below_the_lowest_unsettled(order: list[int], settled_count: int) -> None:
    ledger = AckLedger()
    for tag in range(12):
        ledger.delivered(tag)
    acked = -1
    for tag in order[:settled_count]:
        up_to = ledger.settled(tag)
        assert up_to is None or up_to > acked
        acked = acked if up_to is None else up_to
    unsettled = set(range(12)) - set(order[:settled_count])
    assert acked == min(unsettled, default=12) - 1
    assert len(ledger) == 11 - acked
