"""Decides what `treecast replica` prints: the settings of a new machine, the list of the fleet. Asks nobody."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from common.labels import labels_text
from treecast.fleet_page import Moment

_ACCOUNT = re.compile(r"^(amqps?://)[^/@]*@")
PASSWORD_PLACE = "/etc/treecast/broker-password"


def environment(added: Mapping[str, Any], tree: str, broker: str) -> str:
    """An environment file for the new replica's machine. `broker`: the URL without a password."""
    values = {
        "TREECAST_TREE": tree,
        "TREECAST_REPLICA": added["name"],
        "TREECAST_BROKER": _as_account(broker, added["name"]),
    }
    if added["labels"]:
        values["TREECAST_LABELS"] = labels_text(added["labels"])
    lines = [f"# Settings of replica {added['name']}: treecast consume reads them from its environment."]
    lines += [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    if not broker.startswith("sqlite:"):
        lines += [
            "# That account is the replica's own, called as it is: the producer's may do more than a replica needs.",
            "# A file that holds its password and nothing else, readable by the consumer's user alone (0600):",
            f"TREECAST_BROKER_PASSWORD_FILE={PASSWORD_PLACE}",
        ]
    lines += [
        "# The directory that is to become the replica:",
        "#TREECAST_TARGET=/srv/...",
    ]
    return "\n".join(lines)


def _as_account(broker: str, name: str) -> str:
    """The broker's URL as this account types it, without a password."""
    return _ACCOUNT.sub(rf"\g<1>{name}@", broker)


def listed(replicas: Mapping[str, Any], at: Moment) -> Iterator[str]:
    """One line each."""
    width = max(map(len, replicas), default=0)
    for name, one in replicas.items():
        labels = labels_text(one["labels"]) or "-"
        heard = f"heard {at(one['heard'])}" if one.get("heard") else "never heard of"
        ephemeral = "  ephemeral" if one.get("ephemeral") else ""
        yield f"{name:<{width}}  {one['word']:<8}  {labels}  {heard}{ephemeral}"
