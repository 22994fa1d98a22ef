"""What the journal knows of the epochs that it announced: values, and the keys of its table `state` that hold them.

Every function takes the journal's connection; those that write are called inside a transaction of its owner. sqlite3's errors are
the caller's to convert. What follows from it is decided in `vouching`.
"""

import json
import sqlite3
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from common.messages import Lineage


class Wish(StrEnum):
    """What a person wants of the next epoch: `treecast epoch start`."""

    NONE = ""
    START = "start"
    """The source is right, whatever replicas hold."""
    TAKE_OVER = "take over"
    """Publish, although another producer leads."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A comparison with a replica that was beyond the limit: so many paths would be created, modified and deleted there."""

    replica: str
    creates: int
    modifies: int
    deletes: int
    limit: int


@dataclass(frozen=True, slots=True)
class Announced:
    """The last epoch that was announced, and what is known of the journal since.

    `is_vouched`: the index is what was published under this epoch and after it. `since`: unix seconds.
    """

    is_vouched: bool = False
    epoch: int = 0
    instance: bytes = b""
    since: float = 0.0
    doubt: Doubt | None = None
    wish: Wish = Wish.NONE

    def is_of(self, lineage: Lineage) -> bool:
        """Whether this very run has announced its epoch."""
        return self.is_vouched and (self.epoch, self.instance) == (lineage.epoch, lineage.instance)

    def announced(self, lineage: Lineage, unix_seconds: float) -> "Announced":
        """After this epoch was announced: nothing is doubted or wished any more."""
        return Announced(True, lineage.epoch, lineage.instance, unix_seconds)

    def wishing(self, wish: Wish, *, leads: bool = False) -> "Announced":
        """After a person said what the next epoch is to be. To take over says more than to start, as long as there may be
        somebody to take over from: not where this one `leads`, nor where a replica was compared with it and it was doubted."""
        is_kept = self.wish is Wish.TAKE_OVER and not leads and self.doubt is None
        return replace(self, wish=self.wish if is_kept else wish)

    def reopened(self) -> "Announced":
        """After the index was found to be older than what was published: nobody vouches for it."""
        return replace(self, is_vouched=False)


_KEYS = ("vouched", "announced_epoch", "announced_instance", "announced_at", "doubt", "wish")
_SET = "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def read(database: sqlite3.Connection) -> Announced:
    """As the journal has it; of a new one nothing."""
    marks = ",".join("?" * len(_KEYS))
    told: dict[str, Any] = dict(database.execute(f"SELECT key, value FROM state WHERE key IN ({marks})", _KEYS))
    doubt = told.get("doubt")
    return Announced(
        bool(told.get("vouched", 0)),
        told.get("announced_epoch", 0),
        told.get("announced_instance", b""),
        told.get("announced_at", 0.0),
        Doubt(**json.loads(doubt)) if doubt else None,
        Wish(told.get("wish", "")),
    )


def told(value: Announced) -> dict[str, Any]:
    """For a person: the last epoch that was announced, and what was doubted or wished since; `since`: unix seconds."""
    return {
        "epoch": value.epoch,
        "instance": value.instance.hex(),
        "since": value.since or None,
        "vouched": value.is_vouched,
        "doubt": asdict(value.doubt) if value.doubt is not None else None,
        "wish": str(value.wish),
    }


def write(database: sqlite3.Connection, value: Announced) -> None:
    """All of it. Idempotent."""
    doubt = json.dumps(asdict(value.doubt)) if value.doubt is not None else ""
    told = (
        int(value.is_vouched),
        value.epoch,
        value.instance,
        value.since,
        doubt,
        str(value.wish),
    )
    database.executemany(_SET, zip(_KEYS, told, strict=True))
