"""What the listener says from the first second on, whatever the process is doing, on both transports."""

import os
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.rabbit import free_ports, needs_rabbit
from tests.services import Fleet
from tests.transports import embedded_url
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
