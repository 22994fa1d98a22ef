"""Answers in a process of their own: what a replica gets, what becomes of the process, and what goes out behind what."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.board import Board
from common.digests import EMPTY_BUCKET
from common.messages import Ask, AskBodies, AskBuckets, AskDigests, Batch, BucketRows, Downstream, Question
from common.wire import codec
from producer.answering_process import ALARM, IDLE_SECONDS, SILENCE_LIMIT_SECONDS, AnsweringProcess
from producer.numbering import Numbered
from producer.restarts import DELAY_LIMIT_SECONDS, REMEMBERED_SECONDS
from producer.stream import begin_epoch
from tests.running_producer import TREE, RunningProducer
from tests.twins import MemoryBroker
from tests.waiting import eventually, is_running

FILES = 300


class World:
    """A source and its producer, whose answers are made in a process."""

    def __init__(self, base: Path) -> None:
        self.root = base / "source"
        self.root.mkdir()
        for number in range(FILES):
            (self.root / f"file-{number}").write_text(f"text {number}")
        self.broker = MemoryBroker()
        self.producer = RunningProducer(self.root, base / "state", self.broker, make_answerer=self._make)
        self.producer.settle()
        digests = self.producer.journal.stand.digests
        self.full = tuple(bucket for bucket in range(4096) if digests.of(bucket) != EMPTY_BUCKET)

    def _make(self, journal: Path, source: Path, board: Board) -> AnsweringProcess:
        self.process = AnsweringProcess(journal, source, board, lambda: None)
        return self.process

    def question(self, ask: Ask, replica: str = "paris") -> bytes:
        return codec.encode(
            Question(TREE, self.producer.journal.stand.lineage.epoch, replica, os.urandom(16), ask, unix_ns=0)
        )

    def ask(self, ask: Ask, replica: str = "paris") -> None:
        self.broker.say(self.question(ask, replica))

    def answers(self) -> list[Downstream]:
        return [codec.decode_downstream(body, TREE) for _, body in self.broker.direct]

    def buckets(self) -> set[int]:
        """Those that were answered."""
        return {answer.bucket for answer in self.answers() if isinstance(answer, BucketRows)}

    def run_until(self, is_so: Callable[[], bool], what: str) -> None:
        self.producer.run_until(is_so, what)

    def running(self) -> int:
        """The process's id, while it is there."""
        pid = self.process.pid
        assert pid is not None
        return pid

    def until_missed(self) -> None:
        """Until the loop has seen that the process ended, and may start another.

        That the system shows no such process is too early: whoever asks then asks one of whose end nobody heard.
        """
        self.run_until(lambda: self.process._child is None, "missed")
        self.producer.skip(DELAY_LIMIT_SECONDS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.producer.crash()


def test_nothing_runs_until_somebody_asks_and_nothing_is_left_at_the_end(world: World) -> None:
    assert world.process.pid is None
    world.ask(AskDigests(()))
    world.run_until(lambda: len(world.broker.direct) == 1, "answered")
    pid = world.running()
    world.process.close()
    assert not is_running(pid)


def test_all_that_is_asked_for_comes_whole_to_each_in_turn(world: World) -> None:
    world.ask(AskBuckets(world.full, True))
    world.ask(AskBuckets(world.full, True), replica="rome")
    world.run_until(lambda: len(world.broker.direct) == 2 * len(world.full), "answered")
    found = {row.path: row.body for answer in world.answers() if isinstance(answer, BucketRows) for row in answer.rows}
    assert found == {os.fsencode(file.name): file.read_bytes() for file in world.root.iterdir()}
    assert sum(name == "rome" for name, _ in world.broker.direct) == len(world.full)
    figures = world.producer.board.figures()
    assert figures["answers_total", "bucket"] == 2 * len(world.full)
    assert figures["answer_bytes_total", "bucket"] == sum(len(body) for _, body in world.broker.direct)
    assert figures["answer_wait_seconds_total", "bucket"] > 0


def test_a_content_that_is_not_what_the_index_names_is_looked_at_again(world: World) -> None:
    known = world.producer.journal.entries([b"file-1"])[b"file-1"]
    world.producer.source.settle_seconds = 0.0
    told = os.stat(world.root / "file-1")
    (world.root / "file-1").write_text("TEXT 1")
    os.utime(world.root / "file-1", ns=(told.st_atime_ns, told.st_mtime_ns))
    world.ask(AskBodies(((b"file-1", known.entry.digest),)))
    world.run_until(lambda: any(isinstance(m, Batch) for m in events(world)), "published")
    assert not world.answers()


def test_killed_in_the_middle_of_a_first_copy_it_is_started_again_and_the_copy_completes(world: World) -> None:
    world.ask(AskBuckets(world.full, True))
    world.run_until(lambda: len(world.buckets()) > 20, "begun")
    first = world.running()
    os.kill(first, signal.SIGKILL)
    world.until_missed()
    assert not is_running(first)
    # A replica asks again for what it still lacks when it was silent for a while.
    world.ask(AskBuckets(tuple(set(world.full) - world.buckets()) or world.full, True))
    world.run_until(lambda: world.buckets() == set(world.full), "complete")
    assert world.producer.alarms() == set()


def test_one_that_hangs_is_killed_and_the_next_question_is_answered(world: World) -> None:
    world.ask(AskDigests(()))
    world.run_until(lambda: len(world.broker.direct) == 1, "answered")
    hanging = world.running()
    os.kill(hanging, signal.SIGSTOP)
    world.ask(AskBuckets(world.full[:1], False))
    world.producer.step()
    world.producer.step()
    assert is_running(hanging), "it has time"
    world.producer.skip(SILENCE_LIMIT_SECONDS + 1)
    world.until_missed()
    assert not is_running(hanging)
    world.ask(AskBuckets(world.full[:1], False))
    world.run_until(lambda: len(world.broker.direct) == 2, "answered")


def test_one_that_keeps_ending_is_alarmed_until_it_is_well_again(world: World) -> None:
    for _ in range(3):
        world.ask(AskDigests(()))
        world.run_until(lambda: world.process.pid is not None, "started")
        os.kill(world.running(), signal.SIGKILL)
        world.until_missed()
    assert world.producer.alarms() == {ALARM}
    world.producer.skip(REMEMBERED_SECONDS)
    world.producer.step()
    assert world.producer.alarms() == set()


def test_when_nobody_asked_for_long_it_ends_and_a_question_starts_it_again(world: World) -> None:
    world.ask(AskDigests(()))
    world.run_until(lambda: len(world.broker.direct) == 1, "answered")
    first = world.running()
    world.producer.skip(IDLE_SECONDS + 1)
    world.run_until(lambda: world.process.pid is None, "ended")
    assert not is_running(first)
    world.ask(AskBuckets(world.full[:1], True))
    world.run_until(lambda: len(world.broker.direct) == 2, "answered")
    assert world.producer.alarms() == set()


def test_an_answer_that_read_a_batch_before_it_was_published_goes_out_behind_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst case: the process answers in the moment between the journal's commit and the broker. It waits for the loop."""
    world.ask(AskDigests(()))
    world.run_until(lambda: len(world.broker.direct) == 1, "answered")
    world.broker.queues["paris"].clear()
    world.broker.direct.clear()
    journal, commit = world.producer.journal, world.producer.journal.commit

    def commit_and_be_overtaken(numbered: Numbered) -> None:
        commit(numbered)
        child = world.process._child
        assert child is not None
        world.process.ask(world.question(AskBuckets(world.full[:1], False)), world.producer.now())
        eventually(lambda: child.has_said, what="an answer")

    monkeypatch.setattr(journal, "commit", commit_and_be_overtaken)
    before = journal.stand.sequence
    (world.root / "new").write_text("new")
    world.run_until(lambda: len(world.broker.direct) == 1, "answered")
    heard = [codec.decode_downstream(body, TREE) for body in world.broker.queues["paris"]]
    order = [message for message in heard if isinstance(message, Batch | BucketRows)]
    assert [type(message) for message in order] == [Batch, BucketRows]
    assert [message.at for message in order if isinstance(message, BucketRows)] == [before + 1]


def test_an_answer_of_an_epoch_that_is_over_does_not_go_out(world: World) -> None:
    world.ask(AskDigests(()))
    world.run_until(lambda: len(world.broker.direct) == 1, "answered")
    child = world.process._child
    assert child is not None
    world.process.ask(world.question(AskBuckets(world.full[:3], False)), world.producer.now())
    eventually(lambda: child.has_said, what="answers")
    begin_epoch(world.producer.journal)
    eventually(lambda: not child.is_busy, what="all said")
    world.producer.step()
    assert not child.has_said
    assert len(world.broker.direct) == 1


def test_what_waits_is_bounded_while_the_broker_takes_nothing(world: World) -> None:
    """It makes no more than there is room for, and goes on when there is."""
    world.ask(AskBuckets(world.full[:1], True))
    world.run_until(lambda: len(world.broker.direct) == 1, "answered")
    world.producer.publisher.queued_bytes = 1 << 30
    world.ask(AskBuckets(world.full, True))
    world.producer.step()
    child = world.process._child
    assert child is not None
    eventually(lambda: child.promised_bytes <= 0 or not child.is_busy, what="it says no more")
    for _ in range(10):
        assert world.producer.step() < 0.5
    assert len(world.broker.direct) == 1
    world.producer.publisher.queued_bytes = 0
    world.run_until(lambda: world.buckets() == set(world.full), "complete")


def test_it_ends_with_the_producer_however_that_ends(world: World) -> None:
    """Also when the producer is killed: its input ends."""
    program = (
        "import sys, time; from pathlib import Path; from common.board import Board;"
        "from producer.answering_process import AnsweringProcess;"
        "process = AnsweringProcess(Path(sys.argv[1]), Path(sys.argv[2]), Board('producer', 'music'), lambda: None);"
        "process.ask(bytes.fromhex(sys.argv[3]), 0.0); print(process.pid, flush=True); time.sleep(60)"
    )
    arguments = [str(world.producer.journal.path), str(world.root), world.question(AskBuckets(world.full, True)).hex()]
    parent = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.wait()
    eventually(lambda: not is_running(child), what="nothing left")


def events(world: World) -> list[Downstream]:
    return [codec.decode_downstream(body, TREE) for body in world.broker.events]
