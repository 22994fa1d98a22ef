"""Names on RabbitMQ, how each kind of message travels there, and what a URL's options mean for the connection."""

import ssl

import pytest
from pika import PlainCredentials, exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed

from common.errors import SettingError
from common.transport.amqp import AmqpBroker
from common.transport.amqp_channel import closed_link
from common.transport.amqp_connection import lost_link, parameters_for
from common.transport.amqp_topology import PERSISTENT, TRANSIENT, Topology
from common.transport.backoff import Backoff
from common.transport.ports import Outgoing, Phase, Route
from common.transport.urls import AmqpUrl, parse_url

NAMES = Topology("web")


def url(text: str) -> AmqpUrl:
    place = parse_url(text)
    assert isinstance(place, AmqpUrl)
    return place


def test_the_names_are_those_of_the_design() -> None:
    assert (NAMES.events, NAMES.direct, NAMES.upstream) == (
        "treecast.web.events",
        "treecast.web.direct",
        "treecast.web.upstream",
    )
    assert NAMES.replica_queue("oslo-1") == "treecast.web.replica.oslo-1"
    assert NAMES.bindings("oslo-1") == (("treecast.web.events", ""), ("treecast.web.direct", "oslo-1"))


@pytest.mark.parametrize(
    ("message", "mode"),
    [
        (Outgoing(Route.EVENTS, b"batch", token=1), PERSISTENT),
        (Outgoing(Route.EVENTS, b"heartbeat"), TRANSIENT),
        (Outgoing(Route.DIRECT, b"answer", "a"), TRANSIENT),
        (Outgoing(Route.UPSTREAM, b"report"), TRANSIENT),
    ],
    ids=["batch", "heartbeat", "answer", "report"],
)
def test_what_must_survive_a_restart_of_the_broker_is_persistent(message: Outgoing, mode: int) -> None:
    assert NAMES.envelope(message).delivery_mode == mode


def test_only_a_direct_message_comes_back_where_there_is_no_queue() -> None:
    mandatory = {route: NAMES.envelope(Outgoing(route, b"", "a")).is_mandatory for route in Route}
    assert mandatory == {Route.EVENTS: False, Route.DIRECT: True, Route.UPSTREAM: False}


def test_only_messages_to_the_producer_expire() -> None:
    expiry = {route: NAMES.envelope(Outgoing(route, b"", "a")).expires_ms for route in Route}
    assert expiry == {Route.EVENTS: None, Route.DIRECT: None, Route.UPSTREAM: 60_000}


def test_waits_double_to_the_limit_and_chance_takes_at_most_half() -> None:
    backoff = Backoff(0.2, 10.0)
    assert [backoff.next_seconds(0.0) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert backoff.next_seconds(1.0) == 5.0
    backoff.reset()
    assert backoff.next_seconds(0.0) == 0.2


def test_waits_stay_at_the_limit_however_often_it_fails() -> None:
    backoff = Backoff(0.2, 10.0, attempts=10_000)
    assert backoff.next_seconds(0.0) == 10.0


def test_the_connection_has_a_name_a_heartbeat_and_a_limit_for_being_blocked() -> None:
    parameters = parameters_for(url("amqp://u:p@broker:5673/vh"), password=None, name="treecast web producer publish")
    assert parameters.client_properties == {"connection_name": "treecast web producer publish"}
    assert (parameters.host, parameters.port, parameters.virtual_host) == ("broker", 5673, "vh")
    assert (parameters.heartbeat, parameters.blocked_connection_timeout) == (15, 300.0)
    assert parameters.ssl_options is None


def test_a_password_from_elsewhere_wins_over_the_urls() -> None:
    credentials = parameters_for(url("amqp://u:old@broker/"), password="new", name="").credentials
    assert isinstance(credentials, PlainCredentials)
    assert (credentials.username, credentials.password) == ("u", "new")


def test_tls_is_verified_for_the_hosts_name_unless_it_is_said_aloud() -> None:
    strict = parameters_for(url("amqps://u:p@broker/"), password=None, name="").ssl_options
    assert strict is not None
    assert (strict.server_hostname, strict.context.verify_mode) == ("broker", ssl.CERT_REQUIRED)
    assert strict.context.check_hostname
    trusting = parameters_for(url("amqps://u:p@broker/?verify=none"), password=None, name="").ssl_options
    assert trusting is not None
    assert trusting.context.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(
    "text",
    [
        "amqps://broker/?cafile=/no/such/file.pem",
        "amqps://broker/?verify=maybe",
        "amqp://broker/?cafile=/etc/hostname",
        "amqp://broker/?heartbeat=0",
        "amqp://broker/?heartbeat=soon",
        "amqp://broker/?no_such_option=1",
        "sqlite:////var/lib/queue.db",
    ],
)
def test_a_wrong_option_is_one_clear_error_before_anything_connects(text: str) -> None:
    with pytest.raises(SettingError, match="TREECAST_BROKER"):
        AmqpBroker(text, "web")


def test_why_there_is_no_connection_is_told_in_the_innermost_words() -> None:
    nested = AMQPConnectionWorkflowFailed([exceptions.AMQPConnectionError(ConnectionRefusedError(111, "refused"))])
    assert lost_link(exceptions.AMQPConnectionError(nested), "mq:5672").phase is Phase.CONNECTING
    assert "refused" in lost_link(exceptions.AMQPConnectionError(nested), "mq:5672").detail
    assert lost_link(exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost"), "mq:5672").phase is Phase.REFUSED
    assert lost_link(exceptions.ConnectionClosedByBroker(320, "shutdown"), "mq:5672").phase is Phase.CONNECTING


def test_escape_sequences_in_the_brokers_words_reach_no_terminal() -> None:
    assert "\x1b" not in lost_link(exceptions.ConnectionClosedByBroker(320, "bye \x1b[2J"), "mq:5672").detail


@pytest.mark.parametrize(
    ("code", "words", "phase"),
    [
        (404, "NOT_FOUND - no queue", Phase.MISSING),
        (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use", Phase.HELD),
        (405, "RESOURCE_LOCKED", Phase.HELD),
        (403, "ACCESS_REFUSED - access to queue 'q' refused for user 'u'", Phase.REFUSED),
        (406, "PRECONDITION_FAILED - message size is larger than configured", Phase.CONNECTING),
    ],
)
def test_why_a_channel_was_closed_says_how_the_link_stands(code: int, words: str, phase: Phase) -> None:
    assert closed_link(exceptions.ChannelClosedByBroker(code, words)).phase is phase
