"""A producer that a test drives step by step: real files and a real journal, the transport's twin, a clock of the test's own.

`plain tree` is the reference: what applying the published messages to a dict gives. It uses the wire format and nothing of the
producer.
"""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from common import digests
from common.board import Board
from common.entries import Entry, Kind
from common.holds import NO_HOLD, HoldLimit
from common.messages import INLINE_LIMIT_BYTES, Batch, Heartbeat
from common.patterns import Patterns
from common.wire import codec
from producer.answerer import Answerer
from producer.journal import Journal
from producer.pipeline import Pipeline
from producer.source import LARGE_LIMIT_BYTES, Source
from producer.stream import begin_epoch
from producer.vouching import REPLICAS_SPEAK_SECONDS
from producer.watch.choice import choose_watch
from producer.watch.port import Watch
from tests.local_answerer import LocalAnswerer
from tests.twins import MemoryBroker

TREE = "music"
STEP_LIMIT_SECONDS = 10.0
MakeAnswerer = Callable[[Path, Path, Board], Answerer]
"""From the journal's path, the source and the board."""


class RunningProducer:
    """One run of a producer. `crash` ends it as a kill would; a new object on the same state is the next run."""

    def __init__(
        self,
        source: Path,
        state: Path,
        broker: MemoryBroker,
        *,
        exclude: tuple[str, ...] = (),
        watch: Watch | None = None,
        settle_seconds: float = 0.0,
        large_limit_bytes: int = LARGE_LIMIT_BYTES,
        scan_interval_seconds: float | None = None,
        make_answerer: MakeAnswerer | None = None,
        bandwidth_bytes: int | None = None,
        hold: HoldLimit = NO_HOLD,
    ) -> None:
        self.broker = broker
        self.board = Board("producer", TREE)
        state.mkdir(exist_ok=True)
        self.journal = Journal(state / "journal.db", TREE)
        begin_epoch(self.journal)
        self.source = Source(
            source, Patterns(exclude), settle_seconds=settle_seconds, large_limit_bytes=large_limit_bytes
        )
        self._skew = 0.0
        self.publisher = broker.publisher()
        if make_answerer is None:
            self.answerer: Answerer = LocalAnswerer(self.journal.path, source, exclude)
        else:
            self.answerer = make_answerer(self.journal.path, source, self.board)
        self.pipeline = Pipeline(
            self.journal,
            self.source,
            self.board,
            publisher=self.publisher,
            subscriber=broker.upstream_subscriber(),
            answerer=self.answerer,
            make_watch=lambda: watch or self._watched(source, state / "marks"),
            leader="here:1",
            hold=hold,
            bandwidth_bytes=bandwidth_bytes,
            scan_interval_seconds=scan_interval_seconds,
        )

    def _watched(self, source: Path, marks: Path) -> Watch:
        return choose_watch(os.fsencode(source), self.source.patterns, lambda: None, marks=marks)

    def now(self) -> float:
        """The producer's clock."""
        return time.monotonic() + self._skew

    def skip(self, seconds: float) -> None:
        """Let the producer's clock jump."""
        self._skew += seconds

    def step(self) -> float:
        """One round."""
        return self.pipeline.step(self.now())

    def settle(self) -> None:
        """Rounds until the producer says that it is quiet. Replicas have spoken when the clock jumps."""
        if not self.journal.is_announced:
            self.step()
            self.skip(REPLICAS_SPEAK_SECONDS)
        self.run_until(lambda: bool(self.board.status()["quiet"]), "quiet")

    def publisher_has_room(self) -> bool:
        """Whether another batch may be numbered."""
        count, size = self.publisher.in_flight()
        return count < 64 and size < 64 * 1024 * 1024

    def alarms(self) -> set[str]:
        """The kinds of the alarms that are on."""
        return set(self.board.alarms())

    def problems(self) -> set[bytes]:
        """The paths with a problem."""
        return set(self.board.problem_paths())

    def run_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Rounds until a claim holds; waits between them as long as the loop would, at most a little."""
        limit = time.monotonic() + STEP_LIMIT_SECONDS
        # The kernel's events are there at once, but their reader is a thread.
        pause = 0.005
        while True:
            time.sleep(pause)
            wait_seconds = self.step()
            if is_so():
                return
            assert time.monotonic() < limit, f"not {what}: {self.board.status()}"
            pause = min(wait_seconds, 0.02)

    def stop(self) -> None:
        """Ends as the service does."""
        self.journal.outbox.confirmed(self.publisher.confirmed())
        self.journal.outbox.forget()
        self.crash()

    def crash(self) -> None:
        """Ends without any good-bye: nothing more is journaled or published."""
        self.pipeline.close()
        self.answerer.close()
        self.source.close()
        self.journal.close()
        self.broker.publishers.remove(self.publisher)


class PlainTree:
    """A dict that published messages are applied to, and every law of the stream checked on the way."""

    def __init__(self, base: dict[bytes, tuple[Entry, bytes | None]] | None = None) -> None:
        """`base`: what was there before the first event."""
        self.tree: dict[bytes, tuple[Entry, bytes | None]] = dict(base or {})
        self.position = (0, 0)
        self.head = b""
        self.seen = 0
        self.pairs: dict[tuple[int, int], bytes] = {}

    def follow(self, broker: MemoryBroker) -> None:
        """Apply what came since the last call."""
        for data in broker.events[self.seen :]:
            message = codec.decode_downstream(data, TREE)
            if isinstance(message, Heartbeat):
                self._heartbeat(message)
            elif isinstance(message, Batch):
                self._batch(message, data)
        self.seen = len(broker.events)

    def _heartbeat(self, heartbeat: Heartbeat) -> None:
        position = (heartbeat.lineage.epoch, heartbeat.sequence)
        assert position >= self.position
        assert heartbeat.digest == self.digest(heartbeat.lineage.salt)
        self.position, self.head = position, heartbeat.head

    def _batch(self, batch: Batch, data: bytes) -> None:
        pair = (batch.lineage.epoch, batch.last)
        assert self.pairs.setdefault(pair, data) == data, "a pair means two things"
        if pair <= self.position:
            return
        assert batch.first == self.position[1] + 1
        if batch.lineage.epoch == self.position[0]:
            assert batch.prev == self.head
        assert batch.before == self.digest(batch.lineage.salt)
        for event in batch.events:
            self._apply(event.path, event.entry, event.body)
            self.check_tree()
        assert batch.after == self.digest(batch.lineage.salt)
        self.position, self.head = pair, batch.hash

    def _apply(self, path: bytes, entry: Entry | None, body: bytes | None) -> None:
        if entry is None:
            assert path in self.tree
            del self.tree[path]
            return
        if body is not None:
            assert digests.content_digest(body) == entry.digest
            assert len(body) <= INLINE_LIMIT_BYTES
        elif not entry.is_directory and entry.size <= INLINE_LIMIT_BYTES:
            before, body = self.tree[path]
            assert before.same_content(entry), "a content that nobody was told"
        self.tree[path] = (entry, body)

    def entries(self) -> dict[bytes, Entry]:
        """The tree without contents."""
        return {path: entry for path, (entry, _) in self.tree.items()}

    def check_tree(self) -> None:
        """What is above an entry is a directory."""
        for path in self.tree:
            above = path.rpartition(b"/")[0]
            assert not above or self.tree[above][0].is_directory, path

    def digest(self, salt: bytes) -> bytes:
        """The tree digest from scratch."""
        found = digests.BucketDigests(salt)
        for path, (entry, _) in self.tree.items():
            found.replace(path, None, entry)
        return found.tree_digest()


def base_on_disk(root: Path) -> dict[bytes, tuple[Entry, bytes | None]]:
    """What is on the disk now, as a base that no event told."""
    return {path: (entry, None) for path, entry in entries_on_disk(root).items()}


def entries_on_disk(root: Path) -> dict[bytes, Entry]:
    """What is on the disk, by the plainest means."""
    found: dict[bytes, Entry] = {}
    base = os.fsencode(root)
    for directory, names, files in os.walk(base):
        for name in names + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, base)] = entry_on_disk(path)
    return found


def entry_on_disk(path: bytes) -> Entry:
    """One path's entry, by the plainest means."""
    told = os.lstat(path)
    if stat.S_ISLNK(told.st_mode):
        target = os.readlink(path)
        return Entry(Kind.SYMLINK, 0o777, 0, len(target), digests.content_digest(target))
    if stat.S_ISDIR(told.st_mode):
        return Entry(Kind.DIRECTORY, told.st_mode & 0o777, 0, 0, b"")
    with open(path, "rb") as file:
        content = file.read()
    return Entry(Kind.FILE, told.st_mode & 0o777, told.st_mtime_ns, len(content), digests.content_digest(content))
