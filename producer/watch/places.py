"""Decides where each watched directory is in the tree: watch to (watch above, name). Knows no disk and no system call.

A directory that is moved changes one place; everything below it follows by itself.
"""

from collections.abc import Iterable
from typing import NamedTuple

from common.names import COMPONENTS_LIMIT, ROOT, join


class Place(NamedTuple):
    """A name in a watched directory."""

    above: int
    name: bytes


class Places:
    """The watched directories of one tree. About 200 bytes for each. Owned by one thread."""

    def __init__(self) -> None:
        self.root: int | None = None
        self._places: dict[int, Place] = {}

    def __len__(self) -> int:
        return len(self._places) + (self.root is not None)

    def __contains__(self, watch: int) -> bool:
        return watch == self.root or watch in self._places

    def put(self, watch: int, place: Place) -> None:
        """This directory is there, wherever it was before."""
        if watch != self.root:
            self._places[watch] = place

    def drop(self, watch: int) -> None:
        """Not watched any more. Idempotent."""
        if watch == self.root:
            self.root = None
        self._places.pop(watch, None)

    def at(self, places: Iterable[Place]) -> list[tuple[int, Place]]:
        """Which directories are believed to be at these places. Looks at all of them."""
        wanted = set(places)
        return [(watch, place) for watch, place in self._places.items() if place in wanted] if wanted else []

    def subtree(self, top: int) -> list[int]:
        """A directory and all that are below it. Looks at all of them."""
        below = {top: True}
        for watch in self._places:
            chain: list[int] = []
            here = watch
            while here not in below and here in self._places and len(chain) <= COMPONENTS_LIMIT:
                chain.append(here)
                here = self._places[here].above
            below.update(dict.fromkeys(chain, below.get(here, False)))
        return [watch for watch, is_below in below.items() if is_below]

    def others(self, seen: set[int]) -> list[int]:
        """All but these, and but the root."""
        return [watch for watch in self._places if watch not in seen]

    def path(self, watch: int) -> bytes | None:
        """Where the directory is; `ROOT` for the root, None when it hangs on nothing that is watched."""
        names: list[bytes] = []
        while watch != self.root:
            place = self._places.get(watch)
            if place is None or len(names) > COMPONENTS_LIMIT:  # the latter: moves that are half told make a ring
                return None
            names.append(place.name)
            watch = place.above
        return b"/".join(reversed(names)) if names else ROOT

    def path_of(self, place: Place) -> bytes | None:
        """The path of a name in a watched directory."""
        above = self.path(place.above)
        return None if above is None else join(above, place.name)
