"""Decides what is left of a round: changes that are being cut into batches, and what was taken for them, which goes back if that
fails. Knows the dirty set alone."""

from collections.abc import Iterator, Sequence

from producer.dirty import DirtySet
from producer.values import Change, Taken


class Round:
    """The round that is under way, if one is."""

    def __init__(self, dirty: DirtySet) -> None:
        self._dirty = dirty
        self._batches: Iterator[list[Change]] | None = None
        self.taken: Sequence[Taken] = ()
        """What was taken for it."""

    @property
    def is_open(self) -> bool:
        """Whether some of it may still be cut."""
        return self._batches is not None

    def begin(self, taken: Sequence[Taken]) -> None:
        """These were taken; nothing is to be cut yet."""
        self.taken, self._batches = taken, iter(())

    def cut_from(self, batches: Iterator[list[Change]]) -> None:
        """These come of it."""
        self._batches = batches

    def cut(self) -> list[Change]:
        """The next batch; none at its end."""
        batch = next(self._batches, None) if self._batches is not None else None
        if batch is None:
            self.taken, self._batches = (), None
        return batch or []

    def give_up(self) -> None:
        """Its paths are looked at again: those that were published already will show no difference. Idempotent."""
        if self._batches is not None:
            self._dirty.give_back(self.taken)
            self.taken, self._batches = (), None
