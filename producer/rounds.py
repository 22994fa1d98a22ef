"""Decides what is left of a round: changes that are being cut into batches, and what was taken for them, which goes back if that
fails. Knows the dirty set alone."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from common.names import ancestors
from producer.dirty import DirtySet
from producer.values import Change, Taken

Settles = Callable[[], Collection[bytes]]
OnEnd = Callable[[int, Settles], None]


def _tell_nobody(_number: int, _settles: Settles) -> None:
    """Where nobody waits."""


class Round:
    """The round that is under way, if one is."""

    def __init__(self, dirty: DirtySet) -> None:
        self._dirty = dirty
        self.on_end: OnEnd = _tell_nobody
        """Told a round's number and what it settles, when all that came of it was taken over; of none that is given up."""
        self._batches: Iterator[list[Change]] | None = None
        self._seen: Mapping[bytes, float] = {}
        self.taken: Sequence[Taken] = ()
        """What was taken for it."""
        self.settles: Settles = tuple
        """Tells the paths of which all is known when it has ended."""
        self.number = 0
        """Of the last one that was begun."""

    @property
    def is_open(self) -> bool:
        """Whether some of it may still be cut."""
        return self._batches is not None

    def begin(self, taken: Sequence[Taken], seen: Mapping[bytes, float]) -> None:
        """These were taken, which were hinted at first then; nothing is to be cut yet."""
        self.taken, self._seen, self.settles, self._batches = taken, seen, tuple, iter(())
        self.number += 1

    def cut_from(self, batches: Iterator[list[Change]]) -> None:
        """These come of it."""
        self._batches = batches

    def cut(self) -> list[Change]:
        """The next batch; none at its end."""
        batch = next(self._batches, None) if self._batches is not None else None
        if batch is None:
            if self._batches is not None:
                self.on_end(self.number, self.settles)
            self.taken, self.settles, self._batches = (), tuple, None
        return batch or []

    def seen(self, changes: Iterable[Change]) -> list[float | None]:
        """When each of these paths was hinted at first, or what is above it and took it away; None: nothing was taken for it."""
        return [self._seen_at(change.path) for change in changes]

    def _seen_at(self, path: bytes) -> float | None:
        seen = self._seen.get(path)
        if seen is not None:
            return seen
        return next((self._seen[above] for above in ancestors(path) if above in self._seen), None)

    def give_up(self) -> None:
        """Its paths are looked at again: those that were published already will show no difference. Idempotent."""
        if self._batches is not None:
            self._dirty.give_back(self.taken)
            self.taken, self.settles, self._batches = (), tuple, None
