"""Does: the process that makes answers: `python -m producer.answering JOURNAL SOURCE`, started by `answering_process`.

It hears parcels on standard input, says them on standard output, and ends when its input does: however the producer ended,
nothing is left. It only reads: the journal on a connection of its own, and the source. It is nicer than the loop: batches go
first.
"""

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

from common.endings import line_for
from common.messages import Question
from common.patterns import Patterns
from common.wire import codec
from producer.answerer import Noted, Said, size_of
from producer.answers import Answers
from producer.contents import Contents
from producer.making import Making
from producer.parcels import Asked, Credit, Cutter, Forget, Idle, Parcel, pack
from producer.snapshots import Snapshots
from producer.source import Source

NICENESS = 5
READ_BYTES = 256 * 1024
WRITE_BYTES = 128 * 1024
WRITE_SECONDS = 0.01
"""What was made is said when it is so much, or after so long."""
FAILED = 1


class Answering:
    """One life of the process. `input_fd`, `output_fd`: pipes to and from the loop."""

    def __init__(self, answers: Answers, tree: str, input_fd: int, output_fd: int) -> None:
        self._answers = answers
        self._tree = tree
        self._input = input_fd
        self._output = output_fd
        self._cutter = Cutter()
        self._credit_bytes = 0
        self._heard = 0
        self._told_idle = 0

    def run(self) -> None:
        """Until the input ends. Raises BrokenPipeError where nobody hears any more."""
        while self._hear():
            if self._may_make:
                self._say(self._make())
            self._tell_idle()

    @property
    def _may_make(self) -> bool:
        return self._credit_bytes > 0 and len(self._answers) > 0

    def _hear(self) -> bool:
        """Take in what has come: before each spell of making, so that the newest question of a replica is answered. Waits when
        there is nothing else to do. False: the input has ended."""
        if self._may_make and not select.select([self._input], [], [], 0)[0]:
            return True
        data = os.read(self._input, READ_BYTES)
        for parcel in self._cutter.cut(data):
            self._take(parcel)
        return bool(data)

    def _take(self, parcel: Parcel) -> None:
        match parcel:
            case Asked(question):
                self._heard += 1
                self._ask(question)
            case Forget(replica):
                self._answers.forget(replica)
            case Credit(size_bytes):
                self._credit_bytes += size_bytes

    def _ask(self, question: bytes) -> None:
        message = codec.decode_upstream(question, self._tree)
        if isinstance(message, Question):
            self._answers.ask(message)

    def _make(self) -> list[Said]:
        said: list[Said] = []
        size_bytes, until = 0, time.monotonic() + WRITE_SECONDS
        with self._answers.held():
            while self._may_make and size_bytes < WRITE_BYTES and time.monotonic() < until:
                more = self._answers.make(self._credit_bytes)
                made_bytes = sum(map(size_of, more))
                size_bytes += made_bytes
                self._credit_bytes -= made_bytes
                said += more
        return said

    def _tell_idle(self) -> None:
        if not len(self._answers) and self._told_idle != self._heard:
            self._told_idle = self._heard
            self._say([Idle(self._heard)])

    def _say(self, parcels: "list[Said] | list[Idle]") -> None:
        data = memoryview(b"".join(map(pack, parcels)))
        while data:
            data = data[os.write(self._output, data) :]


def main(journal: str, source: str, *exclude: str) -> int:
    """`exclude`: the lines of the tree's patterns. Returns the exit code: 0 where the input ended."""
    # Ctrl-C reaches the whole group; the loop decides when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    input_fd, output_fd = sys.stdin.fileno(), sys.stdout.fileno()
    try:
        snapshots = Snapshots(Path(journal))
        with snapshots.reading() as snapshot:
            tree = snapshot.lineage.tree
        contents = Contents(Source(Path(source), Patterns(exclude)))
        Answering(Answers(Making(snapshots, contents), time.monotonic), tree, input_fd, output_fd).run()
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001 - whatever it is, the loop's log says it
        with contextlib.suppress(OSError):
            os.write(output_fd, pack(Noted(f"the process that makes answers: {line_for(error)}")))
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
