"""Decides what the way to a RabbitMQ is worth: reached, verified, how far, how old. Values in, findings out; has no socket."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.transport.ports import Link, Phase
from treecast.doctor.accounts import Account, permissions_line
from treecast.doctor.findings import Finding, Severity, error, note, quoted, warning, well

SERVER_LEAST = (3, 10)
LONG_ROUTE_SECONDS = 0.02
HEARTBEAT_MOST_SECONDS = 120
CERTIFICATE_SOON_DAYS, CERTIFICATE_NOTED_DAYS = 14, 30
DAY_SECONDS = 86_400
_BROKERS_WORDS = re.compile(r"\w+: \((\d+)\) ['\"](.*?)['\"]$")
SLOW_START = "net.ipv4.tcp_slow_start_after_idle"


@dataclass(frozen=True, slots=True)
class Way:
    """What the URL says. `is_verified`: whether the broker must show a certificate that holds."""

    host: str
    port: int
    is_tls: bool
    is_verified: bool
    heartbeat_seconds: int

    @property
    def is_local(self) -> bool:
        """Whether nobody else can listen in."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def judge_link(link: Link, way: Way, account: Account) -> Finding:
    """Whether there is a connection; where there is none, who must do what."""
    if link.is_open:
        return well("broker", f"{way} takes {account.user} into the vhost {account.vhost}")
    if link.phase is Phase.REFUSED:
        return _refused(_BROKERS_WORDS.sub(r"\2 (\1)", link.detail), account)
    if "certificate" in link.detail or "SSL" in link.detail:
        needed = "cafile= in the URL: the authority that signed the broker's certificate, which must name the host"
        todo = f"openssl s_client -connect {quoted(str(way))} -showcerts </dev/null"
        return error("broker", link.detail, needed, todo)
    found = link.detail or f"{way} does not answer"
    needed = "a RabbitMQ there, and a way through any firewall between"
    todo = f"timeout 5 bash -c {quoted(f'exec 3<>/dev/tcp/{way.host}/{way.port}')} && echo reached"
    return Finding(Severity.ERROR, "broker", found, needed, todo, is_reach=True)


def _refused(words: str, account: Account) -> Finding:
    vhost, user = quoted(account.vhost), quoted(account.user)
    if "vhost" in words and "not found" in words:
        return error("broker", words, f"the vhost {account.vhost}", f"rabbitmqctl add_vhost {vhost}")
    if "vhost" in words:
        return error("broker", words, "permissions in the vhost", permissions_line(account))
    todo = f"rabbitmqctl add_user {user} || rabbitmqctl change_password {user}"
    return error("broker", words, "user and password as RabbitMQ has them; the line asks for the password", todo)


def judge_tls(way: Way, certificate_seconds: float | None) -> Finding:
    """`certificate_seconds`: how long the broker's certificate is still good; None where it was not seen."""
    if not way.is_tls:
        if way.is_local:
            return well("tls", "none, and none needed: the broker is on this machine")
        needed = "amqps:// in the URL: password and contents can be read on the way, and changed"
        return warning("tls", f"none to {way}", needed)
    if not way.is_verified:
        return warning("tls", "verify=none: whoever answers is trusted", "cafile= in the URL instead")
    if certificate_seconds is None:
        return well("tls", "the broker's certificate holds")
    return _certificate(int(certificate_seconds // DAY_SECONDS))


def _certificate(days: int) -> Finding:
    found = f"the broker's certificate holds for {days} days"
    if days < CERTIFICATE_SOON_DAYS:
        return warning("tls", found, "a new one: after that nobody connects")
    return note("tls", found) if days < CERTIFICATE_NOTED_DAYS else well("tls", found)


def judge_server(properties: Mapping[str, Any]) -> Iterator[Finding]:
    """What the broker says of itself."""
    product, text = properties.get("product", "a broker"), str(properties.get("version", ""))
    version = server_version(properties)
    if product != "RabbitMQ":
        yield warning("server", f"{product} {text}", "RabbitMQ: nothing else was tried")
    elif version and version < SERVER_LEAST:
        yield warning("server", f"RabbitMQ {text}", f"{'.'.join(map(str, SERVER_LEAST))} or later")
    else:
        yield well("server", f"{product} {text}, {properties.get('platform', '')}".rstrip(", "))
    capabilities = properties.get("capabilities") or {}
    lacking = [
        one for one in ("publisher_confirms", "basic.nack", "consumer_cancel_notify") if not capabilities.get(one)
    ]
    if lacking:
        yield error("server", f"it cannot do {', '.join(lacking)}", "a broker that confirms and tells of ends")


def server_version(properties: Mapping[str, Any]) -> tuple[int, ...]:
    """The broker's version as numbers; () where it does not tell one."""
    if properties.get("product") != "RabbitMQ":
        return ()
    return tuple(int(word) for word in re.findall(r"\d+", str(properties.get("version", "")))[:3])


def judge_route(way: Way, round_trip_seconds: float, slow_start: int | None) -> Finding:
    """Over a long route, a kernel that forgets its window in each pause sends every burst slowly at first."""
    found = f"a round trip to the broker takes {round_trip_seconds * 1000:.1f} ms"
    if slow_start and not way.is_local and round_trip_seconds >= LONG_ROUTE_SECONDS:
        todo = f"sysctl -w {SLOW_START}=0 && echo '{SLOW_START} = 0' >> /etc/sysctl.d/90-treecast.conf"
        needed = "0: else each burst after a pause takes several round trips more"
        return warning("route", f"{found}, and {SLOW_START} is {slow_start}", needed, todo)
    return well("route", found)


def judge_heartbeat(way: Way) -> Finding:
    """AMQP's heartbeats are our keepalive: routers forget connections that say nothing."""
    found = f"the broker is heard from every {way.heartbeat_seconds} s"
    if way.heartbeat_seconds > HEARTBEAT_MOST_SECONDS:
        needed = f"heartbeat={HEARTBEAT_MOST_SECONDS} or less in the URL: routers forget a connection that is silent"
        return warning("keepalive", found, needed)
    return well("keepalive", found)


def judge_exchanges(missing: Sequence[str], *, runs: bool, is_producer: bool) -> Finding:
    """Those of the tree. `runs`: our own process does."""
    if not missing:
        return well("exchanges", "all are there")
    found = f"{', '.join(missing)}: not there"
    if is_producer and runs:
        return error("exchanges", found, "the right to make them, or somebody who does", "treecast status")
    return note("exchanges", f"{found} yet; the producer makes them when it starts")


def judge_alarms(words: str) -> Finding:
    """`words`: what the broker says of its alarms; "" for none that it told."""
    if words:
        needed = "memory or disk for the broker: until then it takes no publish from anybody"
        return error(
            "broker-alarm", words, needed, "rabbitmq-diagnostics alarms; rabbitmq-diagnostics memory_breakdown"
        )
    return well("broker-alarm", "none is told")
