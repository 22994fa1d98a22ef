"""What a hook's run is told, and what came of it; the port to whoever carries it out. Decides nothing, does nothing."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from common.entries import Position

ENVIRONMENT = "TREECAST_"
HEADER = "Treecast-"
DETAIL_LIMIT_CHARACTERS = 200


class Facts(NamedTuple):
    """Of which replica, and at which position. `is_everything`: there is no list of paths, for all may have changed."""

    tree: str
    replica: str
    target: str
    position: Position
    is_everything: bool

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """A command's environment: this process's without any setting of ours, some of which are secret; and the facts."""
        kept = {name: value for name, value in inherited.items() if not name.startswith(ENVIRONMENT)}
        facts = {f"{ENVIRONMENT}{name.upper()}": value for name, value in self._words().items()}
        return {**kept, **facts, f"{ENVIRONMENT}TARGET": self.target}

    def headers(self) -> dict[str, str]:
        """The headers of a request."""
        return {f"{HEADER}{name.capitalize()}": value for name, value in self._words().items()}

    def _words(self) -> dict[str, str]:
        position = f"{self.position.epoch}.{self.position.sequence}"
        changed = "all" if self.is_everything else "list"
        return {"tree": self.tree, "replica": self.replica, "position": position, "changed": changed}


class Came(StrEnum):
    """What came of a run."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    """It was ended because this process ends."""


class Result(NamedTuple):
    """What came of a run; `detail`: for a person."""

    came: Came
    detail: str = ""


class Call(Protocol):
    """One run of a hook."""

    def run(self, listing: bytes) -> Result:
        """Tell it, and wait until that is done, failed or timed out. Never raises. For a thread of its own."""

    def abort(self) -> None:
        """End it soon. Any thread, at any time; idempotent."""


def one_line(text: str) -> str:
    """A detail for a log: printable, not long."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text).strip()
    return printable[-DETAIL_LIMIT_CHARACTERS:]
