"""What happens to RabbitMQ while a fleet runs: queues that are not there yet, deleted or purged, and a broker that is away."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.entries import Position
from common.messages import Batch, Heartbeat
from common.wire.codec import decode_downstream
from tests.acceptance.conftest import MakeFleet
from tests.rabbit import PrivateRabbit, needs_rabbit
from tests.services import Listener, Service, delete_queue, position_in, purge_queue, treecast, waiting_in_queue
from tests.waiting import eventually

pytestmark = [*needs_rabbit, pytest.mark.timeout(300)]

CHANGES = 1000
STOP_SECONDS = 5.0
SENTINEL_EVENTS = 2
"""It may be seen empty before it is seen written."""


def test_a_consumer_before_its_producer_and_a_queue_that_is_deleted(make_fleet: MakeFleet, rabbit_url: str) -> None:
    """Whatever is missing on the broker, the replica waits for it, comes back by itself, and is level."""
    fleet = make_fleet(rabbit_url, replicas=("a", "b"))
    early, other = fleet.consumers["a"], fleet.consumers["b"]
    write_files(fleet.source, 100)
    early.start()
    eventually(lambda: phase(early) == "missing", 20, "the early consumer misses its queue")
    assert early.metrics()["treecast_agreed"] == 0
    assert not early.is_ready
    fleet.producer.start()
    other.start()
    fleet.settle()
    fleet.check_equal()

    delete_queue(rabbit_url, fleet.tree, "a")
    write_files(fleet.source, 50, "after the queue was deleted")
    (fleet.source / "directory-1/file-1").unlink()
    fleet.settle()
    fleet.check_equal()
    assert phase(early) == "open"
    assert early.is_ready


def test_a_queue_that_is_purged_leaves_a_gap_that_is_synced(make_fleet: MakeFleet, rabbit_url: str) -> None:
    """1,000 changes flow meanwhile; the hole is found, and its replica alone has to ask."""
    fleet = make_fleet(rabbit_url, replicas=("a", "b")).start()
    write_files(fleet.source, 100)
    fleet.settle()
    with standing_still(fleet.consumers["a"]):
        for number in range(CHANGES):
            (fleet.source / f"directory-{number % 10}/change-{number % 300}").write_text(str(number))
            # Slower than the linger, so that there are more batches than the broker hands out unsettled.
            time.sleep(0.003)
        eventually(lambda: waiting_in_queue(rabbit_url, fleet.tree, "a"), 20, "messages wait in the queue")
        assert purge_queue(rabbit_url, fleet.tree, "a") > 0
        (fleet.source / "directory-2/file-2").unlink()
    fleet.settle()
    fleet.check_equal()
    assert fleet.consumers["a"].metrics()["treecast_gaps_total"] >= 1
    assert fleet.consumers["b"].metrics()["treecast_gaps_total"] == 0
    assert not (fleet.targets[0] / "directory-2/file-2").exists()


def test_a_broker_that_is_away_for_a_while(make_fleet: MakeFleet, private_rabbit: PrivateRabbit) -> None:
    """Replicas stay ready, one of them restarted meanwhile too; changes wait, those that were numbered too; all arrive.

    The master says that it hears nobody, and calls nobody gone."""
    fleet = make_fleet(private_rabbit.url, replicas=("a", "b")).start()
    write_files(fleet.source, 100)
    fleet.settle()
    private_rabbit.stop()
    try:
        write_files(fleet.source, 200, "while the broker was away")
        (fleet.source / "directory-3/file-3").unlink()
        restarted = fleet.consumers["b"]
        restarted.ask_to_stop()
        assert restarted.wait(10) == 0
        restarted.start()
        eventually(lambda: restarted.is_ready, 20, "a replica that has its copy is ready without a broker")
        assert fleet.consumers["a"].is_ready
        assert fleet.producer.page("/healthz")[0] == 200
        for where in ([], ["--url", fleet.producer.url]):
            first = treecast(fleet.producer, "status", *where, code=1).splitlines()[0]
            assert re.match("nothing is heard since .*: the broker is away; as it was heard last: ", first), first
            assert "gone" not in first
        assert fleet.producer.metrics()["treecast_listening"] == 0
    finally:
        private_rabbit.start()
    fleet.settle()
    fleet.check_equal()
    assert fleet.producer.metrics()["treecast_listening"] == 1
    assert "nothing is heard" not in treecast(fleet.producer, "status")
    assert fleet.producer.metrics()["treecast_unconfirmed_batches"] == 0


def test_what_no_broker_confirmed_is_published_again_after_a_crash(
    make_fleet: MakeFleet, private_rabbit: PrivateRabbit
) -> None:
    """Numbered, handed to a broker that hangs and dies with it, and the producer dies too: its next run finds it in the outbox.

    Meanwhile a replica is stopped: that the broker does not answer keeps nobody.
    """
    fleet = make_fleet(private_rabbit.url, replicas=("a",)).start()
    write_files(fleet.source, 20)
    fleet.settle()
    before = fleet.producer.position
    private_rabbit.freeze()
    try:
        write_files(fleet.source, 20, "confirmed by nobody")
        eventually(lambda: unconfirmed_events(fleet.producer, before) == 20, 20, "all are numbered, none is confirmed")
        fleet.producer.kill()
        fleet.consumers["a"].ask_to_stop()
        assert fleet.consumers["a"].wait(STOP_SECONDS) == 0
    finally:
        private_rabbit.kill()
        private_rabbit.start()
    with Listener(private_rabbit.url, fleet.tree) as listener:
        fleet.start()
        fleet.settle()
        heard = [decode_downstream(body, fleet.tree) for body in listener.heard()]
    fleet.check_equal()
    stream = [message for message in heard if isinstance(message, Batch | Heartbeat)]
    left = [batch for batch in stream if batch.lineage.epoch == before.epoch and isinstance(batch, Batch)]
    assert sum(len(batch.events) for batch in left) == 20
    assert stream[: len(left)] == left, "what was left goes first, in its own epoch"
    after, replica = fleet.producer.position, fleet.consumers["a"].metrics()
    assert after.epoch > before.epoch
    assert after.sequence <= before.sequence + 20 + SENTINEL_EVENTS, "nothing but the sentinel was numbered anew"
    assert (
        replica["treecast_gaps_total"] == replica["treecast_forks_total"] == replica["treecast_divergences_total"] == 0
    )


def unconfirmed_events(producer: Service, before: Position) -> int:
    """How many events were numbered since then, while at least one batch waits for its confirm."""
    status = producer.status()
    return position_in(status).sequence - before.sequence if status.get("unconfirmed") else 0


def write_files(source: Path, files: int, text: str = "at first") -> None:
    """Each at once, written outside the tree: one change, one event."""
    beside = source.parent / "being-written"
    for number in range(files):
        directory = source / f"directory-{number % 10}"
        directory.mkdir(exist_ok=True)
        beside.write_text(f"{text} {number}")
        beside.rename(directory / f"file-{number}")


def phase(consumer: Service) -> str:
    """How it says to be linked to its queue."""
    return str(consumer.status().get("link", {}).get("phase", ""))


@contextmanager
def standing_still(service: Service) -> Iterator[None]:
    """The process gets no turn meanwhile, as on a machine that hangs."""
    os.kill(service.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(service.pid, signal.SIGCONT)
