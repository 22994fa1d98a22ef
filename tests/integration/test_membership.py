"""Who belongs to the fleet, in a producer that runs: durable, its queues with it, alarmed for when missed."""

import time
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingError, StoppedError
from common.figures import samples
from common.messages import ReplicaState, Report
from common.metrics import METRICS
from common.transport.ports import Link, Phase
from common.wire import codec
from producer import fleet_figures
from producer.fleet_view import GONE_SECONDS, Word
from producer.membership import GONE_ALARM
from producer.roster import EPHEMERAL_LIFE_SECONDS, NEW_LIMIT_SECONDS
from tests.running_producer import RunningProducer
from tests.twins import MemoryBroker, MemoryPublisher, MemoryWatch


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def producing(tmp_path: Path, broker: MemoryBroker) -> RunningProducer:
    (tmp_path / "source").mkdir(exist_ok=True)
    producer = RunningProducer(tmp_path / "source", tmp_path / "state", broker, watch=MemoryWatch())
    producer.settle()
    return producer


def say(producer: RunningProducer, name: str, **details: Any) -> None:
    """It reports that it is equal."""
    stand = producer.journal.stand
    lineage = stand.lineage
    report = Report(
        lineage.tree, name, lineage.instance, stand.position, True, ReplicaState.FOLLOWING, 0, "1.0", 1, 1, details
    )
    producer.broker.say(codec.encode(report))
    producer.step()


def words(producer: RunningProducer) -> dict[str, Word]:
    return {one.name: one.word for one in producer.pipeline.members.view(producer.now()).replicas}


def figure(producer: RunningProducer, name: str) -> float:
    return {metric.name: samples(metric, producer.board.figures()) for metric in METRICS}[name][0].value


def test_who_reported_is_known_to_the_next_run_and_missed_when_silent(tmp_path: Path, broker: MemoryBroker) -> None:
    first = producing(tmp_path, broker)
    say(first, "paris", labels="region=eu")
    assert words(first) == {"paris": Word.EQUAL}
    first.crash()
    again = producing(tmp_path, broker)
    assert words(again) == {"paris": Word.BEHIND}
    again.skip(GONE_SECONDS)
    again.step()
    assert words(again) == {"paris": Word.GONE}
    assert "paris since" in again.board.alarms()[GONE_ALARM].what
    say(again, "paris")
    again.skip(2.0)
    again.step()
    assert GONE_ALARM not in again.alarms()
    again.crash()


def test_in_an_outage_nobody_is_gone_and_after_it_everybody_has_time_to_speak(
    tmp_path: Path, broker: MemoryBroker
) -> None:
    """Neither in the view, which status and wait ask, nor in the metrics, nor in the alarm."""
    producer = producing(tmp_path, broker)
    say(producer, "paris")
    say(producer, "rome")
    broker.is_reachable = False
    for _ in range(900):
        producer.skip(1.0)
        producer.step()
    seen = producer.pipeline.members.view(producer.now())
    assert seen.deaf is not None
    assert (seen.deaf.phase, abs((seen.deaf.since or 0.0) - time.time()) < 60) == ("connecting", True)
    assert words(producer) == dict.fromkeys(("paris", "rome"), Word.EQUAL)
    rows = fleet_figures.tables(seen, 120.0)
    assert max(row.value for row in rows["replica_heard_seconds"]) < GONE_SECONDS
    assert rows["replicas_behind"][0].value == 0
    assert figure(producer, "listening") == 0.0
    broker.reconnect()
    producer.step()
    producer.skip(GONE_SECONDS - 1)
    say(producer, "paris")
    assert words(producer) == dict.fromkeys(("paris", "rome"), Word.EQUAL)
    assert GONE_ALARM not in producer.alarms()
    producer.skip(2.0)
    producer.step()
    assert words(producer) == {"paris": Word.EQUAL, "rome": Word.GONE}
    assert "rome" in producer.board.alarms()[GONE_ALARM].what
    assert producer.board.status()["deaf"] is None
    assert figure(producer, "listening") == 1.0
    producer.crash()


def test_before_it_was_connected_it_says_that_nobody_was_heard_and_calls_nobody_gone(
    tmp_path: Path, broker: MemoryBroker
) -> None:
    first = producing(tmp_path, broker)
    say(first, "paris")
    first.crash()
    broker.is_reachable = False
    again = RunningProducer(tmp_path / "source", tmp_path / "state", broker, watch=MemoryWatch())
    for _ in range(3):
        again.step()
        again.skip(GONE_SECONDS)
    assert words(again) == {"paris": Word.BEHIND}
    assert again.board.status()["deaf"]["since"] is None
    again.crash()


def test_a_producer_that_does_not_lead_hears_nobody(tmp_path: Path, broker: MemoryBroker) -> None:
    producer = producing(tmp_path, broker)
    broker.holder = "mars:7"
    producer.step()
    producer.skip(1.0)
    producer.step()
    assert producer.board.status()["deaf"]["phase"] == "held"
    assert producer.board.status()["deaf"]["detail"] == "mars:7"
    producer.crash()


def test_a_broker_that_takes_nothing_takes_no_reports(
    tmp_path: Path, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = producing(tmp_path, broker)
    say(producer, "paris")
    blocked = Link(Phase.BLOCKED, "low on memory")
    monkeypatch.setattr(type(producer.publisher), "link", property(lambda _: blocked))
    for _ in range(3):
        producer.step()
        producer.skip(GONE_SECONDS)
    assert words(producer) == {"paris": Word.EQUAL}
    assert producer.board.status()["deaf"]["phase"] == "blocked"
    producer.crash()


def test_one_that_was_added_has_a_queue_at_once_and_is_missed_after_ten_minutes(
    tmp_path: Path, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = producing(tmp_path, broker)
    producer.pipeline.members.add("rome", {"region": "it"}, producer.now())
    assert "rome" in broker.queues
    assert words(producer) == {"rome": Word.NEW}
    producer.step()
    assert GONE_ALARM not in producer.alarms()
    later = time.time() + NEW_LIMIT_SECONDS + 1
    monkeypatch.setattr(producer.pipeline.members, "_clock", lambda: later)
    producer.skip(GONE_SECONDS)
    producer.step()
    assert "rome" in producer.board.alarms()[GONE_ALARM].what
    producer.crash()


def test_one_that_is_forgotten_loses_its_queue_but_not_while_it_speaks(tmp_path: Path, broker: MemoryBroker) -> None:
    producer = producing(tmp_path, broker)
    say(producer, "paris")
    members = producer.pipeline.members
    with pytest.raises(StoppedError, match="treecast replica forget paris"):
        members.forget("paris", producer.now())
    with pytest.raises(SettingError, match="treecast replica list"):
        members.forget("nobody", producer.now())
    producer.skip(GONE_SECONDS)
    members.see(producer.now())
    members.forget("paris", producer.now())
    assert members.seen.view.replicas == ()
    assert "paris" not in broker.queues
    assert words(producer) == {}
    producer.crash()
    again = producing(tmp_path, broker)
    assert words(again) == {}
    again.crash()


def test_a_queue_that_the_broker_never_heard_to_drop_goes_with_the_next_start(
    tmp_path: Path, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was away then, and what was to be told to it ended with the process. Who is back keeps its queue."""
    producer = producing(tmp_path, broker)
    for name in ("paris", "rome"):
        say(producer, name)
    producer.skip(GONE_SECONDS)
    with monkeypatch.context() as away:
        away.setattr(MemoryPublisher, "drop_queue", lambda *_: None)
        for name in ("paris", "rome"):
            producer.pipeline.members.forget(name, producer.now())
    say(producer, "rome")
    producer.crash()
    assert set(broker.queues) >= {"paris", "rome"}
    again = producing(tmp_path, broker)
    again.skip(1.0)
    again.step()
    assert set(broker.queues) & {"paris", "rome"} == {"rome"}
    again.crash()


def test_metrics_show_who_is_there_and_nobody_who_is_forgotten(tmp_path: Path, broker: MemoryBroker) -> None:
    """With the next scrape."""
    producer = producing(tmp_path, broker)
    say(producer, "paris", labels="region=eu")
    say(producer, "rome", unmet_problem=2)
    members = producer.pipeline.members

    def told() -> set[str]:
        producer.skip(1.0)
        producer.step()
        shown = fleet_figures.tables(members.seen.view, 120.0)
        return {row.labels["replica"] for rows in shown.values() for row in rows if "replica" in row.labels}

    assert told() == {"paris", "rome"}
    producer.skip(GONE_SECONDS)
    members.forget("paris", producer.now())
    assert told() == {"rome"}
    producer.crash()


def test_an_ephemeral_one_goes_by_itself_and_its_queue_too(tmp_path: Path, broker: MemoryBroker) -> None:
    producer = producing(tmp_path, broker)
    say(producer, "pod-1", ephemeral=True)
    say(producer, "paris")
    producer.skip(GONE_SECONDS)
    producer.step()
    assert words(producer) == {"paris": Word.GONE}
    producer.skip(EPHEMERAL_LIFE_SECONDS)
    producer.step()
    assert "pod-1" not in broker.queues
    assert "paris" in broker.queues
    producer.crash()
