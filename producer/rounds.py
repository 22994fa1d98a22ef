"""Decides what is left of a round: changes that are being cut into batches, and what was taken for them, which goes back if that
fails. Knows the dirty set alone."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

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

    def begin(self, taken: Sequence[Taken]) -> None:
        """These were taken; nothing is to be cut yet."""
        self.taken, self.settles, self._batches = taken, tuple, iter(())
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

    def seen(self, changes: Iterable[Change]) -> float | None:
        """When the oldest of these paths was hinted at first; None: nothing was taken for any."""
        paths = {change.path for change in changes}
        return min((taken.since for taken in self.taken if taken.path in paths), default=None)

    def give_up(self) -> None:
        """Its paths are looked at again: those that were published already will show no difference. Idempotent."""
        if self._batches is not None:
            self._dirty.give_back(self.taken)
            self.taken, self.settles, self._batches = (), tuple, None
