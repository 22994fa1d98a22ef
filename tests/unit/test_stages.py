"""How long changes take, stage by stage: what is observed, once for each batch, by clocks that the test turns."""

from typing import cast

import pytest

from common.board import Board
from common.entries import Event
from common.messages import Batch, Lineage
from consumer.stages import Stages as ReplicaStages
from producer.dirty import DirtySet
from producer.numbering import Numbered, Stand
from producer.rounds import Round
from producer.stages import BatchTimes, Stages
from producer.values import Change, Taken

LINEAGE = Lineage("t", 7, bytes(16), bytes(32))


class Clock:
    """Says what the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def numbered(first: int, events: int) -> Numbered:
    """A batch as far as its sequences go."""
    after = Stand(LINEAGE, first + events - 1, b"", cast("object", None), b"", 0)  # type: ignore[arg-type]
    return Numbered((), (), after, first, b"")


def leave(stages: Stages, batch: Numbered, *, seen: float) -> None:
    """It is journaled and handed over, all of it hinted at in one moment."""
    stages.journaled(batch, [seen] * (batch.after.sequence - batch.first + 1))
    stages.published(batch.first)


def seen_in(board: Board, stage: str) -> tuple[int, float]:
    """How many values, and their sum."""
    histogram = board.histograms()["stage_seconds", stage]
    return sum(histogram.counts), round(histogram.total, 6)


def test_a_batch_counts_with_each_of_its_events() -> None:
    board, clock = Board("producer", "t"), Clock()
    stages = Stages(board, clock)
    leave(stages, numbered(1, 10), seen=99.5)
    assert seen_in(board, "seen_to_published") == (10, 5.0)
    clock.now = 100.25
    stages.confirmed([1])
    assert seen_in(board, "published_to_confirmed") == (10, 2.5)
    stages.confirmed([1])
    assert seen_in(board, "published_to_confirmed") == (10, 2.5)


def test_the_oldest_that_is_not_confirmed_has_an_age() -> None:
    """Whether this run numbered it or an earlier one."""
    board, clock = Board("producer", "t"), Clock()
    stages = Stages(board, clock)
    stages.published_again(1)
    clock.now = 130.0
    leave(stages, numbered(2, 1), seen=130.0)
    stages.confirmed([])
    assert board.figures()["unconfirmed_age_seconds", ""] == 30
    clock.now = 135.0
    stages.confirmed([1])
    assert board.figures()["unconfirmed_age_seconds", ""] == 5
    assert seen_in(board, "published_to_confirmed") == (0, 0)
    stages.confirmed([2])
    assert board.figures()["unconfirmed_age_seconds", ""] == 0


def test_the_times_of_the_last_batches_are_found_by_sequence() -> None:
    stages = Stages(Board("producer", "t"), Clock())
    leave(stages, numbered(5, 3), seen=99.0)
    leave(stages, numbered(10, 1), seen=99.0)
    stages.confirmed([5])
    assert stages.times_of(6) == BatchTimes(5, 7, 99.0, 100.0, 100.0, 100.0)
    assert stages.times_of(10) == BatchTimes(10, 10, 99.0, 100.0, 100.0)
    assert [stages.times_of(sequence) for sequence in (4, 8, 11)] == [None] * 3


def test_each_event_of_a_batch_has_its_own_first_hint_and_the_oldest_batches_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last one never is, and who has a snapshot sees what was then."""
    monkeypatch.setattr("producer.stages.REMEMBERED_EVENTS", 3)
    stages = Stages(Board("producer", "t"), Clock())
    stages.journaled(numbered(1, 2), [99.5, 98.0])
    first = stages.times_of(1)
    assert first is not None
    assert (first.seen, first.seen_seconds(1), first.seen_seconds(2)) == (98.0, 0.5, 2.0)
    before = stages.snapshot()
    stages.journaled(numbered(3, 5), [100.0] * 5)
    assert (stages.times_of(1), stages.times_of(7) is None, before(1), before(7)) == (None, False, first, None)
    stages.confirmed([1, 3])


def batch(events: int, unix: float) -> Batch:
    paths = tuple(Event(b"%d" % number, None) for number in range(events))
    return Batch(LINEAGE, 1, paths, bytes(32), bytes(32), bytes(32), unix_ns=round(unix * 1e9))


def test_a_replica_measures_each_batch_until_it_is_durable() -> None:
    """Each with its own time from the producer; those of one step are visible and durable together."""
    board, clock, unix = Board("consumer", "t", "r"), Clock(), Clock()
    stages = ReplicaStages(board, clock, unix)
    stages.begin()
    clock.now = 101.5
    stages.applied([batch(2, 90.0), batch(3, 95.0)], visible=100.5)
    assert seen_in(board, "published_to_delivered") == (5, 35.0)
    assert seen_in(board, "delivered_to_visible") == (5, 2.5)
    assert seen_in(board, "visible_to_durable") == (5, 5.0)


def test_what_a_replica_cannot_measure_it_leaves_out() -> None:
    """A clock that is behind makes nothing negative; a batch that says no time, and a disk with nothing to do, count not."""
    board = Board("consumer", "t", "r")
    stages = ReplicaStages(board, Clock(), Clock())
    stages.begin()
    stages.applied([batch(2, 500.0)], visible=None)
    stages.applied([batch(3, 0.0)], visible=None)
    assert seen_in(board, "published_to_delivered") == (2, 0.0)
    assert seen_in(board, "delivered_to_visible") == (0, 0.0)


def test_a_round_knows_when_each_path_was_hinted_at_or_what_took_it_away() -> None:
    dirty = DirtySet()
    for path, now in ((b"a", 1.5), (b"b", 2.0), (b"a", 3.0)):
        dirty.add(path, now)
    round_ = Round(dirty)
    taken = dirty.take(9, 3.0)
    round_.begin(taken, {one.path: one.since for one in taken})
    paths = (b"b", b"a", b"a/below", b"c")
    assert round_.seen([Change(path, None, None) for path in paths]) == [2.0, 1.5, 1.5, None]
    round_.give_up()
    assert dirty.take(9, 4.0) == [Taken(b"a", since=1.5), Taken(b"b", since=2.0)]
