"""What every transport must do. Each test runs on the embedded queue and on RabbitMQ."""

import random
import threading
import time
from pathlib import Path

import pika
import pytest

from common.transport.broker import open_broker
from common.transport.embedded import EmbeddedBroker
from common.transport.ports import Outgoing, Phase, Publisher, Route, Subscriber
from common.transport.urls import EmbeddedUrl, parse_url
from tests.rabbit import free_ports
from tests.transports import CLOSE_SECONDS, Ports, bodies, no_wake, publish_and_confirm, receive, settle_all
from tests.waiting import eventually, scaled


def event(body: bytes, token: int = 0) -> Outgoing:
    return Outgoing(Route.EVENTS, body, token=token)


def events(count: int, size: int = 10) -> list[Outgoing]:
    return [event(b"%d " % number + b"x" * size, token=number) for number in range(1, count + 1)]


def nothing_more(subscriber: Subscriber) -> bool:
    return subscriber.receive(scaled(0.3)) is None


def test_messages_arrive_in_the_order_of_publishing(broker: Ports) -> None:
    publisher = broker.producer("a")
    sent = events(300)
    publish_and_confirm(publisher, *sent)
    assert settle_all(broker.replica("a"), 300) == [message.body for message in sent]


def test_an_event_reaches_the_queue_of_every_replica(broker: Ports) -> None:
    publisher = broker.producer("a", "b", "c")
    publish_and_confirm(publisher, *events(20))
    found = [settle_all(broker.replica(name), 20) for name in ("a", "b", "c")]
    assert found[0] == found[1] == found[2] == [message.body for message in events(20)]


def test_a_consumer_that_was_away_finds_what_it_missed(broker: Ports) -> None:
    publisher = broker.producer("a")
    before = broker.replica("a")
    publish_and_confirm(publisher, event(b"while here", 1))
    assert settle_all(before, 1) == [b"while here"]
    before.close(CLOSE_SECONDS)
    publish_and_confirm(publisher, event(b"while away", 2), event(b"still away", 3))
    assert settle_all(broker.replica("a"), 2) == [b"while away", b"still away"]


def test_what_is_not_settled_comes_again(broker: Ports) -> None:
    publisher = broker.producer("a")
    publish_and_confirm(publisher, *events(3))
    first = broker.replica("a")
    seen = bodies(receive(first, 3))
    first.close(CLOSE_SECONDS)
    assert settle_all(broker.replica("a"), 3) == seen


def test_what_is_settled_never_comes_again(broker: Ports) -> None:
    publisher = broker.producer("a")
    publish_and_confirm(publisher, *events(100))
    first = broker.replica("a")
    settle_all(first, 100)
    first.close(CLOSE_SECONDS)
    second = broker.replica("a")
    eventually(lambda: second.link.is_open)
    assert nothing_more(second)


def test_acks_never_go_beyond_the_lowest_unsettled_message(broker: Ports) -> None:
    publisher = broker.producer("a")
    publish_and_confirm(publisher, *events(4))
    first = broker.replica("a")
    one, two, three, four = receive(first, 4)
    for settled in (one, four, three):
        first.settle(settled)
    first.close(CLOSE_SECONDS)
    second = broker.replica("a")
    assert bodies(receive(second, 3)) == [two.body, three.body, four.body]
    assert nothing_more(second)


def test_messages_flow_while_one_message_stays_unsettled(broker: Ports) -> None:
    publisher = broker.producer("a")
    publish_and_confirm(publisher, *events(60))
    subscriber = broker.replica("a")
    kept = receive(subscriber, 1)[0]
    settle_all(subscriber, 59)
    subscriber.settle(kept)
    publish_and_confirm(publisher, *events(200))
    assert len(settle_all(subscriber, 200)) == 200


def test_settling_twice_or_after_the_close_does_no_harm(broker: Ports) -> None:
    publisher = broker.producer("a")
    publish_and_confirm(publisher, *events(2))
    first = broker.replica("a")
    one, two = receive(first, 2)
    first.settle(one)
    first.settle(one)
    first.close(CLOSE_SECONDS)
    first.settle(two)
    assert settle_all(broker.replica("a"), 1) == [two.body]


def test_a_second_consumer_is_held_off_and_takes_over_when_the_first_goes(broker: Ports) -> None:
    publisher = broker.producer("a")
    first = broker.replica("a")
    eventually(lambda: first.link.is_open)
    second = broker.replica("a")
    eventually(lambda: second.link.phase is Phase.HELD)
    publish_and_confirm(publisher, event(b"one", 1))
    assert settle_all(first, 1) == [b"one"]
    assert second.receive(0) is None
    first.close(CLOSE_SECONDS)
    eventually(lambda: second.link.is_open)
    publish_and_confirm(publisher, event(b"two", 2))
    assert settle_all(second, 1) == [b"two"]


def test_one_producer_leads_and_the_next_waits(broker: Ports) -> None:
    broker.producer()
    first = broker.upstream("host-one:11")
    eventually(lambda: first.link.is_open)
    second = broker.upstream("host-two:22")
    eventually(lambda: second.link.phase is Phase.HELD)
    if broker.is_embedded:
        assert "host-one:11" in second.link.detail
    assert first.link.is_open
    first.close(CLOSE_SECONDS)
    eventually(lambda: second.link.is_open)


def test_replicas_reach_the_producer(broker: Ports) -> None:
    broker.producer()
    upstream = broker.upstream("here:1")
    replica = broker.publisher(declare=False)
    eventually(lambda: replica.link.is_open)
    replica.publish(Outgoing(Route.UPSTREAM, b"a question"))
    replica.publish(Outgoing(Route.UPSTREAM, b"a report", token=7))
    assert settle_all(upstream, 2) == [b"a question", b"a report"]
    eventually(lambda: replica.confirmed() == [7])


def test_a_missing_queue_is_said_and_found_when_the_producer_makes_it(broker: Ports) -> None:
    subscriber = broker.replica("a")
    publisher = broker.publisher()
    eventually(lambda: subscriber.link.phase is Phase.MISSING)
    publisher.make_queue("a")
    eventually(lambda: subscriber.link.is_open, timeout_seconds=4)
    publish_and_confirm(publisher, event(b"hello", 1))
    assert settle_all(subscriber, 1) == [b"hello"]


def test_a_new_queue_starts_with_what_is_published_after_it(broker: Ports) -> None:
    publisher = broker.producer("a")
    publish_and_confirm(publisher, event(b"before", 1))
    publisher.make_queue("b")
    publish_and_confirm(publisher, event(b"after", 2))
    assert settle_all(broker.replica("b"), 1) == [b"after"]
    assert settle_all(broker.replica("a"), 2) == [b"before", b"after"]


def test_making_a_queue_again_changes_nothing(broker: Ports) -> None:
    publisher = broker.producer("a")
    publish_and_confirm(publisher, event(b"one", 1))
    publisher.make_queue("a")
    publish_and_confirm(publisher, event(b"two", 2))
    assert settle_all(broker.replica("a"), 2) == [b"one", b"two"]


def test_a_direct_message_reaches_its_replica_alone_and_in_order_with_events(broker: Ports) -> None:
    publisher = broker.producer("a", "b")
    publish_and_confirm(
        publisher,
        event(b"first", 1),
        Outgoing(Route.DIRECT, b"for a", replica="a", token=2),
        event(b"last", 3),
    )
    assert settle_all(broker.replica("a"), 3) == [b"first", b"for a", b"last"]
    assert settle_all(broker.replica("b"), 2) == [b"first", b"last"]


@pytest.mark.parametrize("token", [0, 5])
def test_a_direct_message_to_a_replica_without_a_queue_is_returned(broker: Ports, token: int) -> None:
    publisher = broker.producer("a")
    publisher.publish(Outgoing(Route.DIRECT, b"anyone?", replica="b", token=token))
    assert eventually(publisher.returned) == ["b"]
    eventually(lambda: publisher.in_flight() == (0, 0))


def test_what_the_broker_has_taken_waits_no_more_and_how_long_that_took_is_told(broker: Ports) -> None:
    """By that whoever has much to say that may wait finds how much may be on its way."""
    publisher = broker.producer("a")
    for _ in range(20):
        publisher.publish(Outgoing(Route.DIRECT, bytes(100_000), replica="a"))
    eventually(lambda: publisher.waiting_bytes() == 0)
    taken = publisher.taken()
    assert taken is not None
    assert 0 < taken.seconds < scaled(10)
    assert taken.bytes in range(100_000, 2_000_001, 100_000)
    assert len(receive(broker.replica("a"), 20)) == 20


def test_each_token_is_confirmed_once_and_nothing_stays_in_flight(broker: Ports) -> None:
    publisher = broker.producer("a")
    sent = events(500)
    confirmed = publish_and_confirm(publisher, *sent)
    assert sorted(confirmed) == [message.token for message in sent]
    assert publisher.in_flight() == (0, 0)
    assert publisher.waiting_bytes() == 0
    assert publisher.confirmed() == []


def test_events_without_any_queue_are_confirmed(broker: Ports) -> None:
    publisher = broker.producer()
    assert publish_and_confirm(publisher, event(b"to nobody", 1)) == [1]


def test_ten_thousand_messages_pass_intact(broker: Ports) -> None:
    publisher = broker.producer("a")
    chance = random.Random(1)
    sent = [chance.randbytes(chance.randint(1000, 5000)) for _ in range(10_000)]
    feeder = threading.Thread(target=feed, args=(publisher, sent))
    feeder.start()
    subscriber = broker.replica("a")
    found: list[bytes] = []
    while len(found) < len(sent) and (delivery := subscriber.receive(scaled(10))) is not None:
        found.append(delivery.body)
        subscriber.settle(delivery)
    feeder.join()
    assert found == sent


def feed(publisher: Publisher, sent: list[bytes]) -> None:
    for token, body in enumerate(sent, start=1):
        if token % 64 == 0:
            eventually(lambda: publisher.in_flight()[0] < 64, timeout_seconds=30)
        publisher.publish(event(body, token))


def test_messages_of_fifteen_mebibytes_pass(broker: Ports) -> None:
    publisher = broker.producer("a")
    sent = [random.Random(number).randbytes(15 * 1024 * 1024) for number in range(3)]
    publish_and_confirm(publisher, *(event(body, token) for token, body in enumerate(sent, start=1)))
    subscriber = broker.replica("a")
    for body in sent:
        delivery = receive(subscriber, 1)[0]
        assert delivery.body == body
        subscriber.settle(delivery)


def test_without_a_connection_best_effort_is_dropped_and_the_rest_is_kept(broker: Ports, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = f"sqlite:///{tmp_path}/file/queue.db" if broker.is_embedded else f"amqp://127.0.0.1:{free_ports(1)[0]}/"
    publisher = open_broker(nowhere, broker.tree).publisher(wake=no_wake, declare=True)
    eventually(lambda: publisher.link.detail)
    publisher.publish(event(b"best effort"))
    assert publisher.waiting_bytes() == 0
    publisher.publish(event(b"durable", 1))
    assert publisher.in_flight() == (1, len(b"durable"))
    started = time.monotonic()
    publisher.close(0.2)
    assert time.monotonic() - started < scaled(3)
    eventually(lambda: publisher.link.phase is Phase.CLOSED)
    assert publisher.confirmed() == []


def test_closing_writes_out_what_was_handed_over(broker: Ports) -> None:
    publisher = broker.producer("a")
    sent = events(500, size=1000)
    for message in sent:
        publisher.publish(message)
    publisher.close(CLOSE_SECONDS)
    assert settle_all(broker.replica("a"), 500) == [message.body for message in sent]


def test_closing_twice_is_as_good_as_once(broker: Ports) -> None:
    publisher = broker.producer("a")
    subscriber = broker.replica("a")
    for port in (publisher, subscriber):
        port.close(CLOSE_SECONDS)
        port.close(CLOSE_SECONDS)
        assert port.link.phase is Phase.CLOSED
    assert subscriber.receive(0.01) is None


def test_the_owner_may_publish_while_it_is_delivered_to(broker: Ports) -> None:
    publisher = broker.producer("a")
    subscriber = broker.replica("a")
    found: list[bytes] = []
    sent = events(2000, size=100)
    for message in sent:
        publisher.publish(message)
        if (delivery := subscriber.receive(0)) is not None:
            found.append(delivery.body)
            subscriber.settle(delivery)
    found += settle_all(subscriber, len(sent) - len(found))
    assert found == [message.body for message in sent]


def test_the_owner_is_woken_by_deliveries_and_confirms(broker: Ports) -> None:
    broker.producer("a")
    confirmed, delivered = threading.Event(), threading.Event()
    opened = open_broker(broker.url, broker.tree)
    publisher = opened.publisher(wake=confirmed.set, declare=True)
    subscriber = opened.replica_subscriber("a", wake=delivered.set)
    try:
        eventually(lambda: publisher.link.is_open and subscriber.link.is_open)
        confirmed.clear()
        delivered.clear()
        publisher.publish(event(b"wake up", 1))
        assert delivered.wait(scaled(5))
        assert subscriber.receive(0) is not None
        assert confirmed.wait(scaled(5))
        eventually(lambda: publisher.confirmed() == [1])
    finally:
        publisher.close(CLOSE_SECONDS)
        subscriber.close(CLOSE_SECONDS)


def test_trees_on_one_broker_do_not_see_each_other(broker: Ports) -> None:
    publisher = broker.producer("a")
    other = Ports(broker.url, broker.tree + "-other", broker.is_embedded)
    try:
        other_publisher = other.producer("a")
        publish_and_confirm(publisher, event(b"ours", 1))
        publish_and_confirm(other_publisher, event(b"theirs", 1))
        assert settle_all(broker.replica("a"), 1) == [b"ours"]
        assert settle_all(other.replica("a"), 1) == [b"theirs"]
    finally:
        other.close()


def test_a_message_to_the_producer_expires_after_a_minute(broker: Ports) -> None:
    broker.producer()
    replica = broker.publisher(declare=False)
    eventually(lambda: replica.link.is_open)
    publish_and_confirm(replica, Outgoing(Route.UPSTREAM, b"too late", token=1))
    if broker.is_embedded:
        _expect_nothing_in_61_seconds(broker)
    else:
        _expect_expiration_of_a_minute(broker)


def _expect_nothing_in_61_seconds(broker: Ports) -> None:
    place = parse_url(broker.url)
    assert isinstance(place, EmbeddedUrl)
    later = EmbeddedBroker(place.path, broker.tree, clock=lambda: time.time() + 61)
    upstream = later.upstream_subscriber(holder="here:1", wake=no_wake)
    eventually(lambda: upstream.link.is_open)
    assert nothing_more(upstream)
    upstream.close(CLOSE_SECONDS)


def _expect_expiration_of_a_minute(broker: Ports) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    _, properties, _ = connection.channel().basic_get(f"treecast.{broker.tree}.upstream", auto_ack=True)
    connection.close()
    assert properties is not None
    assert properties.expiration == "60000"


def test_a_dropped_queue_is_missing_until_it_is_made_again_and_its_messages_are_gone(broker: Ports) -> None:
    publisher = broker.producer("a")
    publish_and_confirm(publisher, event(b"before", 1))
    publisher.drop_queue("a")
    publisher.drop_queue("a")
    subscriber = broker.replica("a")
    eventually(lambda: subscriber.link.phase is Phase.MISSING)
    publisher.make_queue("a")
    eventually(lambda: subscriber.link.is_open, timeout_seconds=4)
    publish_and_confirm(publisher, event(b"after", 2))
    assert settle_all(subscriber, 1) == [b"after"]


def test_a_reader_of_a_queue_that_is_dropped_is_told(broker: Ports) -> None:
    publisher = broker.producer("a")
    subscriber = broker.replica("a")
    eventually(lambda: subscriber.link.is_open)
    publisher.drop_queue("a")
    eventually(lambda: subscriber.link.phase is Phase.MISSING, timeout_seconds=4)
