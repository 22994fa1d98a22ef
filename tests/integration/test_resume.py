"""A consumer that is killed in the middle of a sync goes on where it was: a real process, and a master that remembers."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from common.digests import BUCKETS
from common.messages import AskBuckets, AskDigests, AskSince, Question, Report
from common.transport.broker import open_broker
from common.transport.ports import Outgoing, Route
from common.wire.codec import decode_upstream, encode
from consumer.state import State
from tests.disk import read_tree
from tests.memory_place import memory_place
from tests.running_consumer import REPLICA, TREE, Content, Master
from tests.services import Options, Service
from tests.waiting import eventually

FILES = 3000
BUCKETS_BEFORE_A_KILL = 500


class Speaking:
    """A master behind the embedded broker, by none of the producer's code. It answers as long as it is `pumped`."""

    def __init__(self, url: str, parts: ExitStack) -> None:
        broker = open_broker(url, TREE)
        self.master = Master()
        self.questions: list[Question] = []
        self.answers_left = 1 << 30
        """So many answers more are given, then none."""
        self._publisher = broker.publisher(wake=lambda: None, declare=True)
        self._subscriber = broker.upstream_subscriber(holder="here:1", wake=lambda: None)
        parts.callback(self._publisher.close, 1.0)
        parts.callback(self._subscriber.close, 1.0)

    def pump(self) -> None:
        """Hear one word, and answer it."""
        delivery = self._subscriber.receive(0.05)
        if delivery is None:
            return
        message = decode_upstream(delivery.body, TREE)
        self._subscriber.settle(delivery)
        if isinstance(message, Report):
            self._publisher.make_queue(REPLICA)
            self.say(self.master.heartbeat())
            return
        self.questions.append(message)
        answers = self.master.answers(message)[: self.answers_left]
        self.answers_left -= len(answers)
        for answer in answers:
            self._publisher.publish(Outgoing(Route.DIRECT, encode(answer), REPLICA))

    def say(self, message: bytes) -> None:
        """To every replica."""
        self._publisher.publish(Outgoing(Route.EVENTS, message))

    def forget_questions(self) -> None:
        """What a process asked that is no more is answered by nobody."""
        while (delivery := self._subscriber.receive(0.3)) is not None:
            self._subscriber.settle(delivery)

    def asked(self, since: int = 0) -> set[int]:
        """The buckets that were asked for, from this question on."""
        asks = [question.ask for question in self.questions[since:]]
        return {bucket for ask in asks if isinstance(ask, AskBuckets) for bucket in ask.buckets}

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Speak until this is so."""

        def spoken() -> bool:
            self.pump()
            return bool(condition())

        eventually(spoken, 30, what)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with memory_place(tmp_path) as place:
        yield place


@pytest.fixture
def speaking(place: Path) -> Iterator[Speaking]:
    with ExitStack() as parts:
        yield Speaking(f"sqlite:///{place}/queue.db", parts)


@pytest.fixture
def consumer(place: Path) -> Iterator[Service]:
    (place / "target").mkdir()
    options = Options(TREE, f"sqlite:///{place}/queue.db")
    service = Service("consumer", place / "consumer", options, place / "target", f"--replica={REPLICA}")
    try:
        yield service
    finally:
        service.kill()


def stale_after(consumer: Service) -> set[int]:
    """The buckets that a consumer which was killed left stale."""
    consumer.kill()
    with State.open(consumer.state / "state.db", TREE, REPLICA) as state:
        return set(state.standing().stale)


def test_after_a_kill_in_a_first_copy_no_bucket_that_was_level_is_asked_for_again(
    speaking: Speaking, consumer: Service
) -> None:
    tree: dict[bytes, Content] = {b"file-%05d" % n: b"content %d" % n for n in range(FILES)}
    speaking.master.batch(tree)
    stale, asked_to = set(range(BUCKETS)), 0
    for _ in range(3):
        speaking.forget_questions()
        speaking.answers_left = 1 + BUCKETS_BEFORE_A_KILL
        consumer.start()
        goal = len(stale) - BUCKETS_BEFORE_A_KILL // 2
        speaking.until(lambda: consumer.status().get("stale_buckets", BUCKETS) < goal, "some are level")  # noqa: B023
        left_stale = stale_after(consumer)
        assert left_stale < stale
        assert speaking.asked(asked_to) <= stale
        stale, asked_to = left_stale, len(speaking.questions)
    speaking.answers_left = 1 << 30
    speaking.forget_questions()
    consumer.start()
    speaking.until(lambda: consumer.is_agreed, "the copy is complete")
    assert speaking.asked(asked_to) <= stale
    digests = next(q.ask for q in speaking.questions[asked_to:] if isinstance(q.ask, AskDigests))
    assert {bucket for bucket, _ in digests.digests} <= stale
    assert read_tree(consumer.root) == speaking.master.as_read()


def kill_half_merged(speaking: Speaking, consumer: Service, tree: dict[bytes, Content]) -> int:
    """Everything changes in a gap; it is killed when some of that is merged, between two steps. The sequence where all was level.

    Between two: of a step that is cut through nobody knows what it changed, so the buckets of its plan keep no base.
    """
    for attempt in range(30):
        base = speaking.master.sequence
        speaking.master.batch(dict.fromkeys(tree, b"changed %d" % attempt))
        speaking.say(speaking.master.heartbeat())
        speaking.until(lambda: AskSince(base) in (question.ask for question in speaking.questions), "it asks")  # noqa: B023
        if is_killed_between_steps(consumer, speaking.master.sequence):
            return base
        speaking.until(lambda: consumer.is_agreed, "merged as a whole, and between two looks")
    raise AssertionError("it was never seen half merged")


def is_killed_between_steps(consumer: Service, sequence: int) -> bool:
    """It is stopped for each look, and killed where it stands at the first that shows some of a merge. False: it had all."""
    seen: list[int] = []

    def has_begun() -> bool:
        os.kill(consumer.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, consumer.pid, os.WSTOPPED)
        is_in_step = (consumer.root / ".treecast" / "plan").exists()
        seen[:] = [BUCKETS if is_in_step else stale_count(consumer, sequence)]
        if seen[0] == BUCKETS:
            os.kill(consumer.pid, signal.SIGCONT)
        return seen[0] < BUCKETS

    eventually(has_begun, 30, "some is merged")
    if seen[0]:
        consumer.kill()
    else:
        os.kill(consumer.pid, signal.SIGCONT)
    return seen[0] > 0


def stale_count(consumer: Service, sequence: int) -> int:
    """How many buckets its state has as stale, read beside it; before it stands at this sequence: all of them."""
    with closing(sqlite3.connect(f"file:{consumer.state}/state.db?mode=ro", uri=True)) as database:
        at, stale = database.execute("SELECT sequence, (SELECT count(*) FROM stale) FROM standing").fetchone()
    return int(stale) if at == sequence else BUCKETS


def test_after_a_kill_in_a_since_answer_what_is_level_stays_so_and_the_base_is_the_same(
    speaking: Speaking, consumer: Service
) -> None:
    tree: dict[bytes, Content] = {b"file-%05d" % n: b"content %d" % n for n in range(FILES)}
    speaking.master.batch(tree)
    consumer.start()
    speaking.until(lambda: consumer.is_agreed, "the copy is complete")
    speaking.master.part_rows = 500
    base = kill_half_merged(speaking, consumer, tree)
    stale = stale_after(consumer)
    asked_to = len(speaking.questions)
    speaking.forget_questions()
    consumer.start()
    speaking.until(lambda: consumer.is_agreed and len(speaking.questions) > asked_to, "it is level")
    assert {q.ask for q in speaking.questions[asked_to:]} == {AskSince(base)}
    assert 0 < len(stale) < BUCKETS
    assert read_tree(consumer.root) == speaking.master.as_read()
