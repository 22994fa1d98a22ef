"""Does: the checks of the broker: RabbitMQ over AMQP and, where told, its management API; or the embedded queue's file."""

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from common.errors import SettingError, UnreachableError
from common.places import NETWORK_FILE_SYSTEMS
from common.transport.amqp_topology import Topology
from common.transport.embedded_places import Places
from common.transport.urls import AmqpUrl, EmbeddedUrl, parse_url
from producer.journal_schema import JOURNAL_NAME
from treecast.doctor import filesystems, kernel, reach
from treecast.doctor.accounts import Account, harmful_rights, judge_rights, needed_rights
from treecast.doctor.case import Case, Check
from treecast.doctor.disks import judge_room, mount_of
from treecast.doctor.findings import Finding, error, note, warning
from treecast.doctor.local_queue import judge_consumers, judge_file, judge_holder, judge_no_queue
from treecast.doctor.machine import judge_clock_difference
from treecast.doctor.management import Login, Management
from treecast.doctor.queues import Cure, Place, Queue, judge_replica_queues, judge_upstream_queue, policies_unseen
from treecast.doctor.rabbit import Rabbit

ANSWER_SECONDS = 10.0
QUEUES_SECONDS = 20.0
"""So long at most the arguments of a fleet's queues are asked for, one by one."""


def _broker(case: Case) -> Iterator[Finding]:
    place = parse_url(case.settings.broker)
    if isinstance(place, EmbeddedUrl):
        yield from _embedded(case, place)
        return
    try:
        yield from _amqp(case, place)
    except SettingError as wrong:
        yield error("broker", str(wrong), "a URL that is right, and files that this user may read")


# -- the embedded queue


def _embedded(case: Case, url: EmbeddedUrl) -> Iterator[Finding]:
    from common.transport.embedded_store import APPLICATION_ID

    mount = mount_of(case.mounts(), str(filesystems.nearest_there(url.path)))
    kind = mount.kind if mount is not None else ""
    refusal = filesystems.queue_refusal(url.path, APPLICATION_ID)
    yield judge_file(str(url.path), kind, refusal, is_network=kind in NETWORK_FILE_SYSTEMS)
    limit_bytes = case.settings.queue_limit.limit_bytes
    taken = url.path.stat().st_size if url.path.exists() else 0
    needed = max(0, limit_bytes - taken)
    yield from judge_room("queue", str(url.path), filesystems.room(url.path), needed, "TREECAST_QUEUE_LIMIT")
    places = Places(url.path, case.settings.tree)
    queue = places.replica_queue(case.replica) if case.replica else places.upstream
    holder = filesystems.holder_of(places.lock(queue), case.proc)
    yield judge_holder(queue, holder, runs_here=case.status is not None)


# -- RabbitMQ


def _amqp(case: Case, url: AmqpUrl) -> Iterator[Finding]:
    from common.transport.amqp_asking import AmqpAsking
    from common.transport.amqp_connection import HEARTBEAT_SECONDS

    options = dict(parse_qsl(url.query))
    heartbeat_seconds = int(options.get("heartbeat", HEARTBEAT_SECONDS))
    way = reach.Way(url.host, url.port, url.is_tls, options.get("verify") != "none", heartbeat_seconds)
    account = Account(url.user or "guest", url.vhost, case.settings.tree, case.replica)
    name = f"treecast {case.settings.tree} doctor"
    with AmqpAsking(url, password=_password(case), name=name, timeout_seconds=ANSWER_SECONDS) as asking:
        link = asking.open()
        yield reach.judge_link(link, way, account)
        if link.is_open or not (way.is_tls and way.is_verified):
            yield reach.judge_tls(way, _seconds_left(asking.certificate))
        yield reach.judge_heartbeat(way)
        if link.is_open:
            yield from _on_rabbit(case, url, way, account, Rabbit(asking), asking.server)


def _password(case: Case) -> str | None:
    secret = case.settings.broker_password
    return secret.get_secret_value() if secret is not None else None


def _seconds_left(certificate: Mapping[str, Any]) -> float | None:
    until = certificate.get("notAfter")
    return ssl.cert_time_to_seconds(until) - time.time() if until else None


def _on_rabbit(
    case: Case, url: AmqpUrl, way: reach.Way, account: Account, rabbit: Rabbit, server: Mapping[str, Any]
) -> Iterator[Finding]:
    yield from reach.judge_server(server)
    slow_start = kernel.sysctl(reach.SLOW_START, case.proc)
    yield reach.judge_route(way, rabbit.round_trip_seconds(), slow_start)
    tried = rabbit.rights([*needed_rights(account), *harmful_rights(account)])
    yield from judge_rights(account, tried)
    names = Topology(account.tree)
    missing = [one for one in (names.events, names.direct, names.upstream) if not rabbit.has_exchange(one)]
    is_producer = not case.replica
    yield reach.judge_exchanges(missing, runs=case.status is not None, is_producer=is_producer)
    own = names.replica_queue(case.replica) if case.replica else names.upstream
    yield _own_queue(case, rabbit, own)
    place = Place(url.vhost, account.tree, reach.server_version(server))
    managed = None if case.management is None else _management(case, url, case.management)
    yield from _queues(case, rabbit, managed, place)


def _own_queue(case: Case, rabbit: Rabbit, name: str) -> Finding:
    seen = rabbit.queue(name)
    if seen is None:
        return judge_no_queue(name, is_producer=not case.replica)
    return judge_consumers(name, seen.consumers, seen.messages, runs_here=case.status is not None)


def _management(case: Case, url: AmqpUrl, told: str) -> Management:
    login = Login(url.user or "guest", _password(case) or url.password or "guest")
    return Management(told, login, dict(parse_qsl(url.query)).get("cafile"))


def _queues(case: Case, rabbit: Rabbit, management: Management | None, place: Place) -> Iterator[Finding]:
    """By the management API; where there is none that can be asked, AMQP has to do."""
    names = Topology(place.tree)
    queues = None
    if management is not None:
        try:
            queues = management.queues(place.vhost, place.tree)
            yield reach.judge_alarms(management.alarms())
            yield judge_clock_difference(management.ahead_seconds)
        except UnreachableError as away:
            needed = "an account with the tag management (or monitoring), in the URL"
            yield warning("management", str(away), needed, "rabbitmqctl set_user_tags USER monitoring")
    if queues is None:
        queues, late = _argued(case, rabbit, names)
        if late:
            found = f"{late:,} queues more could not be asked for within {QUEUES_SECONDS:g} s"
            yield note("queue-overflow", found, "--management, to see them all")
        yield policies_unseen(place, sees_arguments=all(queue.arguments is not None for queue in queues))
    yield from _judge(queues, names, place, case.replica)


def _argued(case: Case, rabbit: Rabbit, names: Topology) -> tuple[list[Queue], int]:
    """Queues with what AMQP tells of their arguments: our own; a producer's also those of its roster. And how many could not be
    asked for in time."""
    replicas = [case.replica] if case.replica else filesystems.roster_of(case.settings.state / JOURNAL_NAME)
    wanted = [*([] if case.replica else [names.upstream]), *map(names.replica_queue, replicas)]
    deadline = time.monotonic() + QUEUES_SECONDS
    found: list[Queue] = []
    for number, name in enumerate(wanted):
        if time.monotonic() > deadline:
            return found, len(wanted) - number
        if rabbit.queue(name) is not None:
            found.append(Queue(name, arguments=rabbit.arguments(name)))
    return found, 0


def _judge(queues: Sequence[Queue], names: Topology, place: Place, replica: str) -> Iterator[Finding]:
    """A consumer's own queue; a producer's, and those of all replicas."""
    replicas = [queue for queue in queues if queue.name != names.upstream]
    cure = Cure.of(replicas, place)
    if replica:
        own = names.replica_queue(replica)
        yield from judge_replica_queues([queue for queue in replicas if queue.name == own], cure)
        return
    yield from judge_replica_queues(replicas, cure)
    yield from (judge_upstream_queue(queue, cure) for queue in queues if queue.name == names.upstream)
    if not replicas:
        why = "no replica has reported to this producer yet"
        yield note("queue-overflow", f"no replica's queue was looked at: {why}", "--management, to see them all")


CHECKS: Mapping[str, Check] = {"broker": _broker}
