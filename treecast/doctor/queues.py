"""Decides whether RabbitMQ's queues are set as a fan-out needs them. Values in, findings out; asks no broker.

One queue that refuses a publish refuses it for all: the broker nacks the producer although the others took the message.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from treecast.doctor.findings import Finding, Severity, quoted
from treecast.status_page import duration, shown_size

Definition = Mapping[str, Any]
"""Of a policy: key to value, as RabbitMQ has it."""

REFUSES = frozenset({"reject-publish", "reject-publish-dlx"})
POLICY_PRIORITY = 1000
"""Above what administrators commonly give, where theirs is not known: a queue obeys one policy only."""
ADVISED: Definition = {"max-length-bytes": 2 << 30, "overflow": "drop-head", "expires": 7 * 86_400_000}
"""As the README's: a replica that is away for longer brings itself level when it is back."""
ROOMY: Definition = {"max-length": 1_000_000, "message-ttl": 7 * 86_400_000, **ADVISED}
LEAST_MESSAGES = 1000
LEAST_BYTES = 64_000_000
LEAST_TTL_MS = 3_600_000
LEAST_EXPIRES_MS = 86_400_000
REDELIVERIES_LEAST = 100
DELIVERY_LIMITED_FROM = (4, 0)
"""From this version on a quorum queue drops a message after 20 redeliveries unless told otherwise."""
KNOWN_ARGUMENTS = frozenset(
    {
        "x-overflow", "x-max-length", "x-max-length-bytes", "x-message-ttl", "x-expires", "x-queue-type", "x-delivery-limit",
        "x-single-active-consumer", "x-queue-mode", "x-queue-version", "x-dead-letter-exchange",
    }
)  # fmt: skip
"""What is judged, or does not matter; anything else is shown."""
SHOWN_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it was found. `arguments` and `policy` are None where this account could not see them.

    `policy` is what applies, an operator's included; `policy_name` is the user's, "" for none; `sources`: exchanges that it is
    bound to, None where that was not seen.
    """

    name: str
    arguments: Definition | None
    policy: Definition | None = None
    policy_name: str = ""
    policy_priority: int | None = None
    sources: frozenset[str] | None = None

    def limits(self, key: str) -> list[int]:
        """What argument and policy say of a number: the lower applies."""
        told = [(self.arguments or {}).get(f"x-{key}"), (self.policy or {}).get(key)]
        return [one for one in told if isinstance(one, int) and not isinstance(one, bool)]

    def argument(self, key: str) -> Any:
        """An argument's value; None where there is none, or it was not seen."""
        return (self.arguments or {}).get(f"x-{key}")

    @property
    def overflow(self) -> tuple[str, str]:
        """What it does when it is full, and who says so. The argument beats any policy. ("", "") where nobody does."""
        if given := self.argument("overflow"):
            return str(given), "its argument x-overflow"
        if given := (self.policy or {}).get("overflow"):
            return str(given), f"the policy {self.policy_name or '(an operator policy)'}"
        return "", ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the queues are. `server`: the broker's version, () where it is not known."""

    vhost: str
    tree: str
    server: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cure:
    """What puts right what is wrong. One policy for all replicas' queues: of several, the last pasted would undo the others."""

    place: Place
    definition: Definition
    priority: int

    @classmethod
    def of(cls, queues: Iterable[Queue], place: Place) -> "Cure":
        """For all queues of a tree: what applies to them now, with all that hurts put right."""
        definition: dict[str, Any] = {}
        priority = -1
        for queue in queues:
            definition |= cured(queue, place.server)
            priority = max(priority, POLICY_PRIORITY if queue.policy_priority is None else queue.policy_priority)
        return cls(place, definition, priority + 1)

    @property
    def policy_line(self) -> str:
        """A policy of this tree's own, that goes before those that are there."""
        pattern = rf"^treecast\.{self.place.tree}\.replica\."
        return (
            f"rabbitmqctl set_policy -p {quoted(self.place.vhost)} --priority {self.priority} --apply-to queues "
            f"treecast-{self.place.tree} {quoted(pattern)} {quoted(json.dumps(self.definition, sort_keys=True))}"
        )

    def anew_line(self, queue: Queue) -> str:
        """Delete it: the producer makes it anew without arguments at once, and the replica brings itself level."""
        return f"rabbitmqctl delete_queue -p {quoted(self.place.vhost)} {quoted(queue.name)}"

    def line(self, queue: Queue, *keys: str) -> str:
        """A policy, unless an argument of these stands in its way: that goes with the queue only."""
        is_argument = any(queue.argument(key) is not None for key in keys)
        return self.anew_line(queue) if is_argument else self.policy_line


def cured(queue: Queue, server: tuple[int, ...]) -> dict[str, Any]:
    """The definition that applies now, with each key put right that hurts; what hurts nobody stays as it is."""
    found = queue.policy or {}
    least = {
        "max-length": LEAST_MESSAGES,
        "max-length-bytes": LEAST_BYTES,
        "message-ttl": LEAST_TTL_MS,
        "expires": LEAST_EXPIRES_MS,
    }
    raised = {key: ROOMY[key] for key, limit in least.items() if key in found and found[key] < limit}
    refuses = {"overflow": "drop-head"} if found.get("overflow") in REFUSES else {}
    redelivers = {"delivery-limit": _unlimited(server)} if _delivery_limit(queue, server) is not None else {}
    bounded = {} if queue.limits("max-length") or queue.limits("max-length-bytes") else ADVISED
    return {**found, **raised, **bounded, **refuses, **redelivers}


def _delivery_limit(queue: Queue, server: tuple[int, ...]) -> int | None:
    """After how many redeliveries a quorum queue drops a message too early; None where it does not."""
    if queue.argument("queue-type") != "quorum":
        return None
    told = queue.limits("delivery-limit")
    limits = [limit for limit in told if limit >= 0] or ([] if told or server < DELIVERY_LIMITED_FROM else [20])
    return min(limits) if limits and min(limits) < REDELIVERIES_LEAST else None


def _unlimited(server: tuple[int, ...]) -> int:
    return -1 if server >= DELIVERY_LIMITED_FROM else 1_000_000


class Judged(NamedTuple):
    """A finding without the name of the queue, so that what is alike can be told once."""

    severity: Severity
    name: str
    found: str
    needed: str = ""
    todo: str = ""


def judge_replica_queues(queues: Iterable[Queue], cure: Cure) -> list[Finding]:
    """Everything about replicas' queues; what is the same for several is told once, with their names."""
    alike: dict[Judged, list[str]] = {}
    for queue in queues:
        for judged in _judge_replica_queue(queue, cure):
            alike.setdefault(judged, []).append(queue.name)
    return [_told(judged, names) for judged, names in alike.items()]


def _told(judged: Judged, names: Sequence[str]) -> Finding:
    shown = ", ".join(names[:SHOWN_LIMIT])
    more = f" and {len(names) - SHOWN_LIMIT} more" if len(names) > SHOWN_LIMIT else ""
    return Finding(judged.severity, judged.name, f"{shown}{more}: {judged.found}", judged.needed, judged.todo)


def _judge_replica_queue(queue: Queue, cure: Cure) -> Iterator[Judged]:
    if queue.arguments is not None or queue.policy is not None:
        yield _overflow(queue, cure)
    yield from _kind(queue, cure)
    if queue.arguments is not None or queue.policy is not None:
        yield _bounds(queue, cure)
        yield from _short_lives(queue, cure)
    yield from _others(queue)
    yield from _bindings(queue, cure)


def _overflow(queue: Queue, cure: Cure) -> Judged:
    what, who = queue.overflow
    if what not in REFUSES:
        return _not_refusing(queue, what, who)
    todo = cure.line(queue, "overflow")
    needed = "drop-head: the replica then heals the gap by itself"
    if queue.argument("overflow"):
        needed = "a queue without it: the producer makes it anew at once, and the replica brings itself level"
    found = (
        f"{what}, by {who}: once it is full, every publish to all replicas is refused; one full queue punishes everyone"
    )
    return Judged(Severity.ERROR, "queue-overflow", found, needed, todo)


def _not_refusing(queue: Queue, what: str, who: str) -> Judged:
    found = f"{what}, by {who}" if what else "drop-head, by default"
    if not what and queue.policy is None:
        found = "no reject-publish in its arguments"
    return Judged(Severity.OK, "queue-overflow", found)


def _kind(queue: Queue, cure: Cure) -> Iterator[Judged]:
    kind = queue.argument("queue-type") or "classic"
    anew = cure.anew_line(queue)
    if kind == "stream":
        yield Judged(Severity.ERROR, "queue-type", "a stream", "a classic or a quorum queue", anew)
    elif kind == "quorum":
        yield from _redeliveries(queue, cure)
    if queue.argument("single-active-consumer"):
        found = "x-single-active-consumer, where nobody may consume alone"
        yield Judged(Severity.ERROR, "queue-type", found, "a queue without it", anew)


def _redeliveries(queue: Queue, cure: Cure) -> Iterator[Judged]:
    if (limit := _delivery_limit(queue, cure.place.server)) is not None:
        found = f"a message that comes back {limit} times is dropped, as through a fault of the disk"
        todo = cure.line(queue, "delivery-limit")
        yield Judged(Severity.WARNING, "queue-delivery-limit", found, "no limit", todo)


def _bounds(queue: Queue, cure: Cure) -> Judged:
    """How much is kept for a replica that is away."""
    counts, sizes, lives = queue.limits("max-length"), queue.limits("max-length-bytes"), queue.limits("expires")
    told = [f"{min(counts):,} message{'s' * (min(counts) != 1)}"] if counts else []
    told += [shown_size(min(sizes))] if sizes else []
    told += [f"gone after {_time(min(lives))} without a consumer"] if lives else []
    found = f"keeps {', '.join(told)}" if told else "keeps without a bound what a replica does not fetch"
    if not counts and not sizes:
        if queue.policy is None:
            return Judged(Severity.OK, "queue-bounds", f"{found}, as far as arguments tell")
        needed = "a bound, or the broker's disk fills, and then it takes no publish from anybody"
        return Judged(Severity.WARNING, "queue-bounds", found, needed, cure.policy_line)
    if min(counts, default=LEAST_MESSAGES) < LEAST_MESSAGES or min(sizes, default=LEAST_BYTES) < LEAST_BYTES:
        needed = f"{LEAST_MESSAGES:,} messages and {shown_size(LEAST_BYTES)} at least: less overflows in one burst"
        todo = cure.line(queue, "max-length", "max-length-bytes")
        return Judged(Severity.WARNING, "queue-bounds", found, needed, todo)
    return Judged(Severity.OK, "queue-bounds", found)


def _short_lives(queue: Queue, cure: Cure) -> Iterator[Judged]:
    """What expires before a replica that is away for a moment is back."""
    for key, least, what in (
        ("message-ttl", LEAST_TTL_MS, "messages expire after"),
        ("expires", LEAST_EXPIRES_MS, "it is deleted after"),
    ):
        if (times := queue.limits(key)) and min(times) < least:
            yield Judged(
                Severity.WARNING,
                f"queue-{key}",
                f"{what} {_time(min(times))}",
                f"{duration(least / 1000)} at least: a replica that was away for longer compares its tree",
                cure.line(queue, key),
            )


def _time(milliseconds: int) -> str:
    return duration(milliseconds / 1000) if milliseconds >= 1000 else f"{milliseconds} ms"


def _others(queue: Queue) -> Iterator[Judged]:
    others = {key: value for key, value in (queue.arguments or {}).items() if key not in KNOWN_ARGUMENTS}
    if others:
        told = ", ".join(f"{key}={value}" for key, value in sorted(others.items()))
        yield Judged(Severity.NOTE, "queue-arguments", f"arguments that Treecast does not give: {told}")
    dropped = queue.argument("dead-letter-exchange") or (queue.policy or {}).get("dead-letter-exchange")
    if dropped:
        yield Judged(Severity.NOTE, "queue-arguments", f"what it drops is copied to the exchange {dropped}")


def _bindings(queue: Queue, cure: Cure) -> Iterator[Judged]:
    if queue.sources is None:
        return
    lacking = {f"treecast.{cure.place.tree}.{one}" for one in ("events", "direct")} - queue.sources
    if lacking:
        needed = "both bindings; the producer makes them anew with the queue"
        todo = cure.anew_line(queue)
        found = f"not bound to {' nor '.join(sorted(lacking))}"
        yield Judged(Severity.ERROR, "queue-bindings", found, needed, todo)


def judge_upstream_queue(queue: Queue, cure: Cure) -> Finding:
    """The way to the producer: bounded by its own arguments; what is lost there is said again."""
    what, who = queue.overflow
    if what in REFUSES:
        todo = (
            cure.anew_line(queue)
            if queue.argument("overflow")
            else f"rabbitmqctl -q list_policies -p {quoted(cure.place.vhost)}"
        )
        needed = "drop-head: old words of replicas are worth less than new ones"
        return Finding(Severity.WARNING, "queue-upstream", f"{queue.name}: {what}, by {who}", needed, todo)
    if queue.arguments is None:
        return Finding(Severity.OK, "queue-upstream", f"{queue.name} is there")
    if not queue.limits("max-length") and not queue.limits("max-length-bytes"):
        found = f"{queue.name}: no bound in its arguments"
        needed = "a bound by a policy, as long as the producer may be away"
        return Finding(Severity.NOTE, "queue-upstream", found, needed)
    return Finding(Severity.OK, "queue-upstream", f"{queue.name} is there, and bounded")


def policies_unseen(place: Place, *, sees_arguments: bool) -> Finding:
    """What plain AMQP cannot show is said, with the way to see it. `sees_arguments`: this account was told arguments."""
    vhost = quoted(place.vhost)
    what = (
        "policies"
        if sees_arguments
        else "its arguments (this account may not configure it, as it should be) and policies"
    )
    return Finding(
        Severity.NOTE,
        "queue-policies",
        f"not checked: {what}, which AMQP does not show; they may bound a queue, or have it refuse",
        "--management http://USER:PASSWORD@HOST:15672, or a look at what applies",
        f"rabbitmqctl -q list_queues -p {vhost} name policy arguments; rabbitmqctl -q list_policies -p {vhost}; "
        f"rabbitmqctl -q list_operator_policies -p {vhost}",
    )
