"""What stays the same in one story: who takes part, and what is likely there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.holds import NO_HOLD, HoldLimit
from tests.machine.rules import Rules

PATHS = [
    b"a", b"b", b"c", b"d", b"a/x", b"a/y", b"b/x", b"a/x/p", b"a/x/q", b"b/x/p", b"c/z", b"d/\xff", b"d/\xff/n", b"e",
]  # fmt: skip
REPLICAS = ("one", "two")


@dataclass(frozen=True, slots=True)
class Setting:
    """What stays the same in one story."""

    broker: str = "rabbit"
    """"rabbit" or "embedded"."""
    watches: bool = True
    interleaves: bool = True
    """Whether the master is edited in the middle of looks at it."""
    is_root_user: bool = True
    umask: int = 0o022
    lateness: float = 0.0
    """How likely an answer waits for another round."""
    log_rows: int = 1000
    """How far the producer's change log goes back."""
    replicas: tuple[str, ...] = REPLICAS
    edits: int | None = None
    """How often the master was edited before anything starts; None: by chance."""
    hold_paths: int | None = None
    """More deletes than this are held at the producer; None: all go."""
    replica_hold_paths: int | None = None
    """And at a replica, where nobody vouches for them."""
    more_paths: tuple[bytes, ...] = ()
    """Paths beside those that every story has."""
    protect: Mapping[str, Rules] = field(default_factory=dict)
    """What replicas protect by patterns of their own."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """What becomes of foreign things on them, where that is not to go aside."""
    ready_max_lag_seconds: float | None = None
    """From when on a replica that is behind wants to step out of service; None: never."""
    seed: int = 0


def limit_of(paths: int | None) -> HoldLimit:
    """A limit for small trees."""
    return NO_HOLD if paths is None else HoldLimit(paths, percent=0)
