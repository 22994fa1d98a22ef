"""Does: what a person may ask of the producer's holds, as verbs of the control socket. Carried out between two rounds.

`hold-list` tells held, since, limit, entries; `hold-show` the same and paths, escaped: the first `number` at and below `path`, as
many as fit, and after the `after` of an earlier answer. `hold-release` tells what it did: released, emptied, was_behind.
"""

import os
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from common.names import escape
from common.orders import Verb
from producer.pipeline import Pipeline

SHOWN_LIMIT = 10_000
SHOWN_LIMIT_BYTES = 2 * 1024 * 1024
"""So much at most in one answer, before it is escaped."""


def hold_handlers(pipeline: Pipeline, clock: Callable[[], float] = time.monotonic) -> dict[str, Verb]:
    """The verbs. `clock`: that of the loop."""

    def listed(_: dict[str, Any]) -> dict[str, Any]:
        return pipeline.holds.told(clock())

    def shown(arguments: dict[str, Any]) -> dict[str, Any]:
        at, after = (os.fsencode(str(arguments.get(name) or "")).strip(b"/") for name in ("path", "after"))
        number = min(int(arguments.get("number") or SHOWN_LIMIT), SHOWN_LIMIT)
        paths = _that_fit(pipeline.holds.paths(at, number, after))
        last = os.fsdecode(paths[-1]) if paths else None
        return {**pipeline.holds.told(clock()), "paths": [escape(path) for path in paths], "after": last}

    def released(_: dict[str, Any]) -> dict[str, Any]:
        done = pipeline.release(clock())
        return {"released": done.held, "emptied": done.is_emptied, "was_behind": done.was_behind}

    return {"hold-list": listed, "hold-show": shown, "hold-release": released}


def _that_fit(paths: list[bytes]) -> list[bytes]:
    ends = accumulate(map(len, paths))
    return [path for path, end in zip(paths, ends, strict=True) if end <= SHOWN_LIMIT_BYTES]
