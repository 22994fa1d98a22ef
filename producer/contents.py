"""Does: reads from the source what answers carry: contents and parts that the index names. Knows no journal and no message.

What is not the indexed content is a value (`None`), not an error, and so is a root that is not there.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from common.entries import Entry
from common.errors import NoRoomError, RootGoneError
from common.names import PATTERNS_PATH
from producer.look import Looker
from producer.source import Source
from producer.values import Known


class Contents:
    """The contents of one source. Owned by one thread."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @contextmanager
    def reading(self) -> Iterator["Pass | None"]:
        """A short pass. None: the root is not there now, so nothing can be said of what is below it."""
        with ExitStack() as passes:
            yield self._enter(passes)

    def _enter(self, passes: ExitStack) -> "Pass | None":
        try:
            return Pass(self._source, passes.enter_context(self._source.looking()))
        except RootGoneError:
            # Another directory may have taken its place: contents are proved by digest and identity, wherever they are.
            self._source.check()
        try:
            return Pass(self._source, passes.enter_context(self._source.looking()))
        except RootGoneError:
            return None


class Pass:
    """One pass of reading; directories stay open meanwhile."""

    def __init__(self, source: Source, looker: Looker) -> None:
        self._source = source
        self._looker = looker

    def body(self, path: bytes, entry: Entry) -> bytes | None:
        """The content that the index names, proved by its digest."""
        if path == PATTERNS_PATH:
            return self._source.patterns_text(entry)
        try:
            return self._looker.read_body(path, entry)
        except NoRoomError:
            return None

    def part(self, known: Known, offset: int) -> bytes | None:
        """One part of a large content, while the file is the one that was hashed; see `producer.parts`."""
        return self._source.read_part(known, offset)
