"""The README's first set-up of RabbitMQ, as typed: its lines are run, and its accounts do their work over TLS."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from common.transport.amqp_channel import UNNAMED
from common.transport.broker import open_broker
from common.transport.ports import Outgoing, Phase, Publisher, Route, Subscriber
from tests.rabbit import PrivateRabbit, RabbitUnavailableError, free_ports, needs_rabbit, skip_or_fail
from tests.waiting import eventually
from treecast.replica_page import environment

pytestmark = [*needs_rabbit]

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
TREE = "playlists"
URL_IN_README = r"^TREECAST_BROKER=(amqps://{account}@\S+)$"


class TlsRabbit(PrivateRabbit):
    """A broker with the README's lines about TLS in its configuration."""

    def __init__(self, certificates: Path) -> None:
        super().__init__()
        self.certificates = certificates
        self.tls_port = 0

    def _write_places(self) -> None:
        super()._write_places()
        (self.tls_port,) = free_ports(1)
        (lines,) = re.findall(r"^```ini\n(listeners\.ssl.*?)^```$", README, re.MULTILINE | re.DOTALL)
        lines = lines.replace("= 5671", f"= 127.0.0.1:{self.tls_port}")
        lines = lines.replace("/etc/rabbitmq/tls", str(self.certificates))
        with (self._place / "rabbitmq.conf").open("a") as configuration:
            configuration.write(lines)


def make_certificates(folder: Path) -> None:
    """An authority, and a certificate of a broker named localhost that it signed."""
    commands = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout broker.key -out broker.csr",
        "x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out broker.pem",
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def lines_for_the_broker() -> list[list[str]]:
    """The README's `rabbitmqctl` lines, each as words."""
    text = re.sub(r"\\\n", " ", README)
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("rabbitmqctl ")]


def passwords() -> dict[str, str]:
    """Account to password, as the README chose them."""
    return {words[1]: words[2] for words in lines_for_the_broker() if words[0] == "add_user"}


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRabbit]:
    """A broker that was set up by the README's lines and nothing else."""
    certificates = tmp_path_factory.mktemp("tls")
    make_certificates(certificates)
    try:
        broker = TlsRabbit(certificates).__enter__()
    except RabbitUnavailableError as error:
        skip_or_fail(str(error))
        return
    try:
        for words in lines_for_the_broker():
            broker.control(*words)
        yield broker
    finally:
        broker.close()


def url_of(account: str, rabbit: TlsRabbit) -> str:
    """The README's URL of this account; only host, port and the file's place are the private broker's."""
    (url,) = re.findall(URL_IN_README.format(account=account), README, re.MULTILINE)
    return here(url, rabbit)


def here(url: str, rabbit: TlsRabbit) -> str:
    """The same URL, of the private broker."""
    url = url.replace("broker.example.com:5671", f"localhost:{rabbit.tls_port}")
    return url.replace("/etc/treecast", str(rabbit.certificates))


class Ring:
    """Nobody waits for a bell here."""

    def __call__(self) -> None: ...


def publisher_of(account: str, rabbit: TlsRabbit, *, declare: bool, trust: str = "ca.pem") -> Publisher:
    url = url_of(account, rabbit).replace("ca.pem", trust)
    return open_broker(url, TREE, password=passwords()[account]).publisher(wake=Ring(), declare=declare)


def subscriber_of(account: str, rabbit: TlsRabbit, queue: str) -> Subscriber:
    broker = open_broker(url_of(account, rabbit), TREE, password=passwords()[account])
    return broker.replica_subscriber(queue, wake=Ring())


def text_of(subscriber: Subscriber) -> bytes:
    """The body of the next message, which is settled."""
    delivery = subscriber.receive(10)
    assert delivery is not None
    subscriber.settle(delivery)
    return delivery.body


def test_producer_and_replica_reach_each_other(rabbit: TlsRabbit) -> None:
    """The producer's account makes what is missing; the replica's reads its queue and writes to the producer."""
    producer = publisher_of("producer", rabbit, declare=True)
    broker = open_broker(url_of("producer", rabbit), TREE, password=passwords()["producer"])
    upstream = broker.upstream_subscriber(holder="test:1", wake=Ring())
    replica = publisher_of("replica-a", rabbit, declare=False)
    stream = subscriber_of("replica-a", rabbit, "replica-a")
    try:
        producer.make_queue("replica-a")
        for port in (producer, upstream, replica, stream):
            eventually(lambda port=port: port.link.is_open, 30, what="the link is open")  # type: ignore[misc]
        producer.publish(Outgoing(Route.EVENTS, b"a batch", token=1))
        assert text_of(stream) == b"a batch"
        producer.publish(Outgoing(Route.DIRECT, b"an answer", "replica-a"))
        assert text_of(stream) == b"an answer"
        replica.publish(Outgoing(Route.UPSTREAM, b"a report"))
        assert text_of(upstream) == b"a report"
    finally:
        for port in (stream, replica, upstream, producer):
            port.close(10)


def test_a_replica_may_not_read_for_another(rabbit: TlsRabbit) -> None:
    """The account of one replica is refused at the queue of the other."""
    producer = publisher_of("producer", rabbit, declare=True)
    stranger = subscriber_of("replica-a", rabbit, "replica-b")
    try:
        producer.make_queue("replica-b")
        eventually(lambda: stranger.link.phase is Phase.REFUSED, 30, what="the account is refused")
    finally:
        stranger.close(10)
        producer.close(10)


def test_a_replica_may_not_publish_events(rabbit: TlsRabbit) -> None:
    """What a replica's account hands to the fanout never arrives."""
    producer = publisher_of("producer", rabbit, declare=True)
    forger = publisher_of("replica-a", rabbit, declare=False)
    stream = subscriber_of("replica-a", rabbit, "replica-a")
    try:
        producer.make_queue("replica-a")
        for port in (producer, forger, stream):
            eventually(lambda port=port: port.link.is_open, 30, what="the link is open")  # type: ignore[misc]
        forger.publish(Outgoing(Route.EVENTS, b"forged", token=1))
        eventually(lambda: not forger.link.is_open, 30, what="the broker closed the forger's channel")
        producer.publish(Outgoing(Route.EVENTS, b"true", token=1))
        assert text_of(stream) == b"true"
        assert forger.confirmed() == []
    finally:
        for one in (forger, stream, producer):
            one.close(1)


def test_a_broker_that_another_authority_vouches_for_is_not_believed(rabbit: TlsRabbit, tmp_path: Path) -> None:
    """Clients check the broker's certificate, and say so when they do not believe it."""
    make_certificates(tmp_path)
    (rabbit.certificates / "other.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    producer = publisher_of("producer", rabbit, declare=True, trust="other.pem")
    try:
        eventually(lambda: "certificate" in producer.link.detail.lower(), 30, what="the link names the certificate")
        assert not producer.link.is_open
    finally:
        producer.close(1)


def test_a_replica_that_is_added_has_an_account_that_serves(rabbit: TlsRabbit) -> None:
    """The two lines in the output of `replica add`, and its URL, are all that one more replica needs."""
    (url,) = re.findall(URL_IN_README.format(account="producer"), README, re.MULTILINE)
    told = environment({"name": "fra7", "labels": {}}, TREE, url)
    for line in re.findall(r"^#   rabbitmqctl (.*)$", told, re.MULTILINE):
        rabbit.control(*shlex.split(line))
    (url,) = re.findall(URL_IN_README.format(account="fra7"), told, re.MULTILINE)
    producer = publisher_of("producer", rabbit, declare=True)
    stream = open_broker(here(url, rabbit), TREE, password="choose-a-password").replica_subscriber("fra7", wake=Ring())
    try:
        producer.make_queue("fra7")
        for port in (producer, stream):
            eventually(lambda port=port: port.link.is_open, 30, what="the link is open")  # type: ignore[misc]
        producer.publish(Outgoing(Route.EVENTS, b"a batch", token=1))
        assert text_of(stream) == b"a batch"
    finally:
        stream.close(10)
        producer.close(10)


def test_a_second_producer_names_the_one_that_leads(rabbit: TlsRabbit) -> None:
    """The account may do what that takes; until a word of the other has come by, the name is said to be unknown."""
    producer = publisher_of("producer", rabbit, declare=True)
    broker = open_broker(
        url_of("producer", rabbit), TREE, password=passwords()["producer"], name_leader=lambda body: body.decode()
    )
    first = broker.upstream_subscriber(holder="master:1", wake=Ring())
    second = None
    try:
        for port in (producer, first):
            eventually(lambda port=port: port.link.is_open, 30, what="the link is open")  # type: ignore[misc]
        second = broker.upstream_subscriber(holder="spare:2", wake=Ring())
        eventually(lambda: second.link.phase is Phase.HELD, 30, what="the queue is held")
        assert second.link.detail == UNNAMED

        tokens = count(1)

        def is_named() -> bool:
            producer.publish(Outgoing(Route.EVENTS, b"master:1", token=next(tokens)))
            return second.link.detail == "master:1"

        eventually(is_named, 10, what="the newcomer names the first")
    finally:
        for one in (second, first, producer):
            if one is not None:
                one.close(10)
