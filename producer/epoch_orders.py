"""Does: what a person may ask of the producer's epoch, as verbs of the control socket. Carried out between two rounds.

`epoch-show` tells how it stands, as `Leading.told` says. `epoch-start` begins a new one, from the source as it is, and tells
`done`: "begun", "approved" (it was on trial, and is announced now), or with `take_over` "taken over".
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.lock import ProcessLock
from common.orders import Verb
from producer import announced, journal_schema
from producer.announced import Wish
from producer.journal import Journal
from producer.pipeline import Pipeline

LOCK_NAME = "lock"
"""In the state directory: whoever has it is the journal's one producer."""


def epoch_handlers(pipeline: Pipeline, clock: Callable[[], float] = time.monotonic) -> dict[str, Verb]:
    """The verbs. `clock`: that of the loop."""

    def shown(_: dict[str, Any]) -> dict[str, Any]:
        return pipeline.leading.told()

    def started(arguments: dict[str, Any]) -> dict[str, Any]:
        done = pipeline.leading.start(clock(), takes_over=bool(arguments.get("take_over")))
        return {"done": done, **pipeline.leading.told()}

    return {"epoch-show": shown, "epoch-start": started}


def told_by(journal: Path) -> dict[str, Any]:
    """How the epoch stands in a journal whose producer does not run; it is only read. What only a running one knows is absent."""
    with journal_schema.converted(journal):
        database = journal_schema.open_reader(journal)
        try:
            value = announced.read(database)
            state: dict[str, Any] = dict(database.execute("SELECT key, value FROM state"))
        finally:
            database.close()
    highest = max(state.get("epoch", 0), state.get("seen_epoch", 0))
    return {
        "tree": state["tree"],
        "sequence": state.get("sequence", 0),
        "released": state.get("released", 0),
        **announced.told(value),
        "highest_epoch": highest,
    }


def leave_wish(journal: Path, *, take_over: bool) -> dict[str, Any]:
    """Note for the next producer with this journal what a person wants of its epoch. Returns how the epoch stands.

    Raises AlreadyRunningError where a producer has it, and what a journal raises.
    """
    tree = str(told_by(journal)["tree"])
    with ProcessLock(journal.parent / LOCK_NAME):
        opened = Journal(journal, tree)
        try:
            opened.note(opened.announced.wishing(Wish.TAKE_OVER if take_over else Wish.START))
        finally:
            opened.close()
    return told_by(journal)
