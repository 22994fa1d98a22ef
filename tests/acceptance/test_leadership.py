"""Two producers on one tree: the one that leads goes on, the other publishes nothing and says who leads."""

import inspect
from pathlib import Path

import pytest

from common.entries import BEFORE_ALL
from producer.epochs import Lead
from producer.leading import Leading
from producer.pipeline import Pipeline
from producer.service import run
from tests.acceptance.conftest import MakeFleet
from tests.rabbit import needs_rabbit
from tests.services import Service, position_in
from tests.transports import embedded_url
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)


KINDS = ["embedded", pytest.param("rabbitmq", marks=needs_rabbit)]


def broker_of(kind: str, request: pytest.FixtureRequest, fast_place: Path) -> str:
    return embedded_url(fast_place / "queue.db") if kind == "embedded" else str(request.getfixturevalue("rabbit_url"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_newcomer_publishes_nothing_and_leads_when_the_other_is_gone(
    make_fleet: MakeFleet, request: pytest.FixtureRequest, fast_place: Path, kind: str
) -> None:
    """It names the other meanwhile; when that one is killed, it takes over at once, and nothing is missing."""
    fleet = make_fleet(broker_of(kind, request, fast_place), replicas=("a",)).start()
    (fleet.source / "file").write_text("content")
    fleet.settle()
    first, newcomer, follower = fleet.producer, fleet.another_producer("newcomer"), fleet.consumers["a"]
    fleet.others.append(newcomer.start())
    eventually(lambda: newcomer.status().get("state") == "waiting", 20, "the newcomer waits")
    eventually(lambda: str(first.pid) in newcomer.status()["link"]["detail"], 20, "it names the process that leads")
    for number in range(20):
        (fleet.source / f"while-two-run-{number}").write_text("once")
    fleet.settle()
    check_silent(newcomer)
    first.kill()
    (fleet.source / "file").unlink()
    eventually(lambda: newcomer.status().get("state") == "leading", 20, "the newcomer leads")
    fleet.producer = newcomer
    fleet.settle()
    fleet.check_equal()
    assert follower.position.epoch == newcomer.position.epoch


def check_silent(newcomer: Service) -> None:
    status, metrics = newcomer.status(), newcomer.metrics()
    assert metrics["treecast_events_published_total"] == metrics["treecast_unconfirmed_batches"] == 0
    assert position_in(status).sequence == BEFORE_ALL.sequence
    assert not status["ready"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_newcomer_gives_up_when_another_leads_for_too_long(
    make_fleet: MakeFleet, request: pytest.FixtureRequest, fast_place: Path, kind: str
) -> None:
    """It exits with 4, names the process that leads, and that one has noticed nothing."""
    fleet = make_fleet(broker_of(kind, request, fast_place), replicas=("a",)).start()
    fleet.settle()
    newcomer = fleet.another_producer("newcomer", program="tests.hasty_producer").start()
    fleet.others.append(newcomer)
    assert newcomer.wait(30) == 4
    last = newcomer.log.splitlines()[-1]
    assert last.startswith("treecast: ")
    assert str(fleet.producer.pid) in last
    assert fleet.producer.status()["state"] == "leading"
    fleet.settle()
    fleet.check_equal()


def test_too_long_is_a_minute_unless_a_test_says_so() -> None:
    """A half-open connection of a dead process may hold the queue for as long."""
    made = [inspect.signature(one).parameters["held_limit_seconds"] for one in (run, Pipeline, Leading, Lead)]
    assert [one.default for one in made] == [60.0] * 4
