"""RabbitMQ on its bad days: stopped, full, blocked, without what was there. On a real broker."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from common.transport import window
from common.transport.amqp import AmqpBroker
from common.transport.amqp_publisher import AmqpPublisher
from common.transport.amqp_subscriber import AmqpSubscriber
from common.transport.amqp_topology import Topology
from common.transport.ports import Delivery, Outgoing, Phase, Publisher, Route, Subscriber, Wake
from tests.rabbit import PrivateRabbit, needs_rabbit
from tests.waiting import eventually, scaled

pytestmark = [*needs_rabbit]

CLOSE_SECONDS = 5.0
MIB = 1024 * 1024


def no_wake() -> None:
    """For tests that look by themselves."""


class House:
    """A tree of its own on the private broker, the ports that a test makes there, and an administrator's channel."""

    def __init__(self, rabbit: PrivateRabbit, tree: str, stack: ExitStack) -> None:
        self.rabbit = rabbit
        self.tree = tree
        self.names = Topology(tree)
        self._stack = stack

    def publisher(self, *, url: str = "", declare: bool = True, wake: Wake = no_wake) -> AmqpPublisher:
        port = AmqpBroker(url or self.rabbit.url, self.tree).publisher(wake=wake, declare=declare)
        self._stack.callback(port.close, CLOSE_SECONDS)
        return port

    def producer(self, *replicas: str) -> AmqpPublisher:
        """An open publisher that has made these queues."""
        publisher = self.publisher()
        for replica in replicas:
            publisher.make_queue(replica)
        publish(publisher, 0, 1)
        eventually(publisher.confirmed)
        return publisher

    def replica(self, name: str, *, url: str = "") -> AmqpSubscriber:
        port = AmqpBroker(url or self.rabbit.url, self.tree).replica_subscriber(name, wake=no_wake)
        self._stack.callback(port.close, CLOSE_SECONDS)
        return port

    def upstream(self, holder: str, name_leader: Callable[[bytes], str | None] | None = None) -> AmqpSubscriber:
        broker = AmqpBroker(self.rabbit.url, self.tree, name_leader=name_leader)
        port = broker.upstream_subscriber(holder=holder, wake=no_wake)
        self._stack.callback(port.close, CLOSE_SECONDS)
        return port

    def admin(self) -> BlockingChannel:
        connection = pika.BlockingConnection(pika.URLParameters(self.rabbit.url))
        self._stack.callback(lambda: connection.close() if connection.is_open else None)
        return connection.channel()


@pytest.fixture
def house(private_rabbit: PrivateRabbit, request: pytest.FixtureRequest) -> Iterator[House]:
    """A tree named after the test."""
    tree = request.node.name.removeprefix("test_").replace("_", "-")[:60].rstrip("-")
    with ExitStack() as stack:
        yield House(private_rabbit, tree, stack)


def publish(publisher: Publisher, first: int, last: int) -> None:
    """Events whose body is their number, which is also the token; token 0 is best effort, so numbers begin behind `first`."""
    for number in range(first + 1, last + 1):
        publisher.publish(Outgoing(Route.EVENTS, b"%d" % number, token=number))


def received(subscriber: Subscriber, count: int) -> list[Delivery]:
    """So many deliveries, not settled."""
    found = [subscriber.receive(scaled(5)) for _ in range(count)]
    return [delivery for delivery in found if delivery is not None]


def confirmed(publisher: Publisher, count: int) -> list[int]:
    """So many tokens, as they are confirmed."""
    found: list[int] = []

    def is_there() -> bool:
        found.extend(publisher.confirmed())
        return len(found) >= count

    eventually(is_there, what=f"{count} confirms")
    return found


def numbers(subscriber: Subscriber, last: int, timeout_seconds: float = 20.0) -> list[int]:
    """What arrives, settled, until this number has."""
    found: list[int] = []

    def is_there() -> bool:
        while last not in found and (delivery := subscriber.receive(0.05)) is not None:
            found.append(int(delivery.body))
            subscriber.settle(delivery)
        return last in found

    eventually(is_there, timeout_seconds, what=f"number {last}")
    return found


def test_a_broker_that_restarts_while_we_publish_loses_nothing_and_keeps_the_order(house: House) -> None:
    publisher = house.producer("a")
    subscriber = house.replica("a")
    is_over = threading.Event()
    last = 1

    def feed() -> None:
        nonlocal last
        while not is_over.wait(0.002):
            if publisher.in_flight()[0] < 64:
                publish(publisher, last, last + 1)
                last += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    found = numbers(subscriber, 50)
    stale = subscriber.receive(scaled(5))
    house.rabbit.restart()
    eventually(lambda: publisher.link.is_open and subscriber.link.is_open, 20)
    assert stale is not None
    subscriber.settle(stale)
    found += numbers(subscriber, last + 50)
    is_over.set()
    feeder.join()
    found += numbers(subscriber, last) if last not in found else []
    assert list(dict.fromkeys(found)) == list(range(1, last + 1))
    eventually(lambda: publisher.in_flight() == (0, 0))
    assert sorted(publisher.confirmed()) == list(range(2, last + 1))


def test_one_queue_that_refuses_everything_keeps_nothing_from_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "NACKED_HOLDS_SECONDS", 1.0)
    publisher = house.producer("a")
    admin = house.admin()
    admin.confirm_delivery()  # the queue is full before we go on
    admin.queue_declare("refuses", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    admin.queue_bind("refuses", house.names.events, "")
    admin.basic_publish("", "refuses", b"the one")

    publish(publisher, 1, 20)
    assert publisher.in_flight()[0] == 19
    assert numbers(house.replica("a"), 20)[:20] == list(range(1, 21))
    eventually(lambda: publisher.in_flight() == (0, 0), 3)
    assert publisher.confirmed() == []

    admin.queue_delete("refuses")
    assert sorted(confirmed(publisher, 19)) == list(range(2, 21))


def test_a_deleted_queue_is_noticed_and_read_again_when_it_is_made(house: House) -> None:
    publisher = house.producer("a")
    subscriber = house.replica("a")
    assert numbers(subscriber, 1) == [1]
    house.admin().queue_delete(house.names.replica_queue("a"))
    eventually(lambda: subscriber.link.phase is Phase.MISSING)
    publisher.make_queue("a")
    publish(publisher, 1, 2)
    eventually(lambda: subscriber.link.is_open, 3)
    assert numbers(subscriber, 2) == [2]


def test_what_an_administrator_deletes_the_producer_makes_again(house: House) -> None:
    publisher = house.producer("a")
    upstream = house.upstream("here:1")
    replica = house.publisher(declare=False)
    eventually(lambda: upstream.link.is_open and replica.link.is_open)
    admin = house.admin()
    admin.queue_delete(house.names.upstream)
    for exchange in (house.names.upstream, house.names.events, house.names.direct):
        admin.exchange_delete(exchange)
    publish(publisher, 1, 2)
    eventually(lambda: publisher.confirmed() == [2])
    eventually(lambda: upstream.link.is_open)
    eventually(lambda: _arrives(replica, upstream))


def _arrives(publisher: Publisher, subscriber: Subscriber) -> bool:
    publisher.publish(Outgoing(Route.UPSTREAM, b"a report"))
    return subscriber.receive(0.1) is not None


def test_a_blocked_connection_is_noticed_and_goes_on_when_the_alarm_is_over(house: House) -> None:
    publisher = house.producer("a")
    subscriber = house.replica("a")
    assert numbers(subscriber, 1) == [1]
    house.rabbit.control("set_vm_memory_high_watermark", "0")
    try:
        publish(publisher, 1, 2)
        eventually(lambda: publisher.link.phase is Phase.BLOCKED)
        assert "memory" in publisher.link.detail
        assert subscriber.link.is_open
        publisher.publish(Outgoing(Route.EVENTS, b"100"))
        for token in range(3, 19):
            publisher.publish(Outgoing(Route.DIRECT, bytes(MIB), replica="nobody", token=token))
        # Nothing is written to a broker that does not read.
        with pytest.raises(AssertionError, match="not within"):
            eventually(lambda: publisher.waiting_bytes() < 16 * MIB, 0.3)
    finally:
        house.rabbit.control("set_vm_memory_high_watermark", "0.4")
    eventually(lambda: publisher.link.is_open)
    assert numbers(subscriber, 2) == [2]
    assert set(confirmed(publisher, 17)) == set(range(2, 19))


def test_a_consumer_that_is_there_first_is_served_once_the_producer_comes(house: House) -> None:
    subscriber = house.replica("a")
    reports = house.publisher(declare=False)
    eventually(lambda: subscriber.link.phase is reports.link.phase is Phase.MISSING)
    reports.publish(Outgoing(Route.UPSTREAM, b"best effort"))
    assert reports.waiting_bytes() == 0
    upstream = house.upstream("here:1")
    house.producer("a")
    eventually(lambda: subscriber.link.is_open and reports.link.is_open and upstream.link.is_open, 3)
    assert _arrives(reports, upstream)
    assert numbers(subscriber, 1) == [1]


@pytest.mark.parametrize(
    ("login", "vhost", "words"), [("guest:wrong", "", "ACCESS_REFUSED"), ("guest:guest", "no", "no")]
)
def test_a_broker_that_refuses_says_so_in_its_own_words(
    private_rabbit: PrivateRabbit, login: str, vhost: str, words: str
) -> None:
    broker = AmqpBroker(f"amqp://{login}@127.0.0.1:{private_rabbit.port}/{vhost}", "refused")
    publisher = broker.publisher(wake=no_wake, declare=True)
    try:
        eventually(lambda: publisher.link.phase is Phase.REFUSED)
        assert words in publisher.link.detail
        assert "wrong" not in publisher.link.detail
    finally:
        publisher.close(CLOSE_SECONDS)


def test_an_account_that_may_not_configure_works_with_what_was_made_for_it(house: House) -> None:
    limited = house.publisher(url=house.rabbit.writer_url)
    eventually(lambda: limited.link.phase is Phase.MISSING)
    house.producer("a")
    eventually(lambda: limited.link.is_open, 4)
    limited.make_queue("a")
    publish(limited, 1, 2)
    assert numbers(house.replica("a", url=house.rabbit.writer_url), 2) == [1, 2]


def test_what_an_administrator_made_in_another_way_stands(house: House) -> None:
    """Other arguments than ours, here of the upstream queue and of a replica's, are no reason to stop."""
    admin = house.admin()
    admin.queue_declare(house.names.upstream, durable=True, arguments={"x-max-length": 7})
    admin.queue_declare(house.names.replica_queue("a"), durable=True, arguments={"x-queue-type": "quorum"})
    publisher = house.producer("a")
    upstream = house.upstream("here:1")
    reports = house.publisher(declare=False)
    eventually(lambda: reports.link.is_open and upstream.link.is_open)
    assert _arrives(reports, upstream)
    publish(publisher, 1, 2)
    assert numbers(house.replica("a"), 2) == [1, 2]


def test_a_newcomer_names_who_leads(house: House) -> None:
    publisher = house.producer()
    leader = house.upstream("host-one:11")
    eventually(lambda: leader.link.is_open)
    newcomer = house.upstream("host-two:22", lambda body: body.decode() if b":" in body else None)
    eventually(lambda: newcomer.link.phase is Phase.HELD)

    def is_named() -> bool:
        publisher.publish(Outgoing(Route.EVENTS, b"host-one:11"))
        return newcomer.link.detail == "host-one:11"

    eventually(is_named)
    leader.close(CLOSE_SECONDS)
    eventually(lambda: newcomer.link.is_open, 3)


def test_after_a_new_connection_all_that_is_unsettled_comes_again_and_old_tags_ack_nothing(house: House) -> None:
    publisher = house.producer("a")
    publish(publisher, 1, 5)
    subscriber = house.replica("a")
    old = received(subscriber, 3)  # two more wait in the subscriber
    house.rabbit.control("close_all_connections", "a test")
    eventually(lambda: not subscriber.link.is_open)
    eventually(lambda: subscriber.link.is_open)
    again = received(subscriber, 5)
    assert [delivery.body for delivery in again] == [b"1", b"2", b"3", b"4", b"5"]
    assert all(delivery.redelivered for delivery in again)
    for delivery in old:
        subscriber.settle(delivery)
    subscriber.close(CLOSE_SECONDS)
    assert numbers(house.replica("a"), 5) == [1, 2, 3, 4, 5]


def test_the_thread_survives_an_error_of_its_owner(house: House, caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    def wake() -> None:
        nonlocal calls
        calls += 1
        if calls in {1, 3, 5}:
            raise RuntimeError("the owner is broken")

    publisher = house.publisher(wake=wake)
    publish(publisher, 0, 5)
    assert sorted(confirmed(publisher, 5)) == [1, 2, 3, 4, 5]
    assert calls > 5
    assert "the owner is broken" in caplog.text


def test_the_thread_survives_an_error_in_pika(house: House, caplog: pytest.LogCaptureFixture) -> None:
    publisher = house.producer("a")
    loop = publisher._keeper.connection._loop
    loop.add_callback_threadsafe(lambda: int("no number"))  # type: ignore[arg-type]
    eventually(lambda: "no number" in caplog.text)
    publish(publisher, 1, 2)
    assert confirmed(publisher, 1) == [2]


def test_tls_is_verified(house: House) -> None:
    verified = house.publisher(url=house.rabbit.tls_url)
    unknown = house.publisher(url=house.rabbit.tls_url.partition("?")[0])
    misnamed = house.publisher(url=house.rabbit.tls_url.replace("localhost", "127.0.0.1"))
    trusting = house.publisher(url=house.rabbit.tls_url.partition("?")[0] + "?verify=none")
    eventually(lambda: verified.link.is_open and trusting.link.is_open)
    eventually(lambda: "certificate verify failed" in unknown.link.detail)
    eventually(lambda: "certificate verify failed" in misnamed.link.detail)
    assert unknown.link.phase is misnamed.link.phase is Phase.CONNECTING
    publish(verified, 0, 100)
    eventually(lambda: verified.in_flight() == (0, 0))


def test_confirms_are_pipelined(house: House, record_property: Callable[[str, object], None]) -> None:
    """Information only: how many small messages a second pass, confirmed and received."""
    publisher = house.producer("a")
    subscriber = house.replica("a")
    started = time.monotonic()
    publish(publisher, 1, 5000)
    assert numbers(subscriber, 5000) == list(range(1, 5001))
    eventually(lambda: publisher.in_flight() == (0, 0))
    rate = 5000 / (time.monotonic() - started)
    record_property("messages_per_second", round(rate))
    print(f"{rate:.0f} messages per second through RabbitMQ")
