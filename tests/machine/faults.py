"""What a disk may fail with: an error of the system at some of the calls of some kinds, for a while.

Only errors that say nothing of the path: none of them may be taken for "it is not there".
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.machine.looking import error_of

CREATING = frozenset({"create", "write", "mkdir", "symlink", "link", "fallocate", "commit"})
CHANGING = CREATING | {"rename", "unlink", "rmdir", "chmod", "utime", "truncate"}
OPENING = frozenset({"open", "create", "dup"})
READING = frozenset({"open", "read", "list", "stat", "readlink"})
SYNCING = frozenset({"fsync", "syncfs"})

OF_A_REPLICA: tuple[tuple[int, frozenset[str]], ...] = (
    (errno.ENOSPC, CREATING),
    (errno.EDQUOT, CREATING),
    (errno.EMFILE, OPENING),
    (errno.ENOMEM, OPENING | READING | CREATING),
    (errno.EROFS, CHANGING),
    (errno.EIO, CHANGING | SYNCING),
    (errno.EIO, SYNCING),
    (errno.EIO, READING),
    (errno.EIO, frozenset({"list"})),
)
OF_THE_MASTER: tuple[tuple[int, frozenset[str]], ...] = (
    (errno.EIO, READING),
    (errno.EIO, frozenset({"list"})),
    (errno.EIO, frozenset({"stat"})),
    (errno.EACCES, READING),
    (errno.ESTALE, READING),
    (errno.EMFILE, OPENING),
    (errno.ENOMEM, OPENING | READING),
    (errno.ENOSPC, frozenset({"commit"})),
    (errno.EIO, frozenset({"commit"})),
)
ODDS = (0.02, 0.1, 0.5, 1.0)
HITS = (1, 1, 3, None)
SECONDS = (0.5, 3.0, 20.0, 400.0)


@dataclass
class Fault:
    """One fault of one disk. Called before each call of the system; raises what it fails with."""

    number: int
    whats: frozenset[str]
    odds: float
    left: int | None
    until: float
    now: Callable[[], float]
    rng: Random
    hits: int = field(default=0)

    def __call__(self, what: str) -> None:
        if what not in self.whats or self.left == 0 or self.now() >= self.until or self.rng.random() >= self.odds:
            return
        self.left = None if self.left is None else self.left - 1
        self.hits += 1
        raise error_of(self.number)


def drawn(kinds: tuple[tuple[int, frozenset[str]], ...], rng: Random, now: Callable[[], float]) -> Fault:
    """Any fault of these kinds, from now on."""
    number, whats = rng.choice(kinds)
    odds, left, seconds = rng.choice(ODDS), rng.choice(HITS), rng.choice(SECONDS)
    return Fault(number, whats, odds, left, now() + seconds, now, Random(rng.random()))
