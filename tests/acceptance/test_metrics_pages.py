"""What the listener says from the first second on, whatever the process is doing, on both transports."""

import os
import re
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.rabbit import free_ports, needs_rabbit
from tests.services import Fleet, Service
from tests.transports import embedded_url
from tests.unit.test_monitoring import metrics_in, rules
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)

ANSWERS_SECONDS = 5.0
PROMISED = (
    "treecast_position",
    "treecast_agreed",
    "treecast_dirty_paths",
    "treecast_unconfirmed_batches",
    "treecast_watch_overflows_total",
    "treecast_heartbeat_age_seconds",
)


@pytest.mark.parametrize("kind", ["embedded", "no broker", pytest.param("rabbitmq", marks=needs_rabbit)])
def test_the_promised_metrics_are_there_from_the_start(
    make_fleet: MakeFleet, request: pytest.FixtureRequest, fast_place: Path, kind: str
) -> None:
    """Each once and without a label, within seconds of the start, during scan and first copy, and without a broker too."""
    fleet = make_fleet(broker_url(kind, request, fast_place), replicas=("a",))
    fill(fleet.source)
    for service in fleet.services:
        service.start()
    for service in fleet.services:
        eventually(service.metrics, ANSWERS_SECONDS, f"{service} answers")
    while not is_done(fleet, kind):
        for service in fleet.services:
            assert set(PROMISED) <= service.metrics().keys()
            assert service.page("/healthz")[0] == 200
    for service in fleet.services:
        check_page(service.page("/metrics")[1])
        assert service.is_ready == (kind != "no broker")
    if kind != "no broker":
        fleet.settle()
        check_level(fleet)


def test_metrics_answer_while_a_target_is_adopted(make_fleet: MakeFleet, fast_place: Path) -> None:
    """The scan of a large target takes its time; the page does not."""
    fleet = make_fleet(embedded_url(fast_place / "queue.db"), replicas=("a",))
    fill(fleet.source)
    fill(fleet.targets[0])
    consumer = fleet.consumers["a"].start("--adopt")
    eventually(consumer.metrics, ANSWERS_SECONDS, "it answers")
    assert not consumer.is_ready
    fleet.producer.start()
    fleet.settle()
    assert consumer.is_ready


def test_one_scrape_shows_the_fleet_and_each_side_its_stages(make_fleet: MakeFleet, fast_place: Path) -> None:
    """Each replica has its rows with the producer; every stage counts the changes that passed it, and little time; and what the
    alerts ask for is told by one process or another."""
    more = ("--labels=region=eu",)
    fleet = make_fleet(embedded_url(fast_place / "queue.db"), replicas=("a", "b"))
    fleet.producer.start()
    for consumer in fleet.consumers.values():
        consumer.start(*more)
    fleet.settle()
    for number in range(20):
        (fleet.source / f"file-{number}").write_text("new")
    fleet.settle()
    producer, replica = fleet.producer, fleet.consumers["a"]
    eventually(lambda: states(producer) == {"a": "equal", "b": "equal"}, ANSWERS_SECONDS * 2, "both are equal")
    page = producer.metrics()
    assert page['treecast_replica_position{replica="a"}'] == producer.position.sequence
    assert page['treecast_replica_lag_seconds{replica="a"}'] < 1
    assert page['treecast_replica_labels{label_region="eu",replica="b"}'] == 1
    assert page['treecast_replicas{state="equal"}'] == 2
    assert page["treecast_leading"] == 1
    check_stages(producer, ("seen_to_published", "published_to_confirmed"))
    check_stages(replica, ("published_to_delivered", "delivered_to_visible", "visible_to_durable"))
    told = {name.partition("{")[0] for service in (producer, replica) for name in service.metrics()}
    # An alarm has no row before it was on once; no replica here has a hook.
    asked = {name for rule in rules() for name in metrics_in(rule["expr"])}
    assert asked - told == {"treecast_alarm", "treecast_hook_pending_seconds"}


def states(producer: Service) -> dict[str, str]:
    rows = [re.search(r'treecast_replica_state{replica="(.+)",state="(.+)"}', name) for name in producer.metrics()]
    return {row[1]: row[2] for row in rows if row is not None}


def check_stages(service: Service, stages: tuple[str, ...]) -> None:
    """These and no others; of at least the 20 files, none of which took more than seconds."""
    page = service.metrics()
    counts = {name: value for name, value in page.items() if name.startswith("treecast_stage_seconds_count")}
    assert counts.keys() == {f'treecast_stage_seconds_count{{stage="{stage}"}}' for stage in stages}
    for stage in stages:
        events = page[f'treecast_stage_seconds_count{{stage="{stage}"}}']
        assert events >= 20
        assert 0 < page[f'treecast_stage_seconds_sum{{stage="{stage}"}}'] < 10 * events


def broker_url(kind: str, request: pytest.FixtureRequest, place: Path) -> str:
    if kind == "embedded":
        return embedded_url(place / "queue.db")
    if kind == "no broker":
        return f"amqp://127.0.0.1:{free_ports(1)[0]}/"
    url: str = request.getfixturevalue("rabbit_url")
    return url


def fill(root: Path) -> None:
    for number in range(3000):
        directory = root / f"directory-{number % 30}"
        directory.mkdir(exist_ok=True)
        (directory / f"file-{number}").write_text(f"content {number}")
        os.utime(directory / f"file-{number}", (1_700_000_000, 1_700_000_000))


def is_done(fleet: Fleet, kind: str) -> bool:
    """The first copy is; without a broker, the producer's scan is."""
    if kind == "no broker":
        return bool(fleet.producer.status().get("base_complete"))
    return fleet.consumers["a"].is_ready and fleet.producer.is_ready


def check_page(text: str) -> None:
    lines = text.splitlines()
    for name in PROMISED:
        assert sum(line.partition(" ")[0] == name for line in lines) == 1, name
        assert not any(line.startswith(f"{name}{{") for line in lines), name
    assert not [line for line in lines if "_created" in line]


def check_level(fleet: Fleet) -> None:
    producer, consumer = fleet.producer.metrics(), fleet.consumers["a"].metrics()
    assert producer["treecast_position"] == consumer["treecast_position"] == fleet.producer.position.sequence
    assert producer["treecast_agreed"] == consumer["treecast_agreed"] == 1
    assert producer["treecast_dirty_paths"] == producer["treecast_unconfirmed_batches"] == 0
    assert consumer["treecast_heartbeat_age_seconds"] < 60
