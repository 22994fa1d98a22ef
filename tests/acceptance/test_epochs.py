"""Real processes: a lost journal costs no content, a wrong source waits for a person, and a place can be taken."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.services import Fleet, Service, stop, treecast
from tests.transports import embedded_url
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)

FILES = 6000
"""More than the hold's limit."""


def sync_bytes(service: Service) -> float:
    return sum(value for name, value in service.metrics().items() if name.startswith("treecast_sync_bytes_total"))


def test_a_lost_journal_sends_no_content_and_a_wrong_source_waits_for_a_person(
    make_fleet: MakeFleet, fast_place: Path
) -> None:
    fleet = make_fleet(embedded_url(fast_place / "queue.db"), replicas=("a",)).start()
    content = os.urandom(1000).hex()
    for number in range(FILES):
        (fleet.source / str(number)).write_text(f"{number} {content}")
    fleet.settle()
    producer, replica = fleet.producer, fleet.consumers["a"]
    before = sync_bytes(replica)
    _lose_journal(producer)
    producer.start()
    fleet.settle()
    assert sync_bytes(replica) - before < 100_000
    check_wrong_source(fleet, producer, replica)


def check_wrong_source(fleet: Fleet, producer: Service, replica: Service) -> None:
    _lose_journal(producer)
    moved = fleet.source.with_name("moved")
    fleet.source.rename(moved)
    fleet.source.mkdir()
    (fleet.source / "sentinel").write_text("another tree")
    producer.start()
    eventually(lambda: producer.status().get("state") == "doubting", 60, "it doubts")
    stop(producer)
    doubt = json.loads(treecast(producer, "epoch", "show", "--json"))["doubt"]
    assert (doubt["creates"], doubt["modifies"], doubt["deletes"]) == (0, 1, FILES)
    assert (replica.root / "17").exists()
    treecast(producer, "epoch", "start")  # noted for the next one
    producer.start()
    fleet.settle()
    assert sorted(path.name for path in replica.root.iterdir() if path.name != ".treecast") == ["sentinel"]


def _lose_journal(producer: Service) -> None:
    stop(producer)
    shutil.rmtree(producer.state)


def test_a_newcomer_takes_over_when_a_person_says_so(make_fleet: MakeFleet, fast_place: Path) -> None:
    """It is refused before that; the one that led ends with 4, and replicas follow the other."""
    fleet = make_fleet(embedded_url(fast_place / "queue.db"), replicas=("a",)).start()
    fleet.settle()
    first, newcomer = fleet.producer, fleet.another_producer("newcomer")
    fleet.others.append(newcomer.start())
    eventually(lambda: newcomer.status().get("state") == "waiting", 30, "the newcomer waits")
    assert str(first.pid) in treecast(newcomer, "epoch", "start", code=4)
    treecast(newcomer, "epoch", "start", "--take-over")
    assert first.wait(60) == 4
    assert "taken over" in first.log.splitlines()[-1]
    fleet.producer = newcomer
    fleet.settle()
    fleet.check_equal()
    assert "leads" in treecast(newcomer, "epoch", "show")
