"""The doctor on a real RabbitMQ: what hides is found, and nothing is made, taken, published or disturbed by looking."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from common.settings import ConsumeSettings
from common.transport.amqp_asking import AmqpAsking
from common.transport.amqp_topology import Topology
from common.transport.ports import Outgoing, Route
from common.transport.urls import AmqpUrl, parse_url
from tests.rabbit import PrivateRabbit, needs_rabbit
from tests.transports import Ports, free_tree, publish_and_confirm, receive
from tests.waiting import eventually
from treecast.doctor import broker_checks
from treecast.doctor.accounts import Account, Right, harmful_rights, needed_rights
from treecast.doctor.case import Case, carry_out
from treecast.doctor.findings import Finding, Severity
from treecast.doctor.management import Login, Management
from treecast.doctor.rabbit import Rabbit

pytestmark = [*needs_rabbit]

REFUSING = {"overflow": "reject-publish", "max-length": 5_000_000}
REFUSES = {"x-overflow": "reject-publish", "x-max-length": 1}


@pytest.fixture
def ports(private_rabbit: PrivateRabbit) -> Iterator[Ports]:
    ports = Ports(private_rabbit.url, free_tree(), is_embedded=False)
    yield ports
    ports.close()


@pytest.fixture
def names(ports: Ports) -> Topology:
    return Topology(ports.tree)


@pytest.fixture
def admin(private_rabbit: PrivateRabbit) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(private_rabbit.url)) as connection:
        yield connection.channel()


def asking(url: str) -> AmqpAsking:
    place = parse_url(url)
    assert isinstance(place, AmqpUrl)
    return AmqpAsking(place, password=None, name="doctor", timeout_seconds=20)


def examined(url: str, tree: str, place: Path, replica: str = "a", **more: str) -> list[Finding]:
    """All that the checks of the broker find for a replica."""
    told = {"tree": tree, "replica": replica, "broker": url, "state": place / "state", "target": place}
    case = Case(ConsumeSettings.model_validate(told), None, **more)  # type: ignore[arg-type]
    return list(carry_out(broker_checks.CHECKS, case))


def named(name: str, found: list[Finding]) -> Finding:
    (one,) = [finding for finding in found if finding.name == name]
    return one


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        REFUSES,
        {**REFUSES, "x-message-ttl": 77_000, "x-expires": 600_000, "x-single-active-consumer": True},
        {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-overflow": "reject-publish"},
    ],
    ids=["none", "refuses", "many", "quorum"],
)
def test_arguments_are_read_from_refusals(
    private_rabbit: PrivateRabbit, admin: BlockingChannel, arguments: dict[str, object]
) -> None:
    """By whoever may configure the queue; whoever may not is told nothing, and the queue stays as it was."""
    name = Topology(free_tree()).replica_queue("a")
    admin.queue_declare(name, durable=True, arguments=arguments)
    try:
        with asking(private_rabbit.url) as mine, asking(private_rabbit.writer_url) as writers:
            assert mine.open().is_open
            assert writers.open().is_open
            assert Rabbit(mine).arguments(name) == arguments
            assert Rabbit(writers).arguments(name) is None
        admin.queue_declare(name, durable=True, arguments=arguments)  # refused, were it another one
    finally:
        admin.queue_delete(name)


def test_looking_makes_nothing(private_rabbit: PrivateRabbit, names: Topology) -> None:
    """No question, not even one for configuring, leaves a queue or an exchange."""
    accounts = [Account("guest", "/", names.tree, replica) for replica in ("", "a")]
    rights = {right for one in accounts for right in (*needed_rights(one), *harmful_rights(one))}
    with asking(private_rabbit.url) as mine:
        assert mine.open().is_open
        rabbit = Rabbit(mine)
        assert rabbit.rights(rights) == dict.fromkeys(rights, True)
        assert rabbit.arguments(names.replica_queue("a")) == {}
        assert [rabbit.queue(right.name) for right in rights] == [None] * len(rights)
        assert not any(rabbit.has_exchange(right.name) for right in rights)


def test_looking_disturbs_nobody(private_rabbit: PrivateRabbit, ports: Ports, tmp_path: Path) -> None:
    """Who consumes goes on; what waits in a queue stays there, comes once, as if nobody had looked, and nothing comes with it."""
    publisher = ports.producer("a", "b")
    replica = ports.replica("a")
    eventually(lambda: replica.link.is_open)
    publish_and_confirm(publisher, Outgoing(Route.EVENTS, b"the one", token=1))
    (first,) = receive(replica, 1)
    for name in ("a", "b"):
        found = examined(private_rabbit.url, ports.tree, tmp_path, name)
        assert named("permissions", found).severity is Severity.OK
    assert replica.link.is_open
    (waited,) = receive(ports.replica("b"), 1)
    assert (first.body, waited.body) == (b"the one", b"the one")
    assert not waited.redelivered
    assert replica.receive(0.2) is None


def test_rights_are_told_apart(private_rabbit: PrivateRabbit, ports: Ports, names: Topology) -> None:
    """Of an account that may read and write, and configure nothing."""
    ports.producer("a")
    queue = names.replica_queue("a")
    rights = [
        Right("configure", queue),
        Right("read", queue),
        Right("write", names.events),
        Right("write", "amq.fanout"),
    ]
    with asking(private_rabbit.writer_url) as writers:
        assert writers.open().is_open
        assert list(Rabbit(writers).rights(rights).values()) == [False, True, True, False]


def test_a_queue_that_refuses_by_its_argument_is_found(
    private_rabbit: PrivateRabbit, ports: Ports, names: Topology, admin: BlockingChannel, tmp_path: Path
) -> None:
    """Over AMQP alone; after the line was pasted and the producer has made the queue anew, it is well."""
    publisher = ports.producer()
    admin.queue_declare(names.replica_queue("a"), durable=True, arguments=REFUSES)
    found = named("queue-overflow", examined(private_rabbit.url, ports.tree, tmp_path))
    assert (found.severity, found.todo) == (
        Severity.ERROR,
        f"rabbitmqctl delete_queue -p / {names.replica_queue('a')}",
    )
    admin.queue_delete(names.replica_queue("a"))
    publisher.make_queue("a")
    with asking(private_rabbit.url) as mine:
        assert mine.open().is_open
        eventually(lambda: Rabbit(mine).queue(names.replica_queue("a")))
    assert named("queue-overflow", examined(private_rabbit.url, ports.tree, tmp_path)).severity is Severity.OK


def test_a_least_account_is_well_but_policies_are_said_to_be_unseen(
    private_rabbit: PrivateRabbit, ports: Ports, tmp_path: Path
) -> None:
    """The account of the README, for the replica `a`."""
    ports.producer("a")
    found = examined(private_rabbit.least_url, ports.tree, tmp_path)
    assert {one.severity for one in found} == {Severity.OK, Severity.NOTE}
    assert [one.name for one in found if one.severity is Severity.NOTE] == ["queue-policies"]


def test_a_wrong_password_and_a_broker_that_is_away_are_told_apart(
    private_rabbit: PrivateRabbit, tmp_path: Path
) -> None:
    refused = examined(private_rabbit.url_for("guest", "wrong"), "t", tmp_path)
    assert "change_password guest" in named("broker", refused).todo
    away = named("broker", examined("amqp://guest:guest@127.0.0.1:1/", "t", tmp_path))
    assert (away.severity, away.is_reach) == (Severity.ERROR, True)


def test_a_certificate_is_looked_at(private_rabbit: PrivateRabbit, tmp_path: Path) -> None:
    """That of the tests ends soon, and is not to be trusted without its authority."""
    assert "holds for" in named("tls", examined(private_rabbit.tls_url, "t", tmp_path)).found
    untrusted = examined(private_rabbit.tls_url.partition("?")[0], "t", tmp_path)
    assert "certificate verify failed" in named("broker", untrusted).found


@pytest.mark.slow
def test_a_policy_that_refuses_is_found_by_the_management_api(
    private_rabbit: PrivateRabbit, ports: Ports, names: Topology, tmp_path: Path
) -> None:
    """And the line, pasted, puts it right; AMQP alone says that it has not looked."""
    url = private_rabbit.management_url
    ports.producer("a")
    pattern = rf"^treecast\.{ports.tree}\."
    policy = {"pattern": pattern, "apply-to": "queues", "definition": REFUSING}
    told(url, "PUT", "/policies/%2F/limits", policy)
    try:
        eventually(lambda: _overflow(private_rabbit, ports, tmp_path, url).severity is Severity.ERROR, 15)
        unseen = examined(private_rabbit.url, ports.tree, tmp_path)
        assert named("queue-policies", unseen).severity is Severity.NOTE
        found = _overflow(private_rabbit, ports, tmp_path, url)
        assert "by the policy limits" in found.found
        private_rabbit.paste(found.todo)
        eventually(lambda: _overflow(private_rabbit, ports, tmp_path, url).severity is Severity.OK, 15)
    finally:
        told(url, "DELETE", "/policies/%2F/limits")
    (queue,) = [one for one in _management(url).queues("/", ports.tree) if one.name == names.replica_queue("a")]
    assert (queue.policy, queue.policy_name) == (
        {**REFUSING, "overflow": "drop-head"},
        f"treecast-{ports.tree}",
    )
    assert queue.sources == frozenset({"", names.events, names.direct})


def told(management: str, method: str, path: str, body: object = None) -> None:
    """Say something to the management API, as an administrator."""
    parts = urlsplit(management)
    login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    address = f"http://{parts.hostname}:{parts.port}/api{path}"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers, method=method)
    urllib.request.urlopen(request, timeout=20).close()


def _overflow(rabbit: PrivateRabbit, ports: Ports, place: Path, management: str) -> Finding:
    return named("queue-overflow", examined(rabbit.url, ports.tree, place, management=management))


def _management(url: str) -> Management:
    return Management(url, Login("guest", "guest"), None)


def test_an_account_that_may_not_ask_the_management_api_is_said(
    private_rabbit: PrivateRabbit, ports: Ports, tmp_path: Path
) -> None:
    """What AMQP shows is told all the same. Without a user in the URL it is the broker's own account that asks."""
    ports.producer("a")
    url = private_rabbit.management_url.replace("guest:guest@", "")
    found = examined(private_rabbit.writer_url, ports.tree, tmp_path, management=url)
    assert named("management", found).severity is Severity.WARNING
    assert "Not management user" in named("management", found).found
    assert named("queue-policies", found).severity is Severity.NOTE


def test_the_broker_says_what_it_is(private_rabbit: PrivateRabbit) -> None:
    """Product and round trip come over the one connection."""
    with asking(private_rabbit.url) as mine:
        assert mine.open().is_open
        assert mine.server["product"] == "RabbitMQ"
        assert 0 < Rabbit(mine).round_trip_seconds() < 5
