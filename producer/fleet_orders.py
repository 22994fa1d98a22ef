"""Does: what a person may ask of the fleet, as verbs of the control socket. Carried out between two rounds.

`fleet` tells the replicas as `fleet_view.told` does, those that `select` picks and, where `names` are told, that are among them.
`replica-add` puts `name` with `labels` into the roster, and `replica-forget` takes `name` out of it, its queue with it.
"""

import time
from collections.abc import Callable
from typing import Any

from common.labels import parse_labels, parse_selector
from common.orders import Verb
from producer import fleet_view
from producer.pipeline import Pipeline


def fleet_handlers(pipeline: Pipeline, clock: Callable[[], float] = time.monotonic) -> dict[str, Verb]:
    """The verbs. `clock`: that of the loop."""

    def shown(arguments: dict[str, Any]) -> dict[str, Any]:
        view = pipeline.members.view(clock()).selected(parse_selector(str(arguments.get("select") or "")))
        names = arguments.get("names")
        return fleet_view.told(view if names is None else view.named(map(str, names)))

    def added(arguments: dict[str, Any]) -> dict[str, Any]:
        member = pipeline.members.add(str(arguments["name"]), parse_labels(arguments.get("labels") or {}), clock())
        return {"name": member.name, "labels": dict(member.labels), "added": member.added}

    def forgotten(arguments: dict[str, Any]) -> dict[str, Any]:
        pipeline.members.forget(str(arguments["name"]), clock())
        return {"name": arguments["name"]}

    return {"fleet": shown, "replica-add": added, "replica-forget": forgotten}
