"""The slow comparison of all contents on the master: what it hints at, what it leaves to others, and where it goes on."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.entries import Entry
from producer import rereading
from producer.journal import Reread
from producer.rereading import Rereading
from producer.values import Identity
from tests.running_producer import PlainTree, RunningProducer, base_on_disk, entries_on_disk
from tests.twins import MemoryBroker, MemoryWatch
from tests.waiting import eventually, scaled


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "d").mkdir(parents=True)
    for number in range(20):
        (root / f"d/{number:02}").write_bytes(b"content %d" % number)
    (root / "large").write_bytes(bytes(3 << 20))
    (root / "link").symlink_to("d/00")
    return root


@pytest.fixture
def producer(source: Path, tmp_path: Path) -> Iterator[RunningProducer]:
    broker = MemoryBroker()
    producer = RunningProducer(source, tmp_path / "state", broker, watch=MemoryWatch())
    producer.settle()
    yield producer
    producer.crash()


@contextmanager
def comparing(
    producer: RunningProducer, source: Path, interval_seconds: float = 0.1, left_off: Reread | None = None
) -> Iterator[Callable[[], None]]:
    """The thread beside a producer's loop; yields a round of both."""
    comparison = Rereading(producer.journal.path, source, interval_seconds, producer.board, lambda: None)
    comparison.start(left_off if left_off is not None else producer.journal.reread)

    def turn() -> None:
        comparison.serve(producer.pipeline.reread, producer.journal, may_read=producer.pipeline.may_reread)
        producer.step()

    try:
        yield turn
    finally:
        comparison.close(producer.journal)


def until(turn: Callable[[], None], condition: Callable[[], object], what: str) -> None:
    def look() -> object:
        turn()
        return condition()

    eventually(look, 10, what)


def hide(producer: RunningProducer, path: Path, act: Callable[[], object]) -> None:
    """Change a file so that only its content tells: its times and its identity are the known ones."""
    seen = path.stat()
    act()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    now = path.stat()
    name = os.fsencode(path.relative_to(path.parents[1]))
    producer.journal.remember([(name, Identity(now.st_ino, now.st_ctime_ns))])


def figure(producer: RunningProducer, name: str) -> float:
    return producer.board.figures().get((name, ""), 0.0)


def flip(path: Path) -> None:
    """One bit of one byte."""
    with path.open("r+b") as file:
        first = file.read(1)[0]
        file.seek(0)
        file.write(bytes([first ^ 1]))


def test_other_content_under_the_same_size_and_times_is_found_and_published(
    producer: RunningProducer, source: Path
) -> None:
    plain = PlainTree(base_on_disk(source))
    plain.follow(producer.broker)
    hide(producer, source / "d/07", lambda: flip(source / "d/07"))
    producer.skip(4000)
    producer.settle()
    plain.follow(producer.broker)
    assert plain.entries() != entries_on_disk(source), "a scan must not see it, or this shows nothing"
    with comparing(producer, source) as turn:
        until(turn, lambda: figure(producer, "compare_findings_total") >= 1, "found")
        until(turn, lambda: producer.board.status()["quiet"], "published")
    plain.follow(producer.broker)
    assert plain.entries() == entries_on_disk(source)


def test_a_source_that_is_as_published_makes_no_event_and_the_end_is_kept(
    producer: RunningProducer, source: Path
) -> None:
    events = len(producer.broker.events)
    before = time.time()
    with comparing(producer, source) as turn:
        until(turn, lambda: figure(producer, "compare_last_success_timestamp_seconds") >= before, "compared")
    assert figure(producer, "compare_findings_total") == 0
    assert len(producer.broker.events) == events
    assert producer.journal.reread.ended >= before


def test_a_file_that_cannot_be_read_is_a_problem_deletes_nothing_and_is_no_success(
    producer: RunningProducer, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, file: rereading.File, pulse: object) -> rereading.Verdict:
        reads.append(file.path)
        if file.path == b"d/03":
            raise OSError(5, "Input/output error")
        return rereading.Verdict.SAME

    reads: list[bytes] = []
    hinted: list[bytes] = []
    monkeypatch.setattr(rereading, "_compare", refuse)
    monkeypatch.setattr(producer.pipeline, "reread", hinted.append)
    with comparing(producer, source) as turn:
        until(turn, lambda: reads.count(b"large") == 2, "twice through")
    assert set(hinted) == {b"d/03"}
    assert figure(producer, "compare_last_success_timestamp_seconds") == 0


def test_what_is_gone_is_left_to_watch_and_scans_and_nothing_is_read_while_the_root_is_in_doubt(
    producer: RunningProducer, source: Path, tmp_path: Path
) -> None:
    source.rename(tmp_path / "moved")
    producer.skip(10)
    producer.run_until(lambda: not producer.pipeline.may_reread, "in doubt")
    with comparing(producer, source) as turn:
        for _ in range(20):
            turn()
        assert not producer.pipeline.may_reread
        assert figure(producer, "compare_progress_ratio") == 0
        (tmp_path / "moved").rename(source)
        producer.skip(10)
        (source / "d/05").unlink()
        until(turn, lambda: figure(producer, "compare_last_success_timestamp_seconds") > 0, "compared")
    assert figure(producer, "compare_findings_total") == 0


def test_it_goes_on_where_an_earlier_process_left_off(
    producer: RunningProducer, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    compare = rereading._Contents.compare

    def spied(self: rereading._Contents, file: rereading.File, pulse: Callable[[int], None]) -> rereading.Verdict:
        read.append(file.path)
        return compare(self, file, pulse)

    monkeypatch.setattr(rereading._Contents, "compare", spied)
    with comparing(producer, source, 3600) as turn:
        until(turn, lambda: read, "begun")
    here = producer.journal.reread
    assert here.after == read[-1]
    assert here.began > 0
    first = list(read)
    with comparing(producer, source, 0.1, here._replace(began=0.0)) as turn:
        until(turn, lambda: b"large" in read, "through")
    assert read[len(first)] > first[-1]


def test_reading_is_spread_over_the_interval(producer: RunningProducer, source: Path) -> None:
    """Neither a large file nor many small ones are read at once."""
    with comparing(producer, source, 10_000.0) as turn:
        until(turn, lambda: figure(producer, "compare_progress_ratio") or threading.active_count() > 1, "begun")
        deadline = time.monotonic() + scaled(0.2)
        while time.monotonic() < deadline:
            turn()
        assert producer.journal.reread.ended == 0
    assert producer.journal.reread.after < b"d/05"


def test_one_that_changed_while_the_root_was_swapped_is_looked_at_by_nobody_else(
    producer: RunningProducer, source: Path
) -> None:
    """A link in a file's place is never followed."""
    (source.parent / "secret").write_bytes(b"content 0")
    (source / "d/00").unlink()
    (source / "d/00").symlink_to(source.parent / "secret")
    contents = rereading._Contents(os.fsencode(source))
    known: Entry | None = producer.journal.entry(b"d/00")
    assert known is not None
    file = rereading.File(b"d/00", known.mtime_ns, known.size, known.digest, 0, 0)
    assert contents.compare(file, lambda size: None) is rereading.Verdict.GONE
    contents.close()
