"""Decides what the metrics say of the fleet: rows for each replica, by name, and the counts. Knows no board and no HTTP.

A replica that is forgotten is in no view any more, and so in no row. Beyond a thousand, the rest is only counted.
"""

import math
import re
from collections import Counter

from common.figures import Row, Tables
from common.labels import Labels
from common.metrics import REPLICAS_LISTED
from producer.fleet_view import FleetView, ReplicaView, Word

_NO_LABEL = re.compile("[^a-zA-Z0-9_]")


def tables(view: FleetView, limit_seconds: float) -> Tables:
    """The rows by the names of their metrics. `limit_seconds`: beyond that a replica is called behind."""
    listed = view.replicas[:REPLICAS_LISTED]
    words = Counter(one.word for one in view.replicas)
    behind = sum(one.is_behind(limit_seconds) for one in view.replicas)
    return {
        "replica_position": [_row(one, one.position.sequence) for one in listed if one.state],
        "replica_lag_seconds": [_row(one, math.inf if one.lag_seconds is None else one.lag_seconds) for one in listed],
        "replica_state": [_row(one, 1, state=one.word) for one in listed],
        "replica_heard_seconds": [_row(one, one.silent_seconds) for one in listed],
        "replica_problems": [_row(one, _problems(one)) for one in listed if one.state],
        "replica_info": [_row(one, 1, version=one.member.version, wire=str(one.member.wire)) for one in listed],
        "replica_labels": [_row(one, 1, **label_names(one.labels)) for one in listed],
        "replicas": [Row({"state": word}, words[word]) for word in Word],
        "replicas_behind": [Row({}, behind)],
        "replicas_unlisted": [Row({}, len(view.replicas) - len(listed))],
    }


def label_names(labels: Labels) -> dict[str, str]:
    """Each with `label_` before its key, and `_` for what Prometheus does not allow; keys that come to the same are numbered."""
    named: dict[str, str] = {}
    for key, value in sorted(labels.items()):
        name = wanted = f"label_{_NO_LABEL.sub('_', key)}"
        number = 1
        while name in named:
            number += 1
            name = f"{wanted}_{number}"
        named[name] = value
    return named


def _row(one: ReplicaView, value: float, **labels: str) -> Row:
    return Row({"replica": one.name, **labels}, value)


def _problems(one: ReplicaView) -> int:
    """As the replica says, which is not trusted."""
    told = one.details.get("unmet_problem", 0)
    return told if isinstance(told, int) else 0
