from hypothesis import given
from hypothesis import strategies as st

from producer.pacing import BURST_MINIMUM_BYTES, BURST_SECONDS, TokenBucket


def test_without_a_limit_there_is_always_room() -> None:
    bucket = TokenBucket(None)
    bucket.spent(1 << 60)
    assert bucket.room_bytes(0.0) == float("inf")


def test_a_message_larger_than_the_room_goes_and_is_owed() -> None:
    bucket = TokenBucket(1_000_000)
    bucket.spent(3_000_000)
    assert bucket.room_bytes(2.0) < 0
    assert bucket.room_bytes(3.0) > 0


@given(
    st.integers(1_000, 10**9),
    st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 2_000_000)), min_size=1, max_size=60),
)
def test_no_more_goes_than_the_rate_one_burst_and_one_message(rate: int, steps: list[tuple[float, int]]) -> None:
    """Whatever is sent, and whenever: at most rate x time, what a rest allows at once, and what the last was too large."""
    bucket = TokenBucket(rate)
    burst_bytes = max(BURST_MINIMUM_BYTES, rate * BURST_SECONDS)
    now, sent, last = 0.0, 0, 0
    for seconds, size_bytes in steps:
        now += seconds
        if bucket.room_bytes(now) > 0:
            bucket.spent(size_bytes)
            sent, last = sent + size_bytes, size_bytes
            assert sent - last <= rate * now + burst_bytes + 1


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = TokenBucket(1_000_000)
    bucket.spent(1_000_000)
    owed = bucket.room_bytes(10.0)
    bucket.spent(int(owed))
    assert bucket.room_bytes(5.0) <= 1
    assert bucket.room_bytes(10.0) <= 1
