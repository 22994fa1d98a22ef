"""A replica that keeps mass deletes of which the master does not know what to think, with real processes and a person's words."""

import json
import shutil
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.services import Fleet, Service, alarms, stop, treecast
from tests.transports import embedded_url
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)

FILES = 200
GONE = 60
LIMIT = "--hold=20,10%,50%"
NO_LIMIT = "--hold=off"


@pytest.fixture
def fleet(make_fleet: MakeFleet, fast_place: Path) -> Fleet:
    """Two replicas with a small limit, and a producer with none, which lost its journal and a third of its source.

    Nobody was there to compare with when it started anew, so it releases nothing.
    """
    fleet = make_fleet(embedded_url(fast_place / "queue.db"), replicas=("a", "b"))
    (fleet.source / "d").mkdir()
    for number in range(FILES):
        (fleet.source / "d" / f"{number:03}").write_text(f"content {number}")
    start(fleet)
    fleet.settle()
    for service in (*fleet.consumers.values(), fleet.producer):
        stop(service)
    shutil.rmtree(fleet.producer.state)
    for name in gone():
        (fleet.source / name).unlink()
    fleet.producer.start(NO_LIMIT)
    eventually(lambda: fleet.producer.status().get("state") == "leading", 60, "it leads")
    return fleet


def start(fleet: Fleet) -> None:
    fleet.producer.start(NO_LIMIT)
    start_replicas(fleet)


def start_replicas(fleet: Fleet) -> None:
    for consumer in fleet.consumers.values():
        consumer.start(LIMIT)


def gone() -> list[str]:
    """The files that the master deleted."""
    return [f"d/{number:03}" for number in range(GONE)]


def kept(replica: Service) -> list[str]:
    """Those of them that are on its disk."""
    return [name for name in gone() if (replica.root / name).exists()]


def held(replica: Service) -> int:
    """How many paths it says to be held."""
    return int(replica.status().get("unmet", {}).get("held", 0))


def check_held(replica: Service) -> None:
    """It keeps them all, says so, and does not claim to be equal."""
    assert kept(replica) == gone()
    assert not replica.is_agreed
    assert "treecast hold release" in alarms(replica)["hold"]
    told = json.loads(treecast(replica, "hold", "show", "-n", "0", "--json"))
    assert (told["held"], told["paths"]) == (GONE, gone())


def write_to_all(fleet: Fleet, name: str) -> None:
    """Everything else flows."""
    (fleet.source / name).write_text(name)
    for replica in fleet.consumers.values():
        eventually((replica.root / name).exists, 30, f"{name} is on {replica}")


def test_what_a_replica_holds_goes_by_a_persons_word_there_or_by_one_on_the_master(fleet: Fleet) -> None:
    """It is durable; the word on one replica is not taken for the other's; in the end all are equal."""
    a, b = fleet.consumers.values()
    start_replicas(fleet)
    for replica in (a, b):
        eventually(lambda: held(replica) == GONE, 30, f"{replica} holds")  # noqa: B023
    write_to_all(fleet, "new")
    check_held(a)
    stop(a)
    a.start(LIMIT)
    eventually(lambda: "hold" in alarms(a), 30, "the alarm")
    check_held(a)
    assert f"{GONE} deletes are held since" in treecast(a, "hold", "list")

    assert f"{GONE} deletes go now" in treecast(a, "hold", "release")
    eventually(lambda: not kept(a), 30, "gone")
    eventually(lambda: fleet.producer.status()["replicas"]["a"]["agreed"], 30, "the master hears that it agrees")
    write_to_all(fleet, "newer")
    check_held(b)

    assert "what replicas hold of this tree goes" in treecast(fleet.producer, "hold", "release")
    eventually(lambda: not kept(b), 30, "gone")
    fleet.settle()
    fleet.check_equal()
    assert not alarms(a)
    assert not alarms(b)
    assert "nothing is held" in treecast(b, "hold", "list")
