"""When a replica steps out of service, and that however words are delayed or lost no more are out than may be."""

import random
from math import ceil

import pytest

from common.entries import Position
from common.messages import REST_LEASE_SECONDS
from consumer.readiness import Readiness
from producer.resting import HEARD_SECONDS, Resting

LIMIT = 30.0


def at(sequence: int, epoch: int = 5) -> Position:
    return Position(epoch, sequence)


def behind(now: float = 1000.0) -> Readiness:
    """One that has known of a position for just over the limit."""
    one = Readiness(LIMIT, 7)
    one.heard(at(10), now - LIMIT - 1)
    return one


def test_who_knows_of_a_position_for_longer_than_the_limit_wants_a_rest_until_it_is_there() -> None:
    one = Readiness(LIMIT, 7)
    one.heard(at(10), 100.0)
    one.heard(at(20), 125.0)
    assert not one.wants_rest(100.0 + LIMIT)
    assert one.wants_rest(100.1 + LIMIT)
    one.reached(at(15))
    assert not one.wants_rest(100.1 + LIMIT)
    assert one.behind_seconds(130.0) == 5.0
    one.reached(at(20))
    assert not one.wants_rest(1e9)


def test_silence_tells_it_nothing_new() -> None:
    one = Readiness(LIMIT, 7)
    one.heard(at(10), 100.0)
    one.reached(at(10))
    assert not one.wants_rest(1e9)


def test_hearing_the_same_again_makes_it_no_younger() -> None:
    one = Readiness(LIMIT, 7)
    for seconds in range(40):
        one.heard(at(10), 100.0 + seconds)
    assert one.wants_rest(140.0)


def test_without_a_limit_it_never_wants_a_rest() -> None:
    one = Readiness(None, 7)
    one.heard(at(10), 0.0)
    assert not one.wants_rest(1e9)


def test_what_it_remembers_is_bounded_and_the_oldest_is_among_it() -> None:
    one = Readiness(LIMIT, 7)
    for sequence in range(1, 100_000):
        one.heard(at(sequence), sequence / 1000)
    assert len(one._marks) <= 256
    assert one.behind_seconds(99.999) == pytest.approx(99.998)
    one.reached(at(99_998))
    assert one.behind_seconds(99.999) == 0.0


def test_it_rests_only_on_leave_that_it_asked_for_a_moment_ago() -> None:
    one = behind()
    assert not one.is_resting(1000.0)
    number = one.number(1000.0)
    one.granted(number)
    assert one.is_resting(1000.0 + REST_LEASE_SECONDS - 0.1)
    assert not one.is_resting(1000.0 + REST_LEASE_SECONDS)
    one.granted(one.number(1030.0))
    assert one.is_resting(1030.0)
    one.granted(None)
    assert not one.is_resting(1030.0)


def test_leave_that_an_earlier_process_asked_for_is_none() -> None:
    one = behind()
    one.granted(Readiness(LIMIT, 123_456_789_012).number(1000.0))
    assert not one.is_resting(1000.0)


def test_who_has_caught_up_is_in_service_whatever_leave_it_has() -> None:
    one = behind()
    one.granted(one.number(1000.0))
    one.reached(at(10))
    assert not one.is_resting(1000.0)


# -- the producer's side


def names(service: object) -> list[str]:
    return [name for name, _ in service.resting]  # type: ignore[attr-defined]


def begun(floor_share: float = 0.5, members: int = 4) -> Resting:
    """One who has listened for long enough."""
    resting = Resting(floor_share)
    resting.decide([f"r{number}" for number in range(members)], -REST_LEASE_SECONDS)
    return resting


ALL = ["r0", "r1", "r2", "r3"]


def test_leave_is_given_as_far_as_the_floor_allows_and_kept_while_it_does() -> None:
    resting = begun()
    for number, name in enumerate(ALL):
        resting.hear(name, is_ready=True, asks=number, now=0.0)
    first = resting.decide(ALL, 0.0)
    assert first.resting == (("r0", 0), ("r1", 1))
    assert (first.ready, first.members) == (4, 4)
    for name in ALL:
        resting.hear(name, is_ready=name not in ("r0", "r1"), asks=9, now=5.0)
    assert names(resting.decide(ALL, 5.0)) == ["r0", "r1"]


def test_nobody_steps_out_while_too_few_are_heard_of() -> None:
    resting = begun()
    for name in ("r0", "r1"):
        resting.hear(name, is_ready=True, asks=1, now=0.0)
    assert names(resting.decide(ALL, 0.0)) == []


@pytest.mark.parametrize(("share", "out"), [(0.0, 4), (0.25, 3), (0.5, 2), (0.51, 1), (1.0, 0)])
def test_the_floor_is_a_share_of_all_members_rounded_up(share: float, out: int) -> None:
    resting = begun(share)
    for name in ALL:
        resting.hear(name, is_ready=True, asks=1, now=0.0)
    assert len(names(resting.decide(ALL, 0.0))) == out


def test_who_had_leave_counts_as_out_until_it_has_ended_even_if_it_says_that_it_is_ready() -> None:
    resting = begun()
    for name in ALL:
        resting.hear(name, is_ready=True, asks=1 if name in ("r0", "r1") else None, now=0.0)
    assert names(resting.decide(ALL, 0.0)) == ["r0", "r1"]
    for name in ALL:
        resting.hear(name, is_ready=True, asks=1 if name in ("r2", "r3") else None, now=10.0)
    assert names(resting.decide(ALL, 10.0)) == []
    for name in ALL:
        resting.hear(name, is_ready=True, asks=1 if name in ("r2", "r3") else None, now=REST_LEASE_SECONDS)
    assert names(resting.decide(ALL, REST_LEASE_SECONDS)) == ["r2", "r3"]


def test_when_others_fail_those_who_rest_are_called_back() -> None:
    resting = begun()
    for name in ALL:
        resting.hear(name, is_ready=name not in ("r0", "r1"), asks=1 if name in ("r0", "r1") else None, now=0.0)
    assert names(resting.decide(ALL, 0.0)) == ["r0", "r1"]
    for name in ("r0", "r1", "r2"):
        resting.hear(name, is_ready=name == "r2", asks=2 if name in ("r0", "r1") else None, now=HEARD_SECONDS)
    assert names(resting.decide(ALL, HEARD_SECONDS)) == ["r0"], "one of two must be ready beside r2"


def test_at_first_nobody_new_steps_out_for_an_earlier_producer_may_have_given_leave() -> None:
    resting = Resting(0.5)
    for seconds in (0.0, 5.0, 10.0, 19.0):
        for name in ALL:
            resting.hear(name, is_ready=True, asks=1, now=seconds)
        assert names(resting.decide(ALL, seconds)) == []
    assert names(resting.decide(ALL, REST_LEASE_SECONDS)) == ["r0", "r1"]


def test_who_asks_for_the_first_time_is_told_soon() -> None:
    resting = Resting(0.5)
    assert not resting.hear("r0", is_ready=True, asks=None, now=0.0)
    assert resting.hear("r0", is_ready=True, asks=1, now=1.0)
    assert not resting.hear("r0", is_ready=True, asks=2, now=2.0)


# -- both together


class _Fleet:
    """Replicas and a producer, with words that come late, twice, or never. Nobody fails but by being behind."""

    def __init__(self, dice: random.Random, count: int, floor_share: float) -> None:
        self.dice = dice
        self.now = 1000.0
        self.floor = ceil(floor_share * count)
        self.share = floor_share
        self.names = [f"r{number:03}" for number in range(count)]
        self.replicas = {name: Readiness(LIMIT, dice.getrandbits(40)) for name in self.names}
        self.sequence = 1
        self.level = dict.fromkeys(self.names, 1)
        self.reports: list[tuple[float, str, bool, int | None]] = []
        self.beats: list[tuple[float, str, int, dict[str, int]]] = []
        self.resting = Resting(floor_share)
        self.most_out = 0

    def delay(self) -> float:
        return self.dice.choice([0.01, 0.01, 0.5, 4.0, 25.0])

    def second(self) -> None:
        """One of the fleet's life."""
        self.now += 1.0
        self.sequence += 1
        for name, one in self.replicas.items():
            if self.dice.random() < 0.3:
                one.heard(at(self.sequence), self.now)
            if self.dice.random() < 0.02:
                self.level[name] = self.sequence
            one.reached(at(self.level[name]))
            if self.dice.random() < 0.4:
                self._report(name, one)
        for arrives, name, is_ready, asks in [word for word in self.reports if word[0] <= self.now]:
            self.reports.remove((arrives, name, is_ready, asks))
            self.resting.hear(name, is_ready=is_ready, asks=asks, now=self.now)
        if self.dice.random() < 0.005:
            self.resting = Resting(self.share)  # the producer was started again
        if self.dice.random() < 0.4:
            self._beat()
        for beat in [beat for beat in self.beats if beat[0] <= self.now]:
            self.beats.remove(beat)
            self.replicas[beat[1]].granted(beat[3].get(beat[1]))
        self._check()

    def _report(self, name: str, one: Readiness) -> None:
        if self.dice.random() < 0.1:
            return
        asks = one.number(self.now) if one.wants_rest(self.now) else None
        self.reports.append((self.now + self.delay(), name, not one.is_resting(self.now), asks))

    def _beat(self) -> None:
        resting = dict(self.resting.decide(self.names, self.now).resting)
        for name in self.names:
            for _ in range(self.dice.choice([0, 1, 1, 1, 2])):
                self.beats.append((self.now + self.delay(), name, self.sequence, resting))

    def _check(self) -> None:
        out = [name for name, one in self.replicas.items() if one.is_resting(self.now)]
        self.most_out = max(self.most_out, len(out))
        assert len(self.names) - len(out) >= self.floor, f"too few are ready at {self.now}: {out} are out"


@pytest.mark.parametrize("seed", range(8))
def test_however_words_come_the_floor_holds_and_some_do_rest(seed: int) -> None:
    dice = random.Random(seed)
    fleet = _Fleet(dice, dice.choice([2, 3, 10, 40]), dice.choice([0.25, 0.5, 0.9]))
    for _ in range(250):
        fleet.second()
    may_rest = len(fleet.names) - fleet.floor
    assert fleet.most_out <= may_rest
    assert fleet.most_out > 0 or not may_rest


def test_three_hundred_that_are_all_behind_at_once_leave_half_of_them_ready() -> None:
    fleet = _Fleet(random.Random(1), 300, 0.5)
    for _ in range(70):
        fleet.second()
    assert 50 < fleet.most_out <= 150
