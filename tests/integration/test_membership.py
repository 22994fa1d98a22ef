"""Who belongs to the fleet, in a producer that runs: durable, its queues with it, alarmed for when missed."""

import time
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingError, StoppedError
from common.messages import ReplicaState, Report
from common.wire import codec
from producer import fleet_figures
from producer.fleet_view import GONE_SECONDS, Word
from producer.membership import GONE_ALARM
from producer.roster import EPHEMERAL_LIFE_SECONDS, NEW_LIMIT_SECONDS
from tests.running_producer import RunningProducer
from tests.twins import MemoryBroker, MemoryWatch


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
    producer.skip(2.0)
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
    members.forget("paris", producer.now())
    assert "paris" not in broker.queues
    assert words(producer) == {}
    producer.crash()
    again = producing(tmp_path, broker)
    assert words(again) == {}
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
