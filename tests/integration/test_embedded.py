"""The embedded transport where it differs from a broker: one file, limits of its own, processes that die, disks that fill."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import StateError, UnreachableError
from common.transport import embedded_store
from common.transport.broker import open_broker
from common.transport.embedded import EmbeddedBroker
from common.transport.embedded_places import Places
from common.transport.embedded_publisher import EmbeddedPublisher
from common.transport.embedded_store import Append, Make, Store
from common.transport.limits import QueueLimits
from common.transport.ports import Outgoing, Phase, Route
from tests.transports import (
    CLOSE_SECONDS,
    Ports,
    embedded_url,
    no_wake,
    publish_and_confirm,
    receive,
    settle_all,
)
from tests.waiting import eventually, scaled

MIB = 1024 * 1024


class Clock:
    """Unix seconds that a test sets; each look takes `step_seconds`."""

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.now = 1_700_000_000.0
        self._step = step_seconds

    def __call__(self) -> float:
        self.now += self._step
        return self.now


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def ports(place: Path) -> Iterator[Ports]:
    made = Ports(embedded_url(place), "tree", is_embedded=True)
    yield made
    made.close()


def store_with_queue(path: Path, *, limits: QueueLimits | None = None, clock: Clock | None = None) -> Store:
    store = Store(path, limits or QueueLimits(), clock or Clock())
    store.carry_out([Make("q", also="all")])
    return store


def in_queue(store: Store, name: str = "q") -> list[bytes]:
    rows = store.fetch(name, "all", store.cursor(name) or 0, count=10_000, limit_bytes=1 << 40)
    return [row.body for row in rows]


def append(store: Store, *found: bytes) -> None:
    store.carry_out([Append("all", body) for body in found])


def test_beyond_the_limit_in_bytes_the_oldest_go(place: Path) -> None:
    store = store_with_queue(place, limits=QueueLimits(limit_bytes=4 * MIB))
    for number in range(20):
        append(store, b"%02d" % number + bytes(MIB // 2))
    left = [body[:2] for body in in_queue(store)]
    assert left == [b"%02d" % number for number in range(20)][-len(left) :]
    assert 5 <= len(left) <= 8
    store.close()
    assert place.stat().st_size <= 5 * MIB


def test_a_message_larger_than_the_limit_stands_alone(place: Path) -> None:
    store = store_with_queue(place, limits=QueueLimits(limit_bytes=MIB))
    append(store, b"small")
    append(store, bytes(2 * MIB))
    assert [len(body) for body in in_queue(store)] == [2 * MIB]
    store.close()


def test_what_is_older_than_the_limit_goes(place: Path) -> None:
    clock = Clock()
    store = store_with_queue(place, limits=QueueLimits(limit_seconds=100), clock=clock)
    append(store, b"old", b"old too")
    clock.now += 60
    append(store, b"young")
    clock.now += 60
    append(store, b"new")
    assert in_queue(store) == [b"young", b"new"]
    store.close()


@pytest.mark.parametrize("jump_seconds", [-3600.0, 3600.0])
def test_a_clock_that_jumps_by_an_hour_loses_nothing(place: Path, jump_seconds: float) -> None:
    clock = Clock()
    store = store_with_queue(place, clock=clock)
    append(store, b"before")
    clock.now += jump_seconds
    append(store, b"after")
    assert in_queue(store) == [b"before", b"after"]
    store.close()


def test_what_every_queue_is_past_is_forgotten_and_its_room_used_again(place: Path) -> None:
    store = store_with_queue(place, clock=Clock(step_seconds=2.0))
    store.carry_out([Make("slow", also="all")])
    for round_ in range(40):
        append(store, bytes(MIB))
        for name in ("q", "slow"):
            rows = store.fetch(name, "all", store.cursor(name) or 0, count=9, limit_bytes=99 * MIB)
            # The slow one is always one behind.
            done = rows[-1 if name == "q" else 0]
            if name == "q" or round_ > 0:
                store.move_cursor(name, done.id)
    store.close()
    assert place.stat().st_size < 6 * MIB


def test_a_message_waits_for_the_slowest_queue_that_it_is_for(place: Path) -> None:
    store = store_with_queue(place, clock=Clock(step_seconds=2.0))
    store.carry_out([Make("away", also="all")])
    append(store, b"for both")
    store.move_cursor("q", 1)
    store.carry_out([Append("q", b"for q alone"), Append("away", b"for away alone")])
    assert in_queue(store) == [b"for q alone"]
    assert in_queue(store, "away") == [b"for both", b"for away alone"]
    store.close()


def test_an_emptied_log_never_uses_an_id_again(place: Path) -> None:
    clock = Clock(step_seconds=2.0)
    store = store_with_queue(place, clock=clock)
    append(store, b"1", b"2", b"3")
    store.move_cursor("q", 3)
    store.carry_out([])
    store.close()
    with sqlite3.connect(place) as raw:
        assert raw.execute("SELECT count(*) FROM message").fetchone() == (0,)
    raw.close()
    store = Store(place, QueueLimits(), clock)
    append(store, b"4")
    assert store.fetch("q", "all", 3, count=9, limit_bytes=MIB)[0] == (4, b"4")
    store.close()


def test_messages_to_the_producer_that_expired_are_forgotten(place: Path) -> None:
    clock = Clock()
    store = store_with_queue(place, clock=clock)
    store.carry_out([Append("up", b"report", life_seconds=60.0, needs_reader=False)])
    clock.now += 61
    store.carry_out([])
    store.close()
    with sqlite3.connect(place) as raw:
        assert raw.execute("SELECT count(*) FROM message").fetchone() == (0,)
    raw.close()


def test_the_file_says_what_it_is_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "queue.db"
    Store(path).close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA application_id").fetchone() == (embedded_store.APPLICATION_ID,)
        assert raw.execute("PRAGMA user_version").fetchone() == (embedded_store.SCHEMA_VERSION,)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.write_bytes(b"not a database" * 1000), id="garbage"),
        pytest.param(lambda path: _execute(path, "CREATE TABLE mine (id)"), id="of another program"),
        pytest.param(lambda path: _execute(path, "PRAGMA application_id = 7"), id="with another's id"),
        pytest.param(lambda path: _execute(path, "PRAGMA user_version = 99", is_ours=True), id="newer"),
    ],
)
def test_a_file_that_is_no_queue_of_ours_is_refused_and_left_alone(place: Path, make: object) -> None:
    assert callable(make)
    make(place)
    before = place.read_bytes()
    with pytest.raises(StateError, match=r"queue\.db"):
        open_broker(embedded_url(place), "tree")
    assert place.read_bytes() == before


def _execute(path: Path, statement: str, *, is_ours: bool = False) -> None:
    if is_ours:
        Store(path).close()
    raw = sqlite3.connect(path)
    raw.execute(statement)
    raw.commit()
    raw.close()


def test_a_broker_makes_nothing_before_it_is_used(place: Path) -> None:
    open_broker(embedded_url(place), "tree")
    assert not place.exists()


OPEN = """
import pathlib, sys
from common.transport.embedded_store import Append, Make, Store
store = Store(pathlib.Path(sys.argv[1]))
store.carry_out([Make("q", "all"), Append("all", b"x")])
store.close()
"""


def test_many_openers_at_once_make_one_queue(place: Path) -> None:
    openers = [subprocess.Popen([sys.executable, "-c", OPEN, str(place)]) for _ in range(6)]
    assert [opener.wait(scaled(30)) for opener in openers] == [0] * 6
    store = Store(place)
    assert store.fetch("q", "all", 0, count=9, limit_bytes=MIB)[-1].id == 6
    store.close()


def test_a_removed_file_is_noticed_and_everything_begins_anew(ports: Ports, place: Path) -> None:
    publisher = ports.producer("a")
    subscriber = ports.replica("a")
    publish_and_confirm(publisher, _event(b"one", 1))
    assert settle_all(subscriber, 1) == [b"one"]
    for left in place.parent.glob("queue.db*"):
        if left.is_file():
            left.unlink()
    eventually(lambda: subscriber.link.phase is Phase.MISSING)
    publisher.make_queue("a")
    eventually(lambda: subscriber.link.is_open)
    publish_and_confirm(publisher, _event(b"two", 2))
    assert settle_all(subscriber, 1) == [b"two"]


class Disk:
    """Opens stores that take no more than `pages` pages."""

    pages = 16

    def open(self, path: Path) -> Store:
        store = Store(path)
        store._db.execute(f"PRAGMA max_page_count = {self.pages}")
        return store


def test_a_full_disk_blocks_and_nothing_is_lost_when_there_is_room_again(place: Path, ports: Ports) -> None:
    subscriber = ports.replica("a")
    disk = Disk()
    publisher = EmbeddedPublisher(Places(place, "tree"), lambda: disk.open(place), wake=no_wake, declare=True)
    try:
        publisher.make_queue("a")
        eventually(lambda: subscriber.link.is_open)
        for token in range(1, 5):
            publisher.publish(_event(b"%d" % token + bytes(100_000), token))
        eventually(lambda: publisher.link.phase is Phase.BLOCKED)
        assert "full" in publisher.link.detail
        publisher.publish(_event(b"best effort"))
        disk.pages = 1_000_000
        assert [body[:1] for body in settle_all(subscriber, 4)] == [b"1", b"2", b"3", b"4"]
        eventually(lambda: publisher.in_flight() == (0, 0))
        assert publisher.confirmed() == [1, 2, 3, 4]
        assert publisher.link.is_open
        assert subscriber.receive(scaled(0.1)) is None
    finally:
        publisher.close(CLOSE_SECONDS)


def test_a_log_that_another_locks_for_long_is_waited_for(
    place: Path, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_store, "BUSY_SECONDS", 0.05)
    publisher = ports.producer("a")
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    publisher.publish(_event(b"best effort"))
    publisher.publish(_event(b"patience", 1))
    eventually(lambda: "locked" in publisher.link.detail)
    other.execute("ROLLBACK")
    other.close()
    assert settle_all(ports.replica("a"), 1) == [b"patience"]
    eventually(lambda: publisher.confirmed() == [1])
    assert publisher.waiting_bytes() == 0


def test_what_waited_for_a_place_arrives_when_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "place").touch()
    broker = EmbeddedBroker(tmp_path / "place" / "queue.db", "tree")
    publisher = broker.publisher(wake=no_wake, declare=True)
    subscriber = broker.replica_subscriber("a", wake=no_wake)
    try:
        eventually(lambda: publisher.link.detail and subscriber.link.detail)
        publisher.publish(_event(b"best effort"))
        publisher.make_queue("a")
        publisher.publish(_event(b"durable", 1))
        (tmp_path / "place").unlink()
        assert settle_all(subscriber, 1) == [b"durable"]
    finally:
        publisher.close(CLOSE_SECONDS)
        subscriber.close(CLOSE_SECONDS)


PUBLISH = """
import sys, itertools, time
from common.transport.broker import open_broker
from common.transport.ports import Outgoing, Route
publisher = open_broker(sys.argv[1], "tree").publisher(wake=lambda: None, declare=True)
publisher.make_queue("a")
for token in itertools.count(1):
    publisher.publish(Outgoing(Route.EVENTS, b"%d" % token + bytes(1000), token=token))
    while publisher.in_flight()[0] >= 64:
        time.sleep(0.0005)
    for confirmed in publisher.confirmed():
        print(confirmed, flush=True)
"""

CONSUME = """
import sys, time
from common.transport.broker import open_broker
subscriber = open_broker(sys.argv[1], "tree").replica_subscriber("a", wake=lambda: None)
count = int(sys.argv[2])
while count:
    delivery = subscriber.receive(1)
    if delivery is not None:
        subscriber.settle(delivery)
        print(delivery.body.decode(), flush=True)
        count -= 1
while True:
    delivery = subscriber.receive(1)
"""


def test_what_a_killed_publisher_saw_confirmed_arrives(place: Path, ports: Ports) -> None:
    subscriber = ports.replica("a")
    process = subprocess.Popen([sys.executable, "-c", PUBLISH, ports.url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        for _ in range(300):
            process.stdout.readline()
    finally:
        process.kill()
        rest, _ = process.communicate()
    # The kill may have cut its last line.
    confirmed = 300 + max(0, len(rest.split(b"\n")) - 1)
    found = []
    while (delivery := subscriber.receive(scaled(0.5))) is not None:
        found.append(int(delivery.body.rstrip(b"\0")))
        subscriber.settle(delivery)
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= confirmed
    publish_and_confirm(ports.producer(), _event(b"next", 1))
    assert settle_all(subscriber, 1) == [b"next"]


def test_what_a_killed_consumer_had_not_settled_comes_again(ports: Ports) -> None:
    publisher = ports.producer("a")
    sent = [b"%d" % number for number in range(100)]
    publish_and_confirm(publisher, *(_event(body, token) for token, body in enumerate(sent, start=1)))
    process = subprocess.Popen([sys.executable, "-c", CONSUME, ports.url, "30"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert [process.stdout.readline().strip() for _ in range(30)] == sent[:30]
        successor = ports.replica("a")
        eventually(lambda: successor.link.phase is Phase.HELD)
        assert str(process.pid) in successor.link.detail
    finally:
        process.kill()
        process.communicate()
    eventually(lambda: successor.link.is_open)
    first = receive(successor, 1)[0]
    again = sent.index(first.body)
    # Acks of its last moments may be lost; what it had not settled may not.
    assert again <= 30
    successor.settle(first)
    assert settle_all(successor, 99 - again) == sent[again + 1 :]


def test_the_cursor_is_written_soon_after_the_last_ack(ports: Ports, place: Path) -> None:
    publisher = ports.producer("a")
    subscriber = ports.replica("a")
    publish_and_confirm(publisher, _event(b"one", 1))
    settle_all(subscriber, 1)
    watcher = Store(place)
    queue = Places(place, "tree").replica_queue("a")
    eventually(lambda: watcher.cursor(queue) == 1, timeout_seconds=2)
    watcher.close()


def test_an_idle_pair_of_ports_takes_next_to_no_time(ports: Ports) -> None:
    publisher = ports.producer("a")
    subscriber = ports.replica("a")
    eventually(lambda: subscriber.link.is_open)
    before = time.process_time()
    assert subscriber.receive(1.0) is None
    used_seconds = time.process_time() - before
    assert used_seconds < 0.05
    publish_and_confirm(publisher, _event(b"still awake", 1))
    assert settle_all(subscriber, 1) == [b"still awake"]


def test_where_there_are_no_named_pipes_messages_still_arrive(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no named pipes here")

    monkeypatch.setattr(os, "mkfifo", refuse)
    publisher = ports.producer("a")
    subscriber = ports.replica("a")
    eventually(lambda: subscriber.link.is_open)
    publish_and_confirm(publisher, _event(b"seen by looking", 1))
    assert settle_all(subscriber, 1) == [b"seen by looking"]


@pytest.mark.parametrize("method", ["fetch", "carry_out"])
def test_no_error_whatever_ends_a_ports_thread(method: str, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ended would be silence: the link open, and nothing ever comes."""
    publisher = ports.producer("a")
    subscriber = ports.replica("a")
    eventually(lambda: subscriber.link.is_open)
    real, failures = getattr(Store, method), [MemoryError("too much"), ValueError("never seen before")]

    def fail_first(self: Store, *args: object, **named: object) -> object:
        if failures:
            raise failures.pop()
        return real(self, *args, **named)

    monkeypatch.setattr(Store, method, fail_first)
    publish_and_confirm(publisher, _event(b"in spite of all", 1))
    assert settle_all(subscriber, 1) == [b"in spite of all"]
    assert not failures


def test_store_errors_are_ours(place: Path) -> None:
    place.mkdir()
    with pytest.raises(UnreachableError, match=r"queue\.db"):
        Store(place)


def _event(body: bytes, token: int = 0) -> Outgoing:
    return Outgoing(Route.EVENTS, body, token=token)
