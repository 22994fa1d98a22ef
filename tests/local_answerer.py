"""An `Answerer` in the caller's own thread: the same questions, turns and answers as in the process, and nothing between."""

import time
from collections.abc import Callable
from pathlib import Path

from common.messages import Question
from common.patterns import Patterns
from common.wire import codec
from producer.answerer import Said, size_of
from producer.answers import Answers
from producer.contents import Contents
from producer.making import Making
from producer.snapshots import Snapshots
from producer.source import Source


class LocalAnswerer:
    """See `producer.answerer.Answerer`."""

    def __init__(
        self,
        journal: Path,
        source: Path,
        exclude: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshots = Snapshots(journal)
        with self._snapshots.reading() as snapshot:
            self._tree = snapshot.lineage.tree
        self._source = Source(source, Patterns(exclude))
        self.answers = Answers(Making(self._snapshots, Contents(self._source)), clock)
        self._lacks_room = False

    def ask(self, question: bytes, now: float) -> None:
        message = codec.decode_upstream(question, self._tree)
        assert isinstance(message, Question)
        self.answers.ask(message)

    def forget(self, replica: str, now: float) -> None:
        self.answers.forget(replica)

    def take(self, room_bytes: float, now: float) -> list[Said]:
        said: list[Said] = []
        while room_bytes > 0 and len(self.answers):
            more = self.answers.make(room_bytes)
            room_bytes -= sum(map(size_of, more))
            said += more
        return said

    def wait_seconds(self) -> float | None:
        return 0.01 if len(self.answers) else None

    def close(self) -> None:
        self._snapshots.close()
        self._source.close()
