"""A replica whose queue was purged, deleted, let expire or filled over comes back by what differs, by itself, and at little cost.

Its account may configure nothing. What it missed is what was published while its process got no turn.
"""

import random
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.conftest import NoteFigure
from tests.rabbit import PrivateRabbit, needs_rabbit
from tests.services import Fleet, Listener, delete_queue, has_queue, purge_queue, stop
from tests.waiting import eventually

pytestmark = [*needs_rabbit, pytest.mark.timeout(300)]

CHANGES = {False: 1000, True: 10_000}
"""Missed each time, half of them before what happens to the queue and half of them after it; by `--large`."""
FILES = 2000
BODY_BYTES = 300
PER_DIRECTORY = 100
QUEUE_LIMIT_BYTES = 100_000
EXPIRES_MS = 500
POLICY = "away"


class Harm(NamedTuple):
    """What happens to a queue, and how many bytes of batches are missed of those that were published before and after that."""

    name: str
    do: Callable[[Fleet, PrivateRabbit], object]
    missed_bytes: Callable[[int, int], int]


def overflow(fleet: Fleet, rabbit: PrivateRabbit) -> None:
    """From now on its queue keeps the newest messages only."""
    set_policy(fleet, rabbit, f'{{"max-length-bytes": {QUEUE_LIMIT_BYTES}, "overflow": "drop-head"}}')


HARMS = (
    Harm("purged", lambda fleet, _: purge_queue(fleet.broker, fleet.tree, "a"), lambda before, after: before),
    Harm("deleted", lambda fleet, _: delete_queue(fleet.broker, fleet.tree, "a"), lambda before, after: before + after),
    Harm("filled over", overflow, lambda before, after: before + after - QUEUE_LIMIT_BYTES),
)


def set_policy(fleet: Fleet, rabbit: PrivateRabbit, definition: str) -> None:
    pattern = rf"^treecast\.{fleet.tree}\.replica\.a$"
    rabbit.control("set_policy", POLICY, pattern, definition, "--apply-to", "queues")


class Writer:
    """Fills a tree with files, and changes it at random: new contents that do not compress, new files, and a few that go."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._random = random.Random(7)
        self._new = count()
        self.names: list[str] = []
        for _ in range(FILES):
            self._make()

    def write(self, changes: int) -> None:
        for _ in range(changes):
            dice = self._random.random()
            if dice < 0.02:
                gone = self.names.pop(self._random.randrange(len(self.names)))
                (self._fleet.source / gone).unlink()
            elif dice < 0.8:
                self._put(self._random.choice(self.names))
            else:
                self._make()

    def _make(self) -> None:
        number = next(self._new)
        self.names.append(f"directory-{number % PER_DIRECTORY}/file-{number}")
        self._put(self.names[-1])

    def _put(self, name: str) -> None:
        path, beside = self._fleet.source / name, self._fleet.place / "being-written"
        path.parent.mkdir(exist_ok=True)
        beside.write_bytes(self._random.randbytes(BODY_BYTES))
        beside.rename(path)


def answer_bytes(fleet: Fleet) -> dict[str, float]:
    """The bytes of answers that the replica got, by kind."""
    metrics = fleet.consumers["a"].metrics()
    kinds = ("digests", "buckets", "since", "contents")
    return {kind: metrics[f'treecast_sync_bytes_total{{kind="{kind}"}}'] for kind in kinds}


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_a_replica_that_missed_batches_comes_back_by_what_differs(
    harm: Harm, make_fleet: MakeFleet, private_rabbit: PrivateRabbit, is_large: bool, note_figure: NoteFigure
) -> None:
    """Half of the changes are published before its queue comes to harm, and half after it; some more when it is back."""
    fleet = make_fleet(private_rabbit.url, replicas=("a", "b"), consumers_broker=private_rabbit.writer_url)
    writer, away = Writer(fleet), fleet.consumers["a"]
    fleet.start()
    fleet.settle()
    stop(away)
    try:
        with Listener(fleet.broker, fleet.tree) as listener:
            writer.write(CHANGES[is_large] // 2)
            fleet.settle(but="a")
            before = sum(map(len, listener.heard()))
            harm.do(fleet, private_rabbit)
            writer.write(CHANGES[is_large] // 2)
            fleet.settle(but="a")
            missed_bytes = harm.missed_bytes(before, sum(map(len, listener.heard())))
        away.start()
        writer.write(50)
        fleet.settle()
    finally:
        if harm.do is overflow:
            private_rabbit.control("clear_policy", POLICY)
    fleet.check_equal()
    answers = answer_bytes(fleet)
    note_figure(f"{harm.name}: missed {missed_bytes:,} bytes, answers {sum(answers.values()):,.0f} bytes")
    assert answers["since"]
    assert not answers["digests"]
    assert sum(answers.values()) <= 3 * missed_bytes
    assert away.metrics()["treecast_gaps_total"] >= 1
    assert fleet.consumers["b"].metrics()["treecast_gaps_total"] == 0


def test_a_replica_whose_queue_expired_is_given_another_when_it_is_back(
    make_fleet: MakeFleet, private_rabbit: PrivateRabbit, note_figure: NoteFigure
) -> None:
    fleet = make_fleet(private_rabbit.url, replicas=("a",), consumers_broker=private_rabbit.writer_url)
    writer = Writer(fleet)
    fleet.start()
    fleet.settle()
    consumer = fleet.consumers["a"]
    stop(consumer)
    assert has_queue(fleet.broker, fleet.tree, "a")
    set_policy(fleet, private_rabbit, f'{{"expires": {EXPIRES_MS}}}')
    try:
        writer.write(CHANGES[False])
        eventually(lambda: not has_queue(fleet.broker, fleet.tree, "a"), 60, "the queue expires")
        eventually(lambda: fleet.producer.status().get("quiet"), 20, "all is published")
    finally:
        private_rabbit.control("clear_policy", POLICY)
    consumer.start()
    fleet.settle()
    fleet.check_equal()
    answers = answer_bytes(fleet)
    note_figure(f"expired: answers {answers}")
    assert answers["since"]
    assert not answers["buckets"]
