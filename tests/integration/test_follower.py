"""The consumer's loop on a real disk and a real state: what each message, each answer and each fault makes of it."""

import errno
import math
import os
import sqlite3
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from common.digests import content_digest
from common.errors import HaltError, NoRoomError
from common.messages import AskBodies, AskBuckets, AskDigests, Batch, BodyAnswer, BucketRows, Question, ReplicaState
from common.transport.ports import Delivery, Phase
from common.wire.codec import decode_downstream, encode, encode_batch
from consumer import barrier, following, incoming
from consumer.agreement import Decided
from consumer.asking import ANSWER_TIMEOUT_SECONDS, AWAY_SECONDS
from consumer.complaints import REFUSED_SHOWN_SECONDS
from consumer.first_copy import MISSING_LIMIT_SECONDS
from consumer.following import NO_ROOM_LIMIT_SECONDS, RETRY_SECONDS
from consumer.incoming import TOGETHER_LIMIT
from consumer.parking import PATIENCE_SECONDS
from consumer.reporting import REPORT_SECONDS, REPORT_SECONDS_MINIMUM
from consumer.state import State
from consumer.syncing import COMPANY_SECONDS
from consumer.target import Target
from consumer.values import Plan, Reason
from tests.data.golden.make_wire_1 import MESSAGES
from tests.disk import read_tree
from tests.dying_os import DyingOs, Failing
from tests.memory_place import memory_place
from tests.running_consumer import REPLICA, ROUND_SECONDS, TREE, Content, Master, Running, many
from tests.wire_samples import reheaded


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with memory_place(tmp_path) as place, Running(place, monkeypatch) as running:
        yield running


@pytest.fixture
def failing_os(monkeypatch: pytest.MonkeyPatch) -> DyingOs:
    dying = DyingOs()
    dying.install(monkeypatch)
    return dying


def first_copy(running: Running, tree: dict[bytes, Content] | None = None) -> None:
    """The replica follows a master with this tree, and is level."""
    running.say(running.master.batch(tree or {b"a": b"1", b"d": 0o755, b"d/x": b"x", b"l": "a"}))
    running.level()
    running.questions.clear()


# ------------------------------------------------------------------------------------------------------- the stream


def test_batches_in_order_are_applied_settled_and_reported(running: Running) -> None:
    first_copy(running)
    batches = [running.master.batch({b"a": b"%d" % n, b"d/%d" % n: b"new"}) for n in range(5)]
    running.say(*batches)
    running.until(lambda: running.is_level)
    running.check_equal()
    assert running.subscriber.settled[-5:] == batches
    running.turn(10)
    assert running.reports[-1][1].position == (5, running.master.sequence)
    assert running.reports[-1][1].agreed
    assert not running.questions


def test_a_message_is_settled_only_when_it_is_durable(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    first_copy(running)
    settled: list[int] = []
    commit = State.commit

    def spied(self: State, *args: object, **kwargs: object) -> None:
        settled.append(len(running.subscriber.settled))
        commit(self, *args, **kwargs)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(State, "commit", spied)
    before = len(running.subscriber.settled)
    running.say(running.master.batch({b"a": b"2"}))
    running.until(lambda: running.is_level)
    assert settled == [before]


def test_duplicates_and_replays_do_nothing(running: Running) -> None:
    first_copy(running)
    batches = [running.master.batch({b"a": b"%d" % n}) for n in range(3)]
    running.say(*batches, batches[2], batches[0], batches[1])
    running.turn(10)
    assert running.is_level
    running.check_equal()
    assert len(running.subscriber.settled) >= 6
    assert not running.alarms
    assert not running.counted("gaps_total")


def test_a_hole_that_is_filled_in_time_is_no_gap(running: Running) -> None:
    first_copy(running)
    one, two, three = (running.master.batch({b"a": b"%d" % n}) for n in range(3))
    running.say(three, two, one)
    running.until(lambda: running.is_level, rounds=int(PATIENCE_SECONDS / ROUND_SECONDS) - 10)
    assert running.subscriber.settled[-3:] == [one, two, three]
    assert not running.questions
    assert not running.counted("gaps_total")


def test_a_gap_is_asked_for_and_ends_equal(running: Running) -> None:
    first_copy(running)
    running.master.batch({b"a": None, b"d/y": b"lost", b"e": 0o700})
    running.say(running.master.batch({b"b": b"2"}))
    running.turn(5)
    assert not running.state.standing().stale
    running.until(lambda: running.is_level)
    running.check_equal()
    assert running.counted("gaps_total") == 1
    assert running.questions
    assert not running.alarms


def test_a_gap_of_a_million_behind_which_a_heartbeat_stands_ends_equal(running: Running) -> None:
    first_copy(running)
    running.master.batch({b"d/y": b"lost"})
    running.master.sequence += 1_000_000
    running.level()


def test_a_fork_is_alarmed_and_the_next_epoch_heals_it(running: Running) -> None:
    first_copy(running)
    other = Master()
    other.head, other.sequence = running.master.head, running.master.sequence
    running.say(running.master.batch({b"a": b"2"}))
    running.turn(3)
    running.say(other.batch({b"a": b"3"}), running.master.batch({b"a": b"4"}))
    running.turn(5)
    assert "fork" in running.alarms
    assert (running.root / "a").read_bytes() == b"2"
    assert not running.replica._follower.is_agreed()
    running.pass_by(120)
    assert "fork" in running.alarms
    assert "silence" not in running.alarms
    running.restart()
    running.turn(3)
    assert running.state.standing().is_forked
    running.master.start_epoch(6)
    running.level()
    assert "fork" not in running.alarms


def test_another_producers_epoch_and_a_lower_one_change_nothing(running: Running) -> None:
    first_copy(running)
    lower, same_epoch = Master(4), Master(5)
    same_epoch.lineage = replace(same_epoch.lineage, instance=b"i" * 16)
    running.say(lower.batch({b"a": b"lower"}), same_epoch.batch({b"a": b"other"}))
    running.turn(5)
    running.level()
    assert running.alarms == {"dropped"}
    assert running.counted("refused_total", "fenced") == 1
    assert running.counted("refused_total", "other-instance") == 1


def test_a_batch_whose_digest_would_not_hold_is_alarmed_and_healed(running: Running) -> None:
    first_copy(running)
    other = Master()
    other.head, other.sequence, other.events = running.master.head, running.master.sequence, dict(running.master.events)
    running.say(other.batch({b"a": b"not what it says"}))
    running.master.sequence, running.master.head = other.sequence, other.head
    running.turn(1)
    assert "diverged" in running.alarms
    assert (running.root / "a").read_bytes() == b"1"
    running.level()
    assert "diverged" not in running.alarms
    assert running.counted("divergences_total") == 1


def test_a_digest_that_never_holds_is_alarmed_and_synced_at_a_slower_and_slower_pace(running: Running) -> None:
    """A producer with a bug must not be asked for everything as fast as it answers."""
    first_copy(running)
    other = Master()
    other.head, other.sequence = running.master.head, running.master.sequence
    running.say(other.batch({b"a": b"2"}))
    running.master.sequence, running.master.head = other.sequence, other.head
    for _ in range(60):
        running.clock.now += 5
        running.turn(20)
    assert "diverged" in running.alarms
    assert 5 <= running.counted("divergences_total") <= 20
    running.clock.now += 60
    running.level()
    assert "diverged" not in running.alarms


def test_a_digest_that_rotted_in_the_state_heals(running: Running) -> None:
    """The rows are right, and what was reckoned from them is not: to compare alone would find the same for ever."""
    first_copy(running)
    running.end()
    with closing(sqlite3.connect(running.state.path)) as database, database:
        database.execute("UPDATE buckets SET digest = zeroblob(32)")
    running.start()
    running.say(running.master.heartbeat())
    running.turn(2)
    assert running.counted("divergences_total") == 1
    running.level()
    assert "diverged" not in running.alarms


def test_a_heartbeat_states_the_digest_anew(running: Running) -> None:
    """What it says of our own position is compared, though that was proved before."""
    first_copy(running)
    other = Master()
    other.head, other.sequence = running.master.head, running.master.sequence
    running.say(other.heartbeat())
    running.turn(1)
    assert running.alarms == {"diverged"}
    running.level()
    assert not running.alarms


# ----------------------------------------------------------------------------------------------------- what is refused

GOOD = encode(MESSAGES["batch"])
REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no header": b"\0" * 1000,
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "cut": GOOD[:-1],
    "junk behind": GOOD + b"\0",
    "another tree": reheaded(GOOD, tree="another"),
    "a need from the future": reheaded(GOOD, tree="tree", needs=1 << 30),
    "a flipped bit in the frame": GOOD[:-3] + bytes([GOOD[-3] ^ 1]) + GOOD[-2:],
    "an upstream message": encode(MESSAGES["report"]) if "report" in MESSAGES else b"",
    **{f"cut at {at}": GOOD[:at] for at in range(1, len(GOOD), 97)},
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_whatever_is_refused_is_settled_counted_and_alarmed_and_stops_nothing(what: str, running: Running) -> None:
    first_copy(running)
    position, tree = running.state.standing().position, read_tree(running.root)
    running.say(REFUSED[what])
    running.turn(3)
    assert running.subscriber.settled[-1] == REFUSED[what]
    assert running.alarms == {"refused"}
    assert sum(n for (name, _), n in running.board.figures().items() if name == "refused_total") == 1
    assert (running.state.standing().position, read_tree(running.root)) == (position, tree)
    running.say(running.master.batch({b"a": b"2"}))
    running.until(lambda: running.is_level)
    assert running.alarms == {"refused"}, "it stands long enough to be seen"
    running.pass_by(REFUSED_SHOWN_SECONDS + 10)
    assert not running.alarms


# ------------------------------------------------------------------------------------------------------------- answers


def test_answers_for_another_replica_and_answers_nobody_asked_for_do_nothing(running: Running) -> None:
    running.say(running.master.batch(many(20)))
    running.answer = lambda question: []
    running.until(lambda: running.questions)
    (question,) = running.questions
    true = running.master.answers(question)
    running.say(*(encode(replace(answer, replica="two")) for answer in true))
    running.say(*(encode(replace(answer, nonce=b"n" * 16)) for answer in true))
    running.turn(10)
    assert len(running.state.standing().stale) == 4096
    running.answer = None
    running.level()


def test_an_answer_that_comes_after_its_time_does_nothing_and_is_asked_again(running: Running) -> None:
    running.say(running.master.batch(many(20)))
    late: list[bytes] = []

    def keep(question: Question) -> list[bytes]:
        late.extend(map(encode, running.master.answers(question)))
        return []

    running.answer = keep
    running.until(lambda: late)
    running.until(lambda: len(running.questions) == 2)
    running.say(late[0])
    running.turn(2)
    assert len(running.state.standing().stale) == 4096
    running.answer = None
    running.level()


def test_a_replica_that_is_slow_asks_for_nothing_twice(running: Running) -> None:
    """Each step takes longer than an answer may: what comes meanwhile is not met by silence."""
    running.master.batch(many(300))
    running.say(running.master.heartbeat())
    carry_out = running.replica._follower.carry_out

    def slowly(decided: Decided, limit_seconds: float) -> None:
        running.clock.now += 3 * ANSWER_TIMEOUT_SECONDS
        carry_out(decided, limit_seconds)

    running.patch.setattr(running.replica._follower, "carry_out", slowly)
    for _ in by_and_by(running, 7):
        running.turn(30)
    assert running.is_level
    asks = [question.ask for question in running.questions]
    asked = [bucket for ask in asks if isinstance(ask, AskBuckets) for bucket in ask.buckets]
    assert len(asked) == len(set(asked))
    assert sum(isinstance(ask, AskDigests) for ask in asks) == 1


def by_and_by(running: Running, count: int) -> Iterator[None]:
    """The master answers, and so many answers at once come, until there are no more."""
    waiting: deque[bytes] = deque()

    def keep(question: Question) -> list[bytes]:
        waiting.extend(encode(answer) for answer in running.master.answers(question))
        return []

    running.answer = keep
    running.until(lambda: waiting)
    while waiting:
        running.say(*(waiting.popleft() for _ in range(min(count, len(waiting)))))
        yield


def test_behind_batches_that_take_long_an_answer_is_waited_for(running: Running) -> None:
    """They stand before it in the queue."""
    running.say(running.master.batch(many(20)))
    answers: list[bytes] = []

    def behind_batches(question: Question) -> list[bytes]:
        answers.extend(encode(answer) for answer in running.master.answers(question))
        return [*(running.master.batch({b"new %d" % number: b"1"}) for number in range(8)), *answers]

    running.answer = behind_batches
    running.patch.setattr(incoming, "TOGETHER_LIMIT", 1)
    running.until(lambda: answers)
    running.answer = None
    for _ in range(8):
        running.turn()
        running.clock.now += 0.9 * AWAY_SECONDS
    assert len(running.questions) == 1


def test_answers_that_come_one_by_one_are_merged_together(running: Running) -> None:
    """A step has costs of its own: ten replicas that copy at once each get a little at a time."""
    running.master.batch(many(200))
    running.say(running.master.heartbeat())
    began = running.clock.now
    for _ in by_and_by(running, 1):
        running.turn(2)
    running.until(lambda: running.is_level)
    assert running.state.standing().commits <= 2 + (running.clock.now - began) / COMPANY_SECONDS
    running.check_equal()


def test_an_unanswered_question_is_asked_again_within_five_seconds(running: Running) -> None:
    running.say(running.master.batch(many(20)))
    running.answer = lambda question: []
    running.until(lambda: len(running.questions) == 3)
    asked = [question.unix_ns / 1e9 for question in running.questions]
    first, second = (later - earlier for earlier, later in pairwise(asked))
    assert 3 < first < 5
    assert 7 < second < 9, "after each silence it is given longer"
    assert len({question.nonce for question in running.questions}) == 3


def test_an_answer_ahead_of_the_stream_waits_for_it(running: Running) -> None:
    running.say(running.master.batch(many(20)))
    held: list[bytes] = []

    def ahead(question: Question) -> list[bytes]:
        if not held:
            held.append(running.master.batch({b"d/0001": b"newer", b"d/0002": None}))
        return [encode(answer) for answer in running.master.answers(question)]

    running.answer = ahead
    running.until(lambda: held)
    running.turn(5)
    assert len(running.state.standing().stale) == 4096
    running.say(*held)
    running.level()


def test_a_body_that_does_not_match_is_alarmed_and_asked_for_again(running: Running) -> None:
    first_copy(running)
    lies = 3

    def lying(question: Question) -> list[bytes]:
        nonlocal lies
        answers = running.master.answers(question)
        if isinstance(question.ask, AskBodies) and lies:
            lies -= 1
            answers = [replace(a, content=b"lie") for a in answers if isinstance(a, BodyAnswer)]
        return [encode(answer) for answer in answers]

    running.answer = lying
    running.say(running.master.batch({b"b": b"true"}, bodies=False))
    running.turn(10)
    assert running.state.unmet_paths(9)[b"b"].reason is Reason.BODY
    assert running.alarms == {"body-mismatch"}
    assert len(running.questions) == 1, "a lie is not asked for as fast as it comes"
    running.until(lambda: running.is_level, rounds=8000)
    running.check_equal()
    running.pass_by(REFUSED_SHOWN_SECONDS + 10)
    assert not running.alarms
    assert running.counted("refused_total", "body-mismatch") == 3


def test_a_body_inside_a_batch_that_does_not_match_is_fetched(running: Running) -> None:
    first_copy(running)
    message = decode_downstream(running.master.batch({b"b": b"true"}), TREE)
    assert isinstance(message, Batch)
    lying, running.master.head = encode_batch(
        replace(message, events=tuple(event._replace(body=b"lie!") for event in message.events))
    )
    running.say(lying)
    running.turn(2)
    assert not (running.root / "b").exists()
    running.until(lambda: running.is_level)
    running.check_equal()
    assert running.counted("refused_total", "body-mismatch") == 1


def test_a_torn_bucket_answer_is_dropped_and_asked_for_again(running: Running) -> None:
    running.master.batch(many(20))
    torn = 1

    def tearing(question: Question) -> list[bytes]:
        nonlocal torn
        answers = running.master.answers(question)
        if isinstance(question.ask, AskBuckets) and torn:
            torn -= 1
            answers = [replace(a, rows=()) for a in answers if isinstance(a, BucketRows)]
        return [encode(answer) for answer in answers]

    running.answer = tearing
    running.say(running.master.heartbeat())
    running.until(lambda: "dropped" in running.alarms)
    running.until(lambda: running.is_level)
    running.check_equal()


# ----------------------------------------------------------------------------------------------------- the sacred order


def one_by_one(running: Running) -> None:
    """From now on everything is synced by itself, and can be seen."""
    running.patch.setattr(barrier, "_syncfs", None)
    running.restart()


def test_content_and_plan_are_durable_before_names_move_names_before_the_index_and_the_index_before_the_ack(
    running: Running, failing_os: DyingOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_copy(running)
    one_by_one(running)
    story: list[str] = []
    target, commit, settle = str(running.root), State.commit, running.subscriber.settle

    def before_each(name: str, *args: object) -> None:
        if name == "fsync" and args:
            story.append("sync " + os.readlink(f"/proc/self/fd/{args[0]}").removeprefix(target))
        elif name in {"rename", "unlink"} and args[-1] in {b"b", b"x", b"0"}:
            story.append(f"{name} {b' '.join(pieces(args)).decode()}")

    def committed(self: State, *args: object, **kwargs: object) -> None:
        commit(self, *args, **kwargs)  # type: ignore[arg-type]  # handed through
        story.append("commit")

    def settled(delivery: Delivery) -> None:
        settle(delivery)
        story.append("ack")

    monkeypatch.setattr(State, "commit", committed)
    monkeypatch.setattr(running.subscriber, "settle", settled)
    failing_os.before_each = before_each
    running.say(running.master.batch({b"b": b"2", b"d/x": None}))
    running.turn(2)
    swap = story.index("rename 0 b")
    names = range(story.index("unlink x"), story.index("commit"))
    before = set(story[:swap])
    assert {"sync /.treecast/stage/0", "sync /.treecast/stage", "sync /.treecast/plan", "sync /.treecast"} <= before
    assert {"sync ", "sync /d", "sync /.treecast"} <= {story[i] for i in names}
    assert story.index("commit") < story.index("ack")
    assert story[swap:].count("commit") == 1


# ------------------------------------------------------------------------------------------- problems of single paths


def test_a_path_that_fails_is_shown_and_in_nobodys_way_and_tried_again(running: Running, failing_os: DyingOs) -> None:
    first_copy(running)
    failing = Failing(errno.EPERM, "rename", at=b"immutable")
    failing_os.before_each = failing
    running.say(running.master.batch({b"d/immutable": b"1", b"d/other": b"2"}))
    running.turn(5)
    assert (running.root / "d/other").read_bytes() == b"2"
    assert running.state.unmet_paths(9)[b"d/immutable"].reason is Reason.PROBLEM
    (problem,) = running.board.status()["problems"]
    assert problem["path"] == "d/immutable"
    assert "Operation not permitted" in problem["problem"]
    assert not running.replica._follower.is_agreed()
    struck = failing.struck
    running.pass_by(2 * RETRY_SECONDS + 10)
    assert 2 <= failing.struck - struck <= 8
    assert running.board.status()["problem_count"] == 1
    failing.is_on = False
    running.pass_by(2 * RETRY_SECONDS)
    assert running.is_level
    running.check_equal()
    assert running.board.status()["problem_count"] == 0


def test_what_stays_a_problem_is_fetched_ever_more_rarely_and_at_once_when_a_scrub_is_ordered(
    running: Running, failing_os: DyingOs
) -> None:
    """As an immutable file is, which somebody has to see to."""
    first_copy(running)
    failing = Failing(errno.EPERM, "rename", at=b"immutable")
    failing_os.before_each = failing
    running.say(running.master.batch({b"d/immutable": b"1"}))
    running.turn(5)
    running.questions.clear()
    for _ in range(4 * 60):
        running.clock.now += 60
        running.say(running.master.heartbeat())
        running.turn(3)
    assert 5 <= len(running.questions) <= 12
    assert running.board.status()["problem_count"] == 1
    failing.is_on = False
    running.turn(10)
    assert running.state.unmet_paths(9)
    running.replica._handlers["scrub"]({})
    running.until(lambda: running.is_level, rounds=10)
    running.check_equal()
    assert running.board.status()["problem_count"] == 0


def test_a_problem_is_over_when_the_path_is_deleted_or_comes_anew(running: Running, failing_os: DyingOs) -> None:
    first_copy(running)
    failing_os.before_each = Failing(errno.EPERM, "rename", at=b"one")
    running.say(running.master.batch({b"one": b"1", b"d/one": b"1"}))
    running.turn(5)
    assert running.board.status()["problem_count"] == 2
    running.restart()
    running.turn(2)
    assert running.board.status()["problem_count"] == 2, "a restart remembers them"
    running.say(running.master.batch({b"one": None}))
    running.turn(3)
    failing_os.before_each = lambda *_: None
    running.say(running.master.batch({b"d/one": b"3"}))
    running.turn(3)
    assert running.is_level
    running.check_equal()
    assert running.board.status()["problem_count"] == 0


def test_a_directory_that_cannot_be_made_is_made_later_with_what_is_in_it(
    running: Running, failing_os: DyingOs
) -> None:
    first_copy(running)
    failing_os.before_each = Failing(errno.EACCES, "mkdir", at=b"new")
    running.say(running.master.batch({b"new": 0o700, b"new/x": b"1", b"new/y": 0o755, b"z": b"2"}))
    running.turn(5)
    assert (running.root / "z").read_bytes() == b"2"
    assert set(running.state.unmet_paths(9)) == {b"new", b"new/x", b"new/y"}
    failing_os.before_each = lambda *_: None
    running.pass_by(2 * RETRY_SECONDS)
    running.level()


def test_problems_that_stay_keep_no_other_from_being_tried_again(
    running: Running, failing_os: DyingOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "RETRIES_AT_ONCE", 2)
    first_copy(running)
    failing = Failing(errno.EPERM, "mkdir")
    failing_os.before_each = failing
    running.say(running.master.batch({b"n%d" % n: 0o755 for n in range(6)}))
    running.turn(5)
    assert running.board.status()["problem_count"] == 6
    failing_os.before_each = lambda name, *args: failing(name, *args) if not {b"n4", b"n5"} & {*args} else None
    running.pass_by(5 * RETRY_SECONDS)
    assert set(running.state.unmet_paths(9)) == {b"n0", b"n1", b"n2", b"n3"}


# -------------------------------------------------------------------------------------------------------------- no room

FULL = {
    "a content": ("write",),
    "a name in the stage": ("open",),
    "a directory": ("mkdir",),
    "a name": ("rename",),
    "a symlink": ("symlink",),
}


@pytest.mark.parametrize("where", sorted(FULL))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_without_room_it_waits_says_so_and_goes_on_by_itself(
    where: str, number: int, running: Running, failing_os: DyingOs
) -> None:
    first_copy(running)
    failing = failing_os.before_each = Failing(number, *FULL[where], nth=2 if where in {"a name", "a content"} else 1)
    position = running.state.standing().position
    batch = running.master.batch({b"a": b"2", b"n": 0o755, b"n/x": b"3", b"d/x": None, b"m": "a"})
    waited: list[float] = []

    def on_wait(seconds: float) -> None:
        waited.append(seconds)
        running.hear()
        assert running.state.standing().position == position
        assert running.alarms == {"no-room"}
        assert batch not in running.subscriber.settled
        assert running.reports[-1][1].state is ReplicaState.WAITING
        failing.is_on = len(waited) < 12

    running.stop.on_wait = on_wait
    running.say(batch)
    running.until(lambda: running.is_level)
    running.check_equal()
    assert len(waited) == 12
    assert waited == sorted(waited)
    assert not running.alarms
    assert not running.questions, "nothing was lost, nothing is asked for"


def test_what_a_step_placed_is_ours_when_there_was_no_room_to_commit_it(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symlink shows by nothing whose it is."""
    first_copy(running, {b"old": b"1"})
    commit, tries = State.commit, 0

    def full(self: State, step: object, plan: object, *args: object, **kwargs: object) -> None:
        nonlocal tries
        if isinstance(plan, Plan) and plan.contents:
            tries += 1
            if tries == 1:
                raise NoRoomError("database or disk is full")
        commit(self, step, plan, *args, **kwargs)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(State, "commit", full)
    running.say(running.master.batch({b"link": "to", b"file": b"2"}))
    running.level()
    assert tries == 2
    assert list(running.root.glob(".treecast/aside/*/*")) == []


def test_without_room_for_the_state_it_waits_too(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    first_copy(running)
    commit = State.commit
    left = 4

    def full(self: State, *args: object, **kwargs: object) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise NoRoomError("database or disk is full")
        commit(self, *args, **kwargs)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(State, "commit", full)
    running.say(running.master.batch({b"a": b"2", b"b": b"3", b"d/x": None}))
    running.until(lambda: running.is_level)
    running.check_equal()
    assert not running.alarms


@pytest.mark.parametrize("where", ["write", "rename", "commit"])
def test_after_five_minutes_without_room_it_gives_the_batch_up_and_a_sync_removes_before_it_adds(
    where: str, running: Running, failing_os: DyingOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_copy(running, {**many(30), b"old": b"large"})
    failing = Failing(errno.ENOSPC, "write" if where == "write" else "rename", at=b"new" if where == "rename" else b"")
    is_full = True
    if where == "commit":
        commit = State.commit

        def full(self: State, step: object, plan: object, *args: object, **kwargs: object) -> None:
            if is_full and isinstance(plan, Plan) and plan.contents:
                raise NoRoomError("database or disk is full")
            commit(self, step, plan, *args, **kwargs)  # type: ignore[arg-type]  # handed through

        monkeypatch.setattr(State, "commit", full)
    else:
        # Contents have no room; the small files of the stage, and removals, have.
        failing_os.before_each = lambda name, *args: failing(name, *args) if b"much" in b"".join(pieces(args)) else None
    began = running.clock.now
    tree: dict[bytes, Content] = {b"old": None, b"d/0001": None, b"new": b"much " * 100, b"d/0002": b"much"}
    running.say(running.master.batch(tree), running.master.batch({b"d/0003": None}))
    if where == "rename":
        failing_os.before_each = failing
    running.until(lambda: not (running.root / "old").exists() and not (running.root / "d/0003").exists())
    assert running.clock.now - began > NO_ROOM_LIMIT_SECONDS
    if where != "commit":
        assert not running.replica._follower.is_agreed()
    is_full = failing.is_on = False
    running.until(lambda: running.is_level)
    running.check_equal()
    assert not running.alarms


def pieces(args: tuple[object, ...]) -> list[bytes]:
    """The arguments that are bytes."""
    return [arg for arg in args if isinstance(arg, bytes)]


def test_what_somebody_put_here_goes_aside_also_when_a_step_is_tried_again_for_want_of_room(
    running: Running, failing_os: DyingOs
) -> None:
    """And what the first try placed is ours."""
    first_copy(running, {b"old": b"1"})
    (running.root / "b").write_bytes(b"theirs")
    failing = Failing(errno.ENOSPC, "rename", at=b"b")

    def once(name: str, *args: object) -> None:
        failing.is_on = not failing.struck
        failing(name, *args)

    failing_os.before_each = once
    running.say(running.master.batch({b"a": b"ours", b"b": b"ours", b"c": b"ours"}))
    running.level()
    assert failing.struck
    assert {path.name: path.read_bytes() for path in running.root.glob(".treecast/aside/*/*")} == {"b": b"theirs"}


def test_what_goes_makes_room_for_what_comes_in_the_same_batch(running: Running, failing_os: DyingOs) -> None:
    """Names come before removals; where there is no room for a name, the removals are not kept waiting for it."""
    first_copy(running, {b"large": b"large"})
    full = Failing(errno.ENOSPC, "mkdir")
    failing_os.before_each = lambda *args: full(*args) if (running.root / "large").exists() else None
    running.say(running.master.batch({b"d": 0o755, b"d/x": b"1", b"large": None}))
    running.until(lambda: running.is_level)
    running.check_equal()
    assert full.struck == 1


def test_names_that_moved_before_the_room_ended_are_made_durable_with_the_rest(
    running: Running, failing_os: DyingOs
) -> None:
    """What was removed by a first try is missing for the second, and must not come back after a power cut."""
    first_copy(running, {b"d": 0o755, b"d/x": b"x", b"e": 0o755})
    one_by_one(running)
    full = Failing(errno.ENOSPC, "mkdir")
    synced: list[str] = []

    def before_each(name: str, *args: object) -> None:
        if name == "fsync" and args:
            synced.append(os.readlink(f"/proc/self/fd/{args[0]}"))
        full(name, *args)

    failing_os.before_each = before_each
    running.stop.on_wait = lambda _: setattr(full, "is_on", False)
    running.say(running.master.batch({b"d/x": None, b"e/new": 0o755}))
    running.until(lambda: running.is_level)
    assert full.struck
    assert str(running.root / "d") in synced


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def test_deletes_make_room_on_a_disk_without_a_single_free_block(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree itself fills the disk; the master deletes some and adds some, in one batch. Nobody else makes room."""
    with memory_place(tmp_path) as place, Running(place, monkeypatch, target_place=small) as running:
        first_copy(running, {b"f%02d" % n: b"x" * 4000 for n in range(20)})
        with suppress(OSError), (small / "hog").open("wb", buffering=0) as hog:
            while hog.write(b"x" * 4096):
                pass
        assert os.statvfs(small).f_bfree == 0
        gone: dict[bytes, Content] = {b"f%02d" % n: None for n in range(10)}
        running.say(running.master.batch({**gone, b"new": b"y" * 9000, b"newer": b"z" * 9000}))
        running.until(lambda: running.is_level)
        (small / "hog").unlink()
        running.check_equal()
        assert not running.alarms


def test_a_step_that_touches_no_disk_waits_for_room_as_long_as_it_takes(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork, a jump or a new epoch that was skipped would leave a position that never was."""
    first_copy(running)
    commit = State.commit
    is_full = True

    def full(self: State, *args: object, **kwargs: object) -> None:
        if is_full:
            raise NoRoomError("database or disk is full")
        commit(self, *args, **kwargs)  # type: ignore[arg-type]  # handed through

    def on_wait(_: float) -> None:
        nonlocal is_full
        is_full = running.clock.now < 1000 + 3 * NO_ROOM_LIMIT_SECONDS

    monkeypatch.setattr(State, "commit", full)
    running.stop.on_wait = on_wait
    running.master.start_epoch(6)
    running.say(running.master.heartbeat())
    running.until(lambda: running.is_level)
    running.check_equal()
    assert not running.questions


def test_without_room_to_remember_that_the_first_copy_is_complete_it_goes_on(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = State.complete_first_copy
    left = 3

    def full(self: State) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise NoRoomError("database or disk is full")
        complete(self)

    monkeypatch.setattr(State, "complete_first_copy", full)
    first_copy(running)
    assert running.state.first_copy_complete


def test_it_is_alive_while_it_waits_for_room_and_stops_at_once_when_told(running: Running, failing_os: DyingOs) -> None:
    first_copy(running)
    failing_os.before_each = Failing(errno.ENOSPC, "write")
    ticks: list[str] = []
    tick = running.board.tick

    def spied(loop: str) -> None:
        ticks.append(loop)
        tick(loop)

    running.board.tick = spied  # type: ignore[method-assign]  # a spy
    waits = 0

    def on_wait(_: float) -> None:
        nonlocal waits
        waits += 1
        assert len(ticks) >= waits
        if waits == 5:
            running.stop.set()

    running.stop.on_wait = on_wait
    batch = running.master.batch({b"a": b"2"})
    running.say(batch)
    running.replica.follow()
    assert waits == 5
    assert batch not in running.subscriber.settled
    failing_os.before_each = lambda *_: None
    running.restart()
    running.say(batch)
    running.level()
    assert not running.questions


# ----------------------------------------------------------------------------------------------------------------- halt


@pytest.mark.parametrize(("name", "number"), [("write", errno.EIO), ("rename", errno.EROFS), ("fsync", errno.EIO)])
def test_a_disk_that_cannot_be_trusted_halts_until_a_restart(
    name: str, number: int, running: Running, failing_os: DyingOs
) -> None:
    first_copy(running)
    failing_os.before_each = Failing(number, name)
    position = running.state.standing().position
    batch = running.master.batch({b"a": b"2", b"d/x": None})
    running.say(batch)
    halted_for = 0.0

    def on_wait(seconds: float) -> None:
        nonlocal halted_for
        halted_for += seconds
        running.hear()
        assert running.subscriber.is_closed
        assert "halt" in running.alarms
        assert running.state.standing().position == position
        assert not running.board.is_ready
        if halted_for > 20:
            running.stop.set()

    running.stop.on_wait = on_wait
    with pytest.raises(HaltError, match="restart"):
        running.replica.follow()
    assert batch not in running.subscriber.settled
    assert running.reports[-1][1].state is ReplicaState.HALTED
    failing_os.before_each = lambda *_: None
    running.restart()
    running.say(batch)
    running.level()
    assert not running.alarms


def test_a_target_that_is_renamed_away_halts_and_nothing_is_written(running: Running) -> None:
    first_copy(running)
    moved = running.root.rename(running.root.with_name("moved"))
    before = read_tree(moved)
    running.say(running.master.batch({b"a": b"2"}))
    running.stop.on_wait = lambda _: running.stop.set()
    with pytest.raises(HaltError, match="gone"):
        running.replica.follow()
    assert read_tree(moved) == before
    assert not running.root.exists()


# ------------------------------------------------------------------------------------- reports, readiness, quiet


def test_it_reports_every_five_seconds_and_news_at_most_twenty_times_a_second(running: Running) -> None:
    first_copy(running)
    running.turn(10)
    running.reports.clear()
    began = running.clock.now
    for n in range(100):
        running.say(running.master.batch({b"a": b"%d" % n}))
        running.turn()
    busy = [at for at, _ in running.reports]
    assert busy[0] - began <= 3 * ROUND_SECONDS
    assert 5 <= len(busy) <= 1 + (running.clock.now - began) / REPORT_SECONDS_MINIMUM
    running.turn(10)
    running.reports.clear()
    running.turn(int(4 * REPORT_SECONDS / ROUND_SECONDS))
    assert len(running.reports) == 4


def is_ready(running: Running) -> bool:
    """Whether it may be served from."""
    return running.board.is_ready


def test_the_first_copy_makes_ready_and_a_restart_is_ready_at_once_without_broker(running: Running) -> None:
    running.turn(5)
    assert not is_ready(running)
    running.say(running.master.batch(many(50)))
    running.answer = lambda question: []
    running.turn(50)
    assert not is_ready(running)
    running.answer = None
    running.level()
    running.turn(2)
    assert is_ready(running)
    running.broker.is_reachable = False
    running.restart()
    running.turn(1)
    assert is_ready(running)
    running.clock.now += 3600
    running.turn(5)
    assert is_ready(running), "the last good tree beats no tree"


def without_contents(running: Running, question: Question) -> list[bytes]:
    """A master that can list its files and read none."""
    answers = [] if isinstance(question.ask, AskBodies) else running.master.answers(question)
    return [
        encode(replace(answer, rows=tuple(row._replace(body=None) for row in answer.rows)))
        if isinstance(answer, BucketRows)
        else encode(answer)
        for answer in answers
    ]


def test_a_content_that_the_master_cannot_give_does_not_keep_a_replica_from_being_served(running: Running) -> None:
    """Not at once: it may be on its way for minutes. It stays unmet, and so the replica does not agree."""
    running.master.batch({b"a": b"cannot be read any more", b"d": 0o755})
    running.answer = lambda question: without_contents(running, question)
    running.say(running.master.heartbeat())
    running.turn(20)
    assert running.state.unmet([b"a"])
    running.pass_by(MISSING_LIMIT_SECONDS / 2)
    assert not is_ready(running)
    running.pass_by(MISSING_LIMIT_SECONDS)
    assert is_ready(running)
    assert not running.replica._follower.is_agreed()


def test_a_missing_queue_is_asked_for(running: Running) -> None:
    first_copy(running)
    del running.broker.queues[REPLICA]
    running.reports.clear()
    running.turn(int(5 / ROUND_SECONDS))
    assert running.subscriber.link.phase is Phase.MISSING
    assert {report.state for _, report in running.reports} == {ReplicaState.NO_QUEUE}
    assert 4 <= len(running.reports) <= 7


@pytest.mark.parametrize("why", ["broker", "fork", "nothing to ask"])
def test_the_loop_does_not_spin_while_questions_stay_without_an_answer(why: str, running: Running) -> None:
    first_copy(running)
    running.answer = lambda question: []
    running.say(running.master.batch({b"b": b"2"}, bodies=False))
    running.until(lambda: running.questions)
    if why == "broker":
        running.broker.is_reachable = False
    elif why == "fork":
        other = Master()
        other.head, other.sequence = running.master.head, running.master.sequence - 1
        running.say(other.batch({b"a": b"3"}))
    else:
        running.say(running.master.batch({b"b": b"3"}))
    running.turn(20)
    running.clock.now += 5
    running.turn(20)
    running.subscriber.pauses.clear()
    running.turn(100)
    waits = [pause for pause in running.subscriber.pauses if pause > 0]
    assert len(waits) >= 90
    assert math.fsum(waits) > 10


@pytest.mark.parametrize("years", [-10, 10, 1 / 8766])
def test_a_clock_that_jumps_changes_nothing(years: float, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    first_copy(running)
    jumped = running.clock.time() + years * 365.25 * 86400
    monkeypatch.setattr(running.clock, "time", lambda: jumped)
    monkeypatch.setattr(time, "time", lambda: jumped)
    running.master.batch({b"b": b"lost"})
    running.say(running.master.batch({b"a": b"2"}))
    running.until(lambda: running.is_level)
    running.check_equal()
    assert not running.alarms


def test_a_consumer_that_is_stopped_while_it_follows_ends_and_goes_on_later(running: Running) -> None:
    first_copy(running)
    batches = [running.master.batch({b"a": b"%d" % n}) for n in range(3 * TOGETHER_LIMIT)]
    running.say(*batches)
    running.turn()
    running.stop.set()
    running.replica.follow()
    left = list(running.broker.queues[REPLICA])
    running.restart()
    assert left == batches[TOGETHER_LIMIT:]
    running.until(lambda: running.is_level)
    running.check_equal()
    assert not running.questions


def test_batches_that_wait_are_applied_as_one_set_and_each_is_settled(running: Running) -> None:
    """A replica that is behind pays for one set of barriers; what a later batch says of a path is what counts."""
    first_copy(running)
    commits = running.state.standing().commits
    trees: list[dict[bytes, Content]] = [
        {b"a": b"2", b"d/new": b"made"},
        {b"a": b"3", b"d/new": None},
        {b"d/x": None, b"d": None},
        {b"d": b"a file now"},
        {b"e": 0o700, b"e/f": b"below"},
    ]
    batches = [running.master.batch(tree) for tree in trees]
    running.say(*batches)
    running.turn()
    assert running.state.standing().commits == commits + 1
    assert running.subscriber.settled[-5:] == batches
    running.until(lambda: running.is_level)
    running.check_equal()
    assert not running.questions
    running.say(*batches)
    running.turn(5)
    assert running.is_level, "each of them is known when it comes again"
    assert not running.alarms


def test_what_does_not_continue_the_batches_before_it_is_handled_after_them(running: Running) -> None:
    """Rubbish between them is refused and joins nothing; a heartbeat and a batch behind a hole come after the set."""
    first_copy(running)
    one, two = running.master.batch({b"a": b"2"}), running.master.batch({b"a": b"3"})
    beat = running.master.heartbeat()
    hidden, last = running.master.batch({b"b": b"4"}), running.master.batch({b"c": b"5"})
    running.say(one, b"rubbish", two, beat, last, hidden)
    running.until(lambda: running.is_level)
    running.check_equal()
    assert running.subscriber.settled.count(b"rubbish") == 1
    assert not running.questions, "the hole was filled in time"


def test_a_set_of_batches_whose_digest_does_not_hold_is_not_applied(running: Running) -> None:
    first_copy(running)
    good = running.master.batch({b"a": b"2"})
    lying = encode(replace(decode_batch(running.master.batch({b"a": b"3"})), after=b"x" * 32))
    running.say(good, lying)
    running.turn()
    assert "diverged" in running.alarms
    assert running.state.rows([b"a"])[b"a"].entry.digest == content_digest(b"1")


def decode_batch(data: bytes) -> Batch:
    message = decode_downstream(data, TREE)
    assert isinstance(message, Batch)
    return message


def test_a_swap_that_was_left_by_a_kill_is_resolved_and_ends_equal_though_the_queue_is_lost(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between swap and index commit, and then the queue is purged: the plan tells what the disk has."""
    first_copy(running)
    monkeypatch.setattr(Target, "names_barrier", _die)
    running.say(running.master.batch({b"a": b"2", b"d/x": None, b"n": 0o755, b"n/x": b"3"}))
    with pytest.raises(KeyboardInterrupt):
        running.turn(3)
    monkeypatch.undo()
    running.patch.setattr("consumer.service.time", running.clock)
    running.broker.queues[REPLICA].clear()
    running.restart()
    assert (running.root / "a").read_bytes() == b"2"
    assert not running.replica._follower.is_agreed()
    running.level()


def _die(_: Target) -> None:
    raise KeyboardInterrupt
