"""The process that makes answers, beside a real producer: its death does not end a first copy, and it ends with the producer."""

import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.services import Service
from tests.waiting import eventually, is_running

pytestmark = pytest.mark.timeout(120)


def test_killed_in_a_first_copy_that_completes_and_gone_with_a_producer_that_is_killed(
    make_fleet: MakeFleet, fast_place: Path
) -> None:
    fleet = make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=("a",))
    for number in range(2000):
        (fleet.source / f"file-{number}").write_bytes(os.urandom(1000))
    target = fleet.targets[0]
    fleet.producer.start("--bandwidth=1MB")
    eventually(lambda: fleet.producer.is_ready, 30, "ready")
    assert children(fleet.producer) == [], "a producer that nobody asks has none"
    fleet.consumers["a"].start()

    eventually(lambda: len(os.listdir(target)) > 100, 30, "the copy has begun")
    (first,) = children(fleet.producer)
    os.kill(first, signal.SIGKILL)
    assert len(os.listdir(target)) < 1500, "it was in the middle"
    fleet.settle()
    fleet.check_equal()

    (second,) = children(fleet.producer)
    assert second != first
    assert fleet.producer.metrics()['treecast_answers_total{kind="bucket"}'] > 100
    fleet.producer.kill()
    eventually(lambda: not is_running(second), 30, "nothing is left")


def children(service: Service) -> list[int]:
    """Ids of the processes that it started."""
    return [int(word) for word in Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()]
