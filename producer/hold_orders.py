"""Does: what a person may ask of the producer's holds, as verbs of the control socket. Carried out between two rounds.

hold-list                   {"held", "since", "limit", "entries", "paths": []}
hold-show  path, number     the same, with the first paths that are held there, escaped
hold-release                {"released", "emptied", "was_behind"}
"""

import os
import time
from collections.abc import Callable
from typing import Any

from common.names import ROOT, escape
from common.orders import Verb
from producer.pipeline import Pipeline

SHOWN_LIMIT = 100_000
"""So many paths at most in one answer."""


def hold_handlers(pipeline: Pipeline, clock: Callable[[], float] = time.monotonic) -> dict[str, Verb]:
    """The verbs. `clock`: that of the loop."""

    def listed(_: dict[str, Any]) -> dict[str, Any]:
        return pipeline.holds.told(clock())

    def shown(arguments: dict[str, Any]) -> dict[str, Any]:
        at = os.fsencode(str(arguments.get("path") or "")).strip(b"/") or ROOT
        number = min(int(arguments.get("number") or SHOWN_LIMIT), SHOWN_LIMIT)
        told = pipeline.holds.told(clock(), at, number)
        return {**told, "paths": [escape(path) for path in told["paths"]]}

    def released(_: dict[str, Any]) -> dict[str, Any]:
        done = pipeline.release(clock())
        return {"released": done.held, "emptied": done.is_emptied, "was_behind": done.was_behind}

    return {"hold-list": listed, "hold-show": shown, "hold-release": released}
