"""Decides how a mirror calls its tree and its replicas, and where their state lies. Touches no disk: paths come resolved."""

import os
import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

TREE_KEY_DIGITS = 12
REPLICA_KEY_DIGITS = 8
_READABLE_LENGTH = 40


@dataclass(frozen=True, slots=True)
class ReplicaPlace:
    """One replica. `given`: as the person typed it; `target`: its real path; `state`: its consumer's own directory."""

    given: str
    target: Path
    name: str
    state: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """One mirror. `given` and `source` as in `ReplicaPlace`; `state` is the mirror's own directory."""

    given: str
    source: Path
    tree: str
    state: Path
    replicas: tuple[ReplicaPlace, ...]

    @property
    def queue(self) -> Path:
        """The database of the embedded queue."""
        return self.state / "queue.db"

    @property
    def broker(self) -> str:
        """The queue as a broker's URL."""
        return f"sqlite:///{self.queue}"

    @property
    def producer_state(self) -> Path:
        """The producer's own directory."""
        return self.state / "producer"

    @property
    def lock(self) -> Path:
        """Whoever has this lock is the one mirror of this source."""
        return self.state / "lock"


def make_layout(source: tuple[str, Path], replicas: list[tuple[str, Path]], state: Path) -> Layout:
    """Source and replicas: each as given, and its real path. `state`: the mirror's own directory."""
    places = [
        ReplicaPlace(given, target, replica_name(target), state / "replicas" / key_of(target))
        for given, target in replicas
    ]
    return Layout(*source, tree_name(source[1]), state, tuple(places))


def key_of(path: Path) -> str:
    """What a real path is known by: short, and fit for a file's name."""
    return blake2b(os.fsencode(path), digest_size=16).hexdigest()


def tree_name(source: Path) -> str:
    """The same for the same real path, whatever else is mirrored here."""
    return f"mirror-{key_of(source)[:TREE_KEY_DIGITS]}"


def replica_name(target: Path) -> str:
    """Readable as far as an allowed name can be, and no other target's."""
    readable = re.sub(r"[^a-z0-9]+", "-", target.name.lower())[:_READABLE_LENGTH].strip("-")
    return "-".join(filter(None, [readable, key_of(target)[:REPLICA_KEY_DIGITS]]))
