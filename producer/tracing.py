"""Does: finds out how one path stands now, in each part of the pipeline that a change passes through. Changes nothing."""

from common.board import Board
from common.entries import Entry
from common.names import escape
from producer.comparing import Comparer
from producer.dirty import DirtySet
from producer.finding import Finding
from producer.held import Mark
from producer.journal import Journal
from producer.rounds import Round
from producer.source import Source
from producer.stages import BatchTimes, Stages
from producer.traced import Standing, Times, TimesOf

_HELD = {Mark.HELD: "held", Mark.RELEASED: "released", Mark.FREE: "free"}


class Tracing:
    """See the module. Owned by one thread."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a change passes through
        self,
        source: Source,
        board: Board,
        stages: Stages,
        journal: Journal,
        finding: Finding,
        dirty: DirtySet,
        comparer: Comparer,
        round_: Round,
    ) -> None:
        self._journal = journal
        self._source = source
        self._board = board
        self._finding = finding
        self._dirty = dirty
        self._comparer = comparer
        self._round = round_
        self._stages = stages

    @property
    def sequence(self) -> int:
        """Where the journal stands."""
        return self._journal.stand.sequence

    def times(self) -> TimesOf:
        """The times of what left lately, as they are now; may be asked in another thread."""
        batch_of = self._stages.snapshot()

        def times_of(sequence: int) -> Times | None:
            batch = batch_of(sequence)
            return None if batch is None else _times(batch, sequence)

        return times_of

    def standing(self, path: bytes) -> Standing:
        """How it stands in this moment."""
        entry = self._journal.entry(path)
        mark = self._journal.held.of([path]).get(path)
        return Standing(
            entry,
            self._pending(path),
            self._hashing(path),
            _HELD[mark] if mark is not None else "",
            self._board.problem_at(path) or "",
            self._excluded(path, entry),
            self._finding.is_scanning,
        )

    def _pending(self, path: bytes) -> str:
        if path in self._dirty:
            return "waits to be looked at again" if self._dirty.is_delayed(path) else "waits to be looked at"
        if any(taken.path == path for taken in self._round.taken):
            return "is in the round that is being published"
        return "is below what waits to be scanned" if self._dirty.is_to_be_scanned(path) else ""

    def _hashing(self, path: bytes) -> str:
        unhashed = self._comparer.unhashed
        if unhashed.is_in_hand(path):
            return "is being hashed"
        return "waits for its hash" if path in unhashed.paths() else ""

    def _excluded(self, path: bytes, entry: Entry | None) -> str:
        patterns = self._source.patterns
        kinds = (False, True) if entry is None else (entry.is_directory,)
        line = next((line for kind in kinds if (line := patterns.line_for(path, kind)) is not None), "")
        return escape(line.encode("utf-8", "surrogateescape"))


def _times(batch: BatchTimes, sequence: int) -> Times:
    def after(moment: float | None) -> float | None:
        return None if moment is None else moment - batch.journaled

    return Times(batch.seen_seconds(sequence), after(batch.published), after(batch.confirmed))
