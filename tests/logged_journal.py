"""A real journal that a test commits to path by path, with the trees at every position: what since answers are held against."""

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.digests import content_digest
from common.entries import Entry, directory_entry, file_entry
from producer import numbering
from producer.epochs import new_lineage
from producer.journal import LOG_LIMIT_ROWS, Journal
from producer.values import Change

Tree = dict[bytes, Entry]


class LoggedJournal:
    """`trees`: the tree at each (epoch, sequence) at which a batch ended, and at the first position of an epoch."""

    def __init__(self, path: Path, *, log_limit_rows: int = LOG_LIMIT_ROWS) -> None:
        self.path = path
        self.log_limit_rows = log_limit_rows
        self.trees: dict[tuple[int, int], Tree] = {}
        self.open()

    def open(self) -> None:
        """A run of a producer begins."""
        self.journal = Journal(self.path, "music", log_limit_rows=self.log_limit_rows)
        self.begin_epoch()

    def begin_epoch(self) -> None:
        journal = self.journal
        journal.begin_epoch(new_lineage("music", journal.stand.lineage.salt, journal.highest_epoch, 1000.0))
        self._note()

    def crash(self) -> None:
        """It ends, and the next run begins."""
        self.journal.close()
        self.open()

    @property
    def tree(self) -> Tree:
        return {known.path: known.entry for known in self.journal.known()}

    @property
    def at(self) -> int:
        return self.journal.stand.sequence

    def commit(self, *changes: tuple[bytes, Entry | None]) -> numbering.Numbered:
        """One batch; what is not different from the index is left out of it."""
        journal = self.journal
        found = [Change(path, journal.entry(path), new) for path, new in changes]
        numbered = numbering.number(journal.stand, [one for one in found if one.old != one.new])
        journal.commit(numbered)
        self._note()
        return numbered

    def _note(self) -> None:
        epoch, sequence = self.journal.stand.position
        self.trees[epoch, sequence] = self.tree


def file(content: str) -> Entry:
    """A file that holds this."""
    return file_entry(0o644, 1, len(content), content_digest(content.encode()))


DIRECTORY = directory_entry(0o755)


@contextmanager
def reading(contents: Mapping[bytes, bytes] | None = None) -> Any:
    """A source that has these contents, or none."""
    known = contents or {}

    def read_body(path: bytes, entry: Entry) -> bytes | None:
        body = known.get(path)
        return body if body is not None and content_digest(body) == entry.digest else None

    yield read_body
