"""Commands between a producer and its replicas, and who steps out of service: each side's loop on real files, words as bytes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingError, StoppedError
from common.listen import readiness_page
from common.messages import REST_LEASE_SECONDS, Call, Command, CommandVerb, Heartbeat, Lineage, ReplicaState, Report
from common.orders import Verb
from common.wire import codec
from producer.command_orders import command_handlers
from producer.commanding import PROVE_SECONDS
from producer.fleet_view import GONE_SECONDS
from tests.running_consumer import REPLICA, TREE, Running, many
from tests.running_producer import RunningProducer
from tests.twins import MemoryBroker, MemoryWatch

NONCE = bytes(range(16))
LIMIT_SECONDS = 30.0


# -- beside a replica


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with Running(tmp_path, monkeypatch) as one:
        one.say(one.master.batch(many(20)))
        one.level()
        yield one


def command(running: Running, verb: str = "prove", nonce: bytes = NONCE, **more: Any) -> bytes:
    return codec.encode(replace(Command(running.master.lineage, REPLICA, nonce, verb), **more))


def last_details(running: Running) -> dict[str, Any]:
    return running.reports[-1][1].details


def test_a_replica_shows_its_digest_at_once_for_the_position_that_it_reports(running: Running) -> None:
    running.say(running.master.batch({b"new": b"n"}), command(running))
    running.turn(1)
    running.turn(1)
    report = running.reports[-1][1]
    assert report.details["proved"] == [NONCE.hex()]
    assert report.details["digest"] == running.master.digests.tree_digest().hex()
    assert report.position == (running.master.lineage.epoch, running.master.sequence)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda ours: {"lineage": replace(ours, epoch=ours.epoch - 1)}, "fenced"),
        (lambda ours: {"lineage": replace(ours, instance=bytes(16))}, "other-instance"),
        (lambda ours: {"lineage": replace(ours, epoch=ours.epoch + 1)}, "not-followed"),
        (lambda ours: {"verb": "delete-everything"}, "command-verb"),
        (lambda ours: {"replica": "another"}, ""),
    ],
)
def test_a_command_is_taken_from_the_leader_alone_and_a_verb_that_is_not_known_is_ignored(
    running: Running, change: Any, reason: str
) -> None:
    ours: Lineage = running.master.lineage
    before = running.state.standing()
    running.say(command(running, **change(ours)))
    running.turn(600)
    assert "proved" not in last_details(running)
    assert running.state.standing() == before
    assert not reason or running.counted("refused_total", reason) == 1
    assert "refused" not in running.alarms


@pytest.mark.parametrize("years", [-1, 0, 1])
def test_a_call_of_any_epoch_is_answered_at_once_with_what_came_before_it_and_nothing_is_followed(
    running: Running, years: int
) -> None:
    ours = running.master.lineage
    lineage = replace(ours, epoch=ours.epoch + years, instance=b"c" * 16)
    running.say(running.master.batch({b"before": b"b"}), codec.encode(Call(lineage, 0)))
    running.until(lambda: "called" in last_details(running))
    report = next(one for _, one in running.reports if "called" in one.details)
    assert report.details["called"] == lineage.instance.hex()
    assert report.position == (ours.epoch, running.master.sequence)
    assert running.state.standing().epoch == ours.epoch
    assert not running.alarms


def test_a_command_that_comes_again_is_taken_once(running: Running) -> None:
    running.say(command(running, "scrub"), command(running, "scrub"), command(running, "scrub", nonce=bytes(16)))
    running.turn(30)
    asked = last_details(running)["scrub_asked"]
    assert [text.partition(" ")[0] for text in asked] == [NONCE.hex(), bytes(16).hex()]
    assert len({text.partition(" ")[2] for text in asked}) == 1, "the second joins the run that is under way"


def is_ready(running: Running) -> bool:
    """Whether it may be served from."""
    return running.board.is_ready


def fall_behind(running: Running) -> None:
    """It misses a batch, and nobody answers what it asks."""
    running.restart(ready_max_lag_seconds=LIMIT_SECONDS)
    running.turn(2)
    running.answer = lambda question: []
    running.master.batch({b"missed": b"m"})
    running.pass_by(LIMIT_SECONDS + 10)


def beat(running: Running, *resting: tuple[str, int]) -> None:
    """A heartbeat that gives leave to these."""
    heartbeat = codec.decode_downstream(running.master.heartbeat(), TREE)
    assert isinstance(heartbeat, Heartbeat)
    running.say(codec.encode(replace(heartbeat, resting=resting)))
    running.turn(30)


def test_who_knows_that_it_is_behind_says_so_and_stays_ready_until_it_has_leave(running: Running) -> None:
    fall_behind(running)
    assert last_details(running)["ready"] is True
    assert is_ready(running)
    beat(running, ("another", last_details(running)["wants_rest"]))
    assert is_ready(running)
    beat(running, (REPLICA, last_details(running)["wants_rest"]))
    assert readiness_page(running.board)[0] == 503
    assert last_details(running)["ready"] is False, "told at once"


def test_silence_brings_it_back_and_so_does_a_heartbeat_without_its_name_and_so_does_being_level(
    running: Running,
) -> None:
    fall_behind(running)
    for _ in range(2):
        beat(running, (REPLICA, last_details(running)["wants_rest"]))
        assert not is_ready(running)
        running.clock.now += REST_LEASE_SECONDS
        running.turn(30)
        assert is_ready(running), "silence"
    beat(running, (REPLICA, last_details(running)["wants_rest"]))
    assert not is_ready(running)
    beat(running)
    assert is_ready(running), "called back"
    beat(running, (REPLICA, last_details(running)["wants_rest"]))
    assert not is_ready(running)
    running.answer = None
    running.pass_by(30.0)
    running.until(lambda: running.is_level)
    running.turn(30)
    assert is_ready(running)
    assert "wants_rest" not in last_details(running)


def test_a_silent_master_and_a_broker_that_is_away_make_nobody_want_a_rest(running: Running) -> None:
    running.restart(ready_max_lag_seconds=LIMIT_SECONDS)
    running.turn(2)
    running.broker.is_reachable = False
    for _ in range(10):
        running.clock.now += 60.0
        running.turn(3)
    assert is_ready(running)
    running.broker.is_reachable = True
    running.turn(3)
    assert "wants_rest" not in last_details(running)


def test_a_first_copy_asks_for_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Running(tmp_path, monkeypatch) as one:
        one.restart(ready_max_lag_seconds=LIMIT_SECONDS)
        one.master.batch(many(20))
        one.answer = lambda question: []
        one.pass_by(LIMIT_SECONDS + 60)
        assert not one.board.is_ready
        assert "wants_rest" not in last_details(one)


def test_a_content_that_the_master_cannot_give_is_no_reason_to_rest(running: Running) -> None:
    running.restart(ready_max_lag_seconds=LIMIT_SECONDS)
    running.answer = lambda question: []
    running.say(running.master.batch({b"lost": b"cannot be read"}, bodies=False))
    running.pass_by(LIMIT_SECONDS + 60)
    assert running.state.unmet([b"lost"])
    assert "wants_rest" not in last_details(running)


# -- beside the master


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[RunningProducer]:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_text("a")
    one = RunningProducer(tmp_path / "source", tmp_path / "state", MemoryBroker(), watch=MemoryWatch())
    one.settle()
    yield one
    one.crash()


def verbs(producer: RunningProducer) -> dict[str, Verb]:
    return command_handlers(producer.pipeline, producer.now)


def say(producer: RunningProducer, name: str, **details: Any) -> None:
    """It reports that it is at the stream's position."""
    stand, lineage = producer.journal.stand, producer.journal.stand.lineage
    known = Report(
        lineage.tree, name, lineage.instance, stand.position, True, ReplicaState.FOLLOWING, 0, "1.0", 1, 1, details
    )
    producer.broker.say(codec.encode(known))
    producer.step()


def commands(producer: RunningProducer, name: str) -> list[Command]:
    """What was sent to one replica."""
    sent = [codec.decode_downstream(body, producer.journal.stand.lineage.tree) for body in producer.broker.queues[name]]
    return [message for message in sent if isinstance(message, Command)]


def look(producer: RunningProducer, kind: str, ticket: str) -> dict[str, Any]:
    return verbs(producer)[f"{kind}-look"]({"ticket": ticket})


def test_each_that_is_asked_proves_differs_or_does_not_answer(producer: RunningProducer) -> None:
    for name in ("gone", "good", "bad", "mute"):
        say(producer, name)
    producer.skip(GONE_SECONDS)
    for name in ("good", "bad", "mute"):
        say(producer, name)
    ticket = verbs(producer)["prove-begin"]({})["ticket"]
    assert [(one.verb, one.replica) for one in commands(producer, "good")] == [(CommandVerb.PROVE, "good")]
    assert commands(producer, "good")[0].nonce.hex() == ticket
    assert not commands(producer, "gone")
    digest = producer.journal.stand.digest.hex()
    say(producer, "good", proved=[ticket], digest=digest)
    say(producer, "bad", proved=["00" * 16], digest=digest)
    say(producer, "bad", proved=[ticket], digest="11" * 32)
    say(producer, "mute", proved="nothing", digest=digest)
    found = look(producer, "prove", ticket)
    assert not found["is_done"]
    assert {name: one["word"] for name, one in found["replicas"].items()} == {
        "good": "proved", "bad": "differs", "mute": "asked", "gone": "gone"
    }  # fmt: skip
    producer.skip(PROVE_SECONDS)
    found = look(producer, "prove", ticket)
    assert found["is_done"]
    assert found["replicas"]["mute"] == {"word": "silent"}
    assert found["replicas"]["good"]["position"]["sequence"] == producer.journal.stand.sequence


def test_only_those_are_asked_that_are_meant(producer: RunningProducer) -> None:
    say(producer, "paris", labels="region=eu")
    say(producer, "rome", labels="region=it")
    for arguments in ({"names": ["paris"]}, {"select": "region=eu"}):
        ticket = verbs(producer)["prove-begin"](arguments)["ticket"]
        assert list(look(producer, "prove", ticket)["replicas"]) == ["paris"]
    with pytest.raises(SettingError, match="athens"):
        verbs(producer)["prove-begin"]({"names": ["athens"]})
    assert len(commands(producer, "paris")) == 2
    assert not commands(producer, "rome")


def test_a_producer_that_does_not_lead_commands_nobody(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    producer = RunningProducer(tmp_path / "source", tmp_path / "state", MemoryBroker(), watch=MemoryWatch())
    with pytest.raises(StoppedError, match="does not lead"):
        verbs(producer)["scrub-begin"]({})
    producer.crash()


def test_a_ticket_of_an_earlier_process_or_that_nobody_looked_at_is_unknown(producer: RunningProducer) -> None:
    say(producer, "paris")
    ticket = verbs(producer)["scrub-begin"]({})["ticket"]
    producer.skip(61.0)
    with pytest.raises(SettingError, match="ask again"):
        look(producer, "scrub", ticket)


def test_a_scrub_is_over_when_each_is_done_or_gone(producer: RunningProducer) -> None:
    say(producer, "paris")
    say(producer, "rome")
    ticket = verbs(producer)["scrub-begin"]({})["ticket"]
    say(producer, "paris", scrub_asked=[f"{ticket} 7"], scrub_run=7, scrub_state="reading", scrub_ratio=0.5)
    found = look(producer, "scrub", ticket)
    assert found["replicas"]["paris"]["word"] == "running"
    assert found["replicas"]["paris"]["ratio"] == 0.5
    say(
        producer,
        "paris",
        scrub_last_run=7,
        scrub_last_findings=["2 mode"],
        scrub_last_repaired=2,
        scrub_last_problems=0,
    )
    assert not look(producer, "scrub", ticket)["is_done"]
    producer.skip(GONE_SECONDS)
    say(producer, "paris")
    found = look(producer, "scrub", ticket)
    assert found["is_done"]
    assert found["replicas"]["paris"]["findings"] == {"mode": 2}
    assert found["replicas"]["rome"]["word"] == "gone"


def heartbeat(producer: RunningProducer) -> Heartbeat:
    """The next one."""
    seen = len(producer.broker.events)
    producer.skip(5.1)
    producer.step()
    heard = [
        codec.decode_downstream(body, producer.journal.stand.lineage.tree) for body in producer.broker.events[seen:]
    ]
    (beat,) = [message for message in heard if isinstance(message, Heartbeat)]
    return beat


def test_heartbeats_say_how_many_are_ready_and_who_may_rest_without_going_below_the_floor(
    producer: RunningProducer,
) -> None:
    producer.skip(REST_LEASE_SECONDS)
    producer.pipeline.members.add("never-came", {}, producer.now())
    for number, name in enumerate(("a", "b", "c", "d", "e")):
        say(producer, name, ready=True, wants_rest=number)
    said = heartbeat(producer)
    assert (said.ready, said.members, said.resting) == (5, 6, (("a", 0), ("b", 1)))
    say(producer, "a", ready=False, wants_rest="please")
    say(producer, "b", ready=False, wants_rest=11)
    said = heartbeat(producer)
    assert (said.ready, said.resting) == (3, (("b", 11),))
    assert producer.board.status()["in_service"] == {"ready": 3, "members": 6, "resting": ["b"]}


def test_who_asks_for_the_first_time_hears_soon(producer: RunningProducer) -> None:
    producer.skip(REST_LEASE_SECONDS)
    for name in ("a", "b"):
        say(producer, name, ready=True)
    heartbeat(producer)
    seen = len(producer.broker.events)
    producer.skip(1.0)
    say(producer, "a", ready=True, wants_rest=5)
    producer.step()
    heard = [codec.decode_downstream(one, producer.journal.stand.lineage.tree) for one in producer.broker.events[seen:]]
    assert [one.resting for one in heard if isinstance(one, Heartbeat)] == [(("a", 5),)]
