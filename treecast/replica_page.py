"""Decides what `treecast replica` prints: the settings of a new machine, the list of the fleet. Asks nobody."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from common.labels import labels_text
from common.transport.urls import AmqpUrl, parse_url
from treecast.doctor.accounts import Account, permissions_line
from treecast.doctor.findings import quoted
from treecast.fleet_page import Moment

SETTINGS_PLACE = "/etc/treecast/consume.env"
PASSWORD_PLACE = "/etc/treecast/password"
_ACCOUNT = re.compile(r"^(amqps?://)[^/@]*@")
_BARE = re.compile(r"[\w@%+=:,./?-]*", re.ASCII)
"""What a shell, systemd and `docker run --env-file` all take as it is; the last of them takes quotes for a part of the value."""


def environment(added: Mapping[str, Any], tree: str, broker: str) -> str:
    """An environment file for the new replica's machine. `broker`: the URL without a password."""
    values = {
        "TREECAST_TREE": tree,
        "TREECAST_REPLICA": added["name"],
        "TREECAST_BROKER": _as_account(broker, added["name"]),
    }
    if added["labels"]:
        values["TREECAST_LABELS"] = labels_text(added["labels"])
    lines = [f"# Settings of replica {added['name']}: {SETTINGS_PLACE} on its machine, for treecast consume."]
    lines += [f"{name}={value if _BARE.fullmatch(value) else shlex.quote(value)}" for name, value in values.items()]
    if not broker.startswith("sqlite:"):
        lines += _account_lines(values["TREECAST_BROKER"], tree, added["name"])
    lines += [
        "# The directory that is to become the replica:",
        "#TREECAST_TARGET=/srv/...",
    ]
    return "\n".join(lines)


def _account_lines(broker: str, tree: str, name: str) -> Iterator[str]:
    url = parse_url(broker)
    vhost = url.vhost if isinstance(url, AmqpUrl) else "/"
    yield "# Its account, called as it is, may do no more than a replica needs. On the broker, once:"
    yield f"#   rabbitmqctl add_user {quoted(name)} 'choose-a-password'"
    yield f"#   {permissions_line(Account(name, vhost, tree, name))}"
    yield "# A file that holds that password and nothing else, readable by root and the consumer's user alone:"
    yield f"TREECAST_BROKER_PASSWORD_FILE={PASSWORD_PLACE}"


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
