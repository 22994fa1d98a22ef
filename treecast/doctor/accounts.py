"""Decides whether an account may do what its role needs, and no more. Values in, findings out; asks no broker."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from common.transport.amqp_topology import Topology
from treecast.doctor.findings import Finding, error, quoted, warning, well

Act = Literal["configure", "write", "read"]
Role = Literal["produce", "consume"]


class Right(NamedTuple):
    """One of RabbitMQ's three, on one exchange or queue."""

    act: Act
    name: str

    def __str__(self) -> str:
        return f"{self.act} {self.name}"


@dataclass(frozen=True, slots=True)
class Account:
    """Who speaks for which part of a tree. `replica`: "" for a producer."""

    user: str
    vhost: str
    tree: str
    replica: str = ""

    @property
    def role(self) -> Role:
        """Whose account it is."""
        return "consume" if self.replica else "produce"


def needed_rights(account: Account) -> frozenset[Right]:
    """What the role cannot do without."""
    names = Topology(account.tree)
    if account.role == "consume":
        return frozenset({Right("read", names.replica_queue(account.replica)), Right("write", names.upstream)})
    own = (names.events, names.direct, names.upstream)
    return frozenset(
        {
            *(Right("configure", name) for name in own),
            Right("write", names.events),
            Right("write", names.direct),
            Right("read", names.upstream),
        }
    )


def harmful_rights(account: Account) -> Mapping[Right, str]:
    """What the role does not need, and what somebody who has its password could do with it."""
    if account.role == "produce":
        return {}
    names = Topology(account.tree)
    return {
        Right(
            "configure", names.replica_queue(account.replica)
        ): "have its queue refuse publishes, and so stop all replicas",
        Right("write", names.events): "write to every replica",
        Right("write", names.direct): "write to other replicas",
    }


def permissions_line(account: Account) -> str:
    """The least that serves, as a line for the broker."""
    dotted = rf"treecast\.{account.tree}\."
    if account.role == "consume":
        words = ["^$", rf"^{dotted}upstream$", rf"^{dotted}replica\.{account.replica}$"]
    else:
        words = [rf"^{dotted}.*"] * 3
    told = " ".join(quoted(word) for word in [account.user, *words])
    return f"rabbitmqctl set_permissions -p {quoted(account.vhost)} {told}"


def judge_rights(account: Account, granted: Mapping[Right, bool]) -> list[Finding]:
    """`granted`: each right that was tried, and whether the broker allows it."""
    return [*_lacking(account, granted), *_too_much(account, granted)]


def _lacking(account: Account, granted: Mapping[Right, bool]) -> Iterator[Finding]:
    needed = needed_rights(account)
    lacking = sorted(right for right in needed if granted.get(right) is False)
    if lacking:
        found = f"{account.user} may not {_listed(lacking)}"
        yield error("permissions", found, f"that, to {account.role}", permissions_line(account))
        return
    untried = sorted(needed - granted.keys())
    rest = f" ({_listed(untried)} could not be tried)" if untried else ""
    yield well("permissions", f"{account.user} may do what it needs to {account.role}{rest}")


def _too_much(account: Account, granted: Mapping[Right, bool]) -> Iterator[Finding]:
    harmful = {right: what for right, what in harmful_rights(account).items() if granted.get(right)}
    if harmful:
        found = f"{account.user} may {_listed(harmful)}: who has its password can {'; '.join(harmful.values())}"
        yield warning("permissions-wide", found, "no more than the role needs", permissions_line(account))
    elif account.role == "consume":
        yield well("permissions-wide", f"{account.user} may do no harm to others")


def _listed(rights: Iterable[Right]) -> str:
    return ", ".join(str(right) for right in rights)
