"""The window's laws, whatever acks, nacks and lost channels come."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.transport.window import (
    NACKED_HOLDS_SECONDS,
    NACKED_LIMIT,
    RETRY_FIRST_SECONDS,
    RETRY_LIMIT_SECONDS,
    Window,
)

SIZE_BYTES = 10


class WindowMachine(RuleBasedStateMachine):
    """A publisher and a broker over one window. The broker here answers tags; we remember what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window()
        self.now = 0.0
        self.next_token = 1
        self.next_tag = 1
        self.outstanding: list[int] = []  # tags that the broker has not answered
        self.confirmed: list[int] = []

    @rule()
    def publish(self) -> None:
        self._send(self.next_token)
        self.next_token += 1

    @rule(limit=st.integers(1, 5))
    def publish_again(self, limit: int) -> None:
        """As far as the write buffer allows."""
        again = self.window.to_publish_again(self.now)
        assert again == sorted(again)
        assert not set(again) & set(self.confirmed)
        for token in again[:limit]:
            self._send(token)
        assert self.window.to_publish_again(self.now) == again[limit:]

    @precondition(lambda self: self.outstanding)
    @rule(data=st.data(), multiple=st.booleans())
    def ack(self, data: st.DataObject, multiple: bool) -> None:
        newly = self.window.acked(self._answer(data, multiple), multiple)
        assert newly == sorted(newly) or multiple
        self.confirmed += newly

    @precondition(lambda self: self.outstanding)
    @rule(data=st.data(), multiple=st.booleans())
    def nack(self, data: st.DataObject, multiple: bool) -> None:
        self.window.nacked(self._answer(data, multiple), multiple, self.now)

    @rule()
    def give_up(self) -> None:
        """What is kept of what was nacked long ago is bounded, and the newest of it."""
        given_up = self.window.give_up(self.now, 3 * SIZE_BYTES)
        assert given_up == sorted(given_up)
        self.confirmed += given_up
        assert self.window.give_up(self.now, 3 * SIZE_BYTES) == []

    @rule()
    def lose_channel(self) -> None:
        self.window.channel_lost()
        self.outstanding.clear()
        self.next_tag = 1
        unconfirmed = [token for token in range(1, self.next_token) if token not in self.confirmed]
        assert self.window.to_publish_again(self.now) == unconfirmed

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_confirmed_twice_or_lost(self) -> None:
        assert len(set(self.confirmed)) == len(self.confirmed)
        assert len(self.window) + len(self.confirmed) == self.next_token - 1

    @invariant()
    def in_flight_is_at_most_what_is_unconfirmed(self) -> None:
        count, size_bytes = self.window.in_flight(self.now)
        assert size_bytes == count * SIZE_BYTES
        assert count <= len(self.window)

    @invariant()
    def what_is_unconfirmed_awaits_an_answer_or_its_turn(self) -> None:
        if len(self.window) and not self.outstanding and not self.window.to_publish_again(self.now):
            wait_seconds = self.window.seconds_to_retry(self.now)
            assert wait_seconds is not None
            assert wait_seconds <= RETRY_LIMIT_SECONDS

    def teardown(self) -> None:
        """When the broker takes everything, everything is confirmed, after a bounded number of rounds."""
        for _ in range(10):
            self.now += RETRY_LIMIT_SECONDS
            for token in self.window.to_publish_again(self.now):
                self._send(token)
            for tag in self.outstanding:
                self.confirmed += self.window.acked(tag, multiple=False)
            self.outstanding.clear()
        assert sorted(self.confirmed) == list(range(1, self.next_token))
        assert self.window.in_flight(self.now) == (0, 0)

    def _send(self, token: int) -> None:
        self.window.sent(token, self.next_tag, SIZE_BYTES)
        self.outstanding.append(self.next_tag)
        self.next_tag += 1

    def _answer(self, data: st.DataObject, multiple: bool) -> int:
        tag = data.draw(st.sampled_from(self.outstanding))
        self.outstanding = [other for other in self.outstanding if other != tag and not (multiple and other < tag)]
        return tag


TestWindow = WindowMachine.TestCase


@given(st.integers(1, 20))
def test_one_bad_queue_holds_the_window_for_five_seconds_and_costs_one_probe_at_a_time(count: int) -> None:
    window = Window()
    for token in range(1, count + 1):
        window.sent(token, token, SIZE_BYTES)
    window.nacked(count, True, now=0.0)
    assert window.to_publish_again(RETRY_FIRST_SECONDS - 0.01) == []
    assert window.in_flight(NACKED_HOLDS_SECONDS) == (count, count * SIZE_BYTES)

    once = window.to_publish_again(RETRY_FIRST_SECONDS)
    assert once == list(range(1, count + 1))
    for token in once:
        window.sent(token, count + token, SIZE_BYTES)
    window.nacked(2 * count, True, now=1.0)
    assert window.in_flight(NACKED_HOLDS_SECONDS + 0.01) == (0, 0)

    assert window.to_publish_again(RETRY_LIMIT_SECONDS) == [1]
    window.sent(1, 2 * count + 1, SIZE_BYTES)
    assert window.to_publish_again(100.0) == []
    assert window.acked(2 * count + 1, multiple=False) == [1]
    assert window.to_publish_again(100.0) == list(range(2, count + 1))


def test_a_queue_that_refuses_for_ever_is_probed_every_five_seconds_at_most() -> None:
    window = Window()
    window.sent(1, 1, SIZE_BYTES)
    now, publishes = 0.0, 0
    for tag in range(1, 10_000):
        window.nacked(tag, False, now)
        while not window.to_publish_again(now):
            now += 0.25
        if now > 600.0:
            break
        window.sent(1, tag + 1, SIZE_BYTES)
        publishes += 1
    assert 100 <= publishes <= 600 / RETRY_LIMIT_SECONDS + 5


def test_a_queue_that_refuses_for_days_fills_no_memory() -> None:
    window, limit = Window(), 50 * SIZE_BYTES
    given_up: list[int] = []
    for token in range(1, 2_000):
        window.sent(token, token, SIZE_BYTES)
        window.nacked(token, False, float(token))
        given_up += window.give_up(float(token), limit)
        assert len(window) <= 50 + NACKED_HOLDS_SECONDS + 1
    assert given_up == list(range(1, len(given_up) + 1))
    assert len(given_up) > 1_900


def test_nor_does_it_with_ever_so_small_messages() -> None:
    window = Window()
    for token in range(1, 2_000):
        window.sent(token, token, SIZE_BYTES)
        window.nacked(token, False, float(token))
        window.give_up(float(token))
    assert len(window) <= NACKED_LIMIT + NACKED_HOLDS_SECONDS + 1
