import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.transport.ports import Taken
from producer.pacing import (
    BURST_MINIMUM_BYTES,
    BURST_SECONDS,
    WINDOW_LEAST_BYTES,
    WINDOW_MOST_BYTES,
    TokenBucket,
    Window,
)

MESSAGE_BYTES = 6_000


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


class Way:
    """A broker that takes so many bytes in a second, over a way of its own length, and who fills it."""

    def __init__(self, bytes_per_second: float, way_seconds: float) -> None:
        self._rate = bytes_per_second
        self._way_seconds = way_seconds
        self._on_way: list[tuple[float, float, int]] = []
        """When it was sent, when it is taken, its size."""
        self._free_at = 0.0
        self.taken: Taken | None = None
        self.delays: list[float] = []
        self.taken_bytes = 0

    def fill(self, window: Window, now: float) -> None:
        """Send what the window has room for; hear what was taken until now."""
        for at, taken_at, size_bytes in [one for one in self._on_way if one[1] <= now]:
            self._on_way.remove((at, taken_at, size_bytes))
            self.taken = Taken(size_bytes, taken_at - at)
            self.delays.append(taken_at - at - self._way_seconds)
            self.taken_bytes += size_bytes
        waiting_bytes = sum(size_bytes for _, _, size_bytes in self._on_way)
        room_bytes = window.room_bytes(waiting_bytes, self.taken, now)
        while room_bytes > 0:
            self._free_at = max(self._free_at, now) + MESSAGE_BYTES / self._rate
            self._on_way.append((now, self._free_at + self._way_seconds, MESSAGE_BYTES))
            room_bytes -= MESSAGE_BYTES
            window.sent(MESSAGE_BYTES)


@pytest.mark.parametrize("way_seconds", [0.0005, 0.1])
@pytest.mark.parametrize("rate", [5e6, 2e7])
def test_the_window_keeps_the_way_full_and_little_waits_in_front_of_a_live_change(
    rate: float, way_seconds: float
) -> None:
    """What waits at the broker is what a live change waits for: over a long way less than the way itself takes."""
    way, window = Way(rate, way_seconds), Window()
    for step in range(2000):
        way.fill(window, step * 0.005)
    late = sorted(way.delays[len(way.delays) // 2 :])
    assert late[len(late) // 2] < 0.02
    assert late[int(len(late) * 0.95)] < max(0.03, way_seconds)
    assert way.taken_bytes > 0.8 * rate * 10


def test_a_broker_that_gets_slow_gets_less_and_more_again_when_it_is_over() -> None:
    window = Window()

    def asked(taking_seconds: float, times: int, now: float) -> int:
        for step in range(times):
            window.room_bytes(window.limit_bytes, Taken(100, taking_seconds + step / 1e6), now + step * 0.2)
        return window.limit_bytes

    assert asked(0.001, 10, now=0.0) == WINDOW_MOST_BYTES
    assert asked(0.1, 25, now=2.0) == WINDOW_LEAST_BYTES
    assert asked(0.001, 60, now=7.0) == WINDOW_MOST_BYTES


def test_where_others_keep_a_fast_way_waiting_pieces_do_not_get_small() -> None:
    """Half a second, one time in ten a millisecond: less on the way would wait no shorter."""
    window = Window()
    for step in range(200):
        seconds = 0.001 if step % 10 == 0 else 0.5 + step / 1e6
        window.room_bytes(window.limit_bytes, Taken(64 * 1024, seconds), step * 0.6)
    assert window.limit_bytes >= 128 * 1024


def test_what_is_not_used_does_not_grow() -> None:
    window = Window()
    before = window.limit_bytes
    for step in range(100):
        window.room_bytes(1000, Taken(100, 0.001 + step / 1e6), step * 0.1)
    assert window.limit_bytes == before
