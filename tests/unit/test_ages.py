"""How long things stand aside, while clocks jump."""

from collections.abc import Iterable

import pytest

from consumer.ages import Ages, Clocks, is_label, is_too_much, is_too_old, label_of, look, oldest_first

DAY = 86_400.0
WEEK = 7 * DAY
NOW = 1_700_000_000.0
LABEL = b"1700000000-5"


def looked(times: Iterable[tuple[float, float]]) -> Ages:
    """It stands there at each of these moments by this machine's clock and the master's, in seconds from now."""
    ages = Ages()
    for here, master in times:
        ages = look(ages, [LABEL], Clocks(NOW + here, NOW + master))
    return ages


def test_it_goes_after_a_week_by_both_clocks_and_not_before() -> None:
    assert not is_too_old(looked((day * DAY, day * DAY) for day in range(7)), LABEL, WEEK)
    assert is_too_old(looked((day * DAY, day * DAY) for day in range(8)), LABEL, WEEK)


def test_a_replica_that_was_off_counts_the_time() -> None:
    assert is_too_old(looked([(0, 0), (WEEK, WEEK)]), LABEL, WEEK)


@pytest.mark.parametrize("wrong_seconds", [-NOW, 3650 * DAY])
def test_a_clock_that_was_wrong_and_is_put_right_neither_lets_it_go_at_once_nor_keeps_it(wrong_seconds: float) -> None:
    """Wrong at boot, and right an hour later."""
    times = [(wrong_seconds, 0.0), *((hour * 3600.0, hour * 3600.0) for hour in range(1, 24 * 8))]
    assert not is_too_old(looked(times[:3]), LABEL, WEEK)
    assert is_too_old(looked(times), LABEL, WEEK)


def test_the_master_alone_cannot_let_it_go() -> None:
    assert not is_too_old(looked([(0, 0), (3600, 3650 * DAY), (7200, 3650 * DAY)]), LABEL, WEEK)


def test_what_is_gone_is_forgotten_and_the_oldest_comes_first() -> None:
    ages = look(Ages(), [b"5-10-1", b"5-10", b"9-2"], Clocks(NOW, NOW))
    ages = look(ages, [b"1-1", b"5-10-1", b"5-10", b"9-2"], Clocks(NOW + 1, NOW + 1))
    assert oldest_first(ages) == [b"9-2", b"5-10", b"5-10-1", b"1-1"]
    assert oldest_first(look(ages, [b"1-1"], Clocks(NOW, NOW))) == [b"1-1"]


def test_only_what_we_named_is_ours() -> None:
    assert is_label(label_of(NOW, 3)) and is_label(label_of(NOW, 3, 1))  # noqa: PT018 - one claim
    assert not any(is_label(name) for name in (b"precious", b"5", b"5-", b"5-6-7-8", b"-1-2", b"5-6\n"))


def test_all_of_it_keeps_to_its_share_of_the_free_room() -> None:
    assert is_too_much(total_bytes=51, free_bytes=49, share=0.5)
    assert not is_too_much(total_bytes=50, free_bytes=50, share=0.5)
