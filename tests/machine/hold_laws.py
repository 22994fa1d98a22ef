"""The laws of holds: what is held stays as it is until that is released, is told, and is in the way of agreement.

What is held is read by plain SQL, from the journal and from each replica's state. Nothing here repairs anything.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.machine.disk import Node
from tests.machine.reference import Place, Tree, check, is_below

HELD = "held"


@dataclass
class HeldHere:
    """What one replica holds, as it was when it was last looked at, with what its disk showed there then."""

    nodes: dict[bytes, Node | None] = field(default_factory=dict)
    at: Place = (0, 0)
    is_let_go: bool = False
    """A person released it here since then."""

    def forget(self) -> None:
        """State or disk are others."""
        self.nodes, self.is_let_go = {}, False

    def edited(self, paths: set[bytes]) -> None:
        """Somebody else changed these: nothing can be said of them."""
        for path in paths & self.nodes.keys():
            self.nodes[path] = None

    def check(self, now: "Holding", disk: Tree, seen: Tree, released: Mapping[int, int]) -> None:
        """`seen`: the disk as it was when it was last looked at; `released`: what each epoch ever stated."""
        for path, was in self.nodes.items():
            if was is None:
                continue
            if path in now.held:
                is_needed = disk.get(path, "?")[0] == "d" and any(
                    is_below(p, path) for p in now.rows | now.unmet.keys()
                )
                check(disk.get(path) == was or is_needed, f"{path!r} is held, and changed on the disk")
            elif path not in now.rows and path not in disk:
                is_free = self.is_let_go or is_released(self.at, now.at, released)
                check(is_free, f"{path!r} was held, and went though nobody released it")
        for path in now.held - now.rows - self.nodes.keys() - now.edited:
            check(path in disk or path not in seen, f"{path!r} is held, and not on the disk")
        self.nodes = {path: None if path in now.edited else disk.get(path) for path in now.held}
        self.at, self.is_let_go = now.at, False


@dataclass(frozen=True)
class Holding:
    """What a replica says of its holds. `rows`: indexed paths; `edited`: what somebody else changed on its disk."""

    at: Place
    unmet: Mapping[bytes, str]
    rows: set[bytes]
    edited: set[bytes]

    @property
    def held(self) -> set[bytes]:
        """The paths that its disk keeps."""
        return {path for path, why in self.unmet.items() if why == HELD}


def is_released(was: Place, now: Place, released: Mapping[int, int]) -> bool:
    """Whether a replica may have heard, between these positions, that all it knew of was released."""
    if was[0] == now[0]:
        return released.get(now[0], 0) >= was[1]
    if 0 < released.get(was[0], 0) >= was[1]:
        return True  # heard before it went on to another epoch
    return any(upto > 0 for epoch, upto in released.items() if was[0] < epoch <= now[0])


def held_in_journal(database: sqlite3.Connection) -> set[bytes]:
    """The paths whose deletes wait at the producer."""
    ((hold,),) = database.execute("SELECT coalesce((SELECT value FROM state WHERE key = 'hold'), 1)").fetchall()
    return {path for (path,) in database.execute("SELECT path FROM held WHERE hold = ?", (hold,)).fetchall()}


@dataclass
class HeldByMaster:
    """What the producer holds. `let_go`: what a person released there, and that was never back since."""

    let_go: set[bytes] = field(default_factory=set)

    def check(self, database: sqlite3.Connection, published: Tree | None) -> None:
        """What is held is still published (None: nothing is yet); what was released once is never held again by itself."""
        held = held_in_journal(database)
        # A directory that was released waits all the same while something below it is held that was not.
        waits = {path for path in self.let_go if any(is_below(below, path) for below in held - self.let_go)}
        again = held & self.let_go - waits
        check(not again, f"released once, and held again: {sorted(again)}")
        if published is not None:
            check(held <= published.keys(), f"held, and not published: {sorted(held - published.keys())}")
