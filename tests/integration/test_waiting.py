"""What waits for the source: what happened before it began is in the journal when it is done, whatever happens beside."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from producer.barriers import Step
from producer.wait_orders import wait_handlers
from producer.waiting import FORGOTTEN_SECONDS, Wait
from producer.waits import Wanted
from producer.watch.choice import NoWatch
from tests.running_producer import RunningProducer
from tests.twins import MemoryBroker, MemoryWatch


@contextmanager
def producing(tmp_path: Path, watch: object = None) -> Iterator[RunningProducer]:
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "first").write_text("first")
    producer = RunningProducer(source, tmp_path / "state", MemoryBroker(), watch=watch)  # type: ignore[arg-type]
    try:
        producer.settle()
        yield producer
    finally:
        producer.crash()


def waited(producer: RunningProducer, ticket: int, beside: Callable[[], object] = lambda: None) -> Wait:
    """Rounds until it is done; `beside` happens before each."""

    def is_done() -> bool:
        beside()
        found = producer.pipeline.waiting.look(ticket, producer.now())
        assert found is not None
        return found.barrier.step is Step.DONE

    producer.run_until(is_done, "done")
    wait = producer.pipeline.waiting.look(ticket, producer.now())
    assert wait is not None
    return wait


def begin(producer: RunningProducer, *under: bytes) -> int:
    return producer.pipeline.waiting.begin(Wanted(), producer.now(), under)


def asked(producer: RunningProducer, **arguments: object) -> dict[str, Any]:
    """As the command asks, once, after some rounds."""
    handlers = wait_handlers(producer.pipeline, producer.board, b"", producer.now)
    ticket = handlers["wait-begin"](arguments)["ticket"]
    for _ in range(20):
        producer.skip(0.2)
        producer.step()
    return handlers["wait-look"]({"ticket": ticket})


def indexed(producer: RunningProducer, *paths: bytes) -> bool:
    return len(producer.journal.entries(paths)) == len(paths)


def test_what_was_written_before_is_journaled_when_it_is_done(tmp_path: Path) -> None:
    with producing(tmp_path) as producer:
        names = [f"n{number}" for number in range(200)]
        for name in names:
            (tmp_path / "source" / name).write_text(name)
        (tmp_path / "source" / "first").unlink()
        wait = waited(producer, begin(producer))
        assert indexed(producer, *(name.encode() for name in names))
        assert producer.journal.entry(b"first") is None
        assert wait.barrier.position == producer.journal.stand.position


def test_so_is_what_was_made_in_directories_that_are_new(tmp_path: Path) -> None:
    with producing(tmp_path) as producer:
        deep = tmp_path / "source" / "a" / "b" / "c"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        waited(producer, begin(producer))
        assert indexed(producer, b"a/b/c/file")


def test_a_writer_that_never_rests_does_not_hold_it_up(tmp_path: Path) -> None:
    """One file is written anew before each round, and a new directory made."""
    with producing(tmp_path) as producer:
        numbers = iter(range(10_000))

        def write() -> None:
            (tmp_path / "source" / "busy").write_text(str(next(numbers)))
            (tmp_path / "source" / f"d{next(numbers)}").mkdir()

        (tmp_path / "source" / "mine").write_text("mine")
        waited(producer, begin(producer), write)
        assert indexed(producer, b"mine")


def test_where_nothing_is_watched_it_asks_for_a_scan(tmp_path: Path) -> None:
    watch = NoWatch(lambda: None, "a test")
    with producing(tmp_path, watch) as producer:
        scans = producer.pipeline._finding.whole_scans
        (tmp_path / "source" / "mine").write_text("mine")
        waited(producer, begin(producer))
        assert indexed(producer, b"mine")
        assert producer.pipeline._finding.whole_scans > scans


def test_an_overflow_before_the_mark_is_waited_for_by_a_scan(tmp_path: Path) -> None:
    """The watch lost the hint of the file, and says so."""
    watch = MemoryWatch()
    with producing(tmp_path, watch) as producer:
        (tmp_path / "source" / "lost").write_text("lost")
        watch.hint(b"", subtree=True)
        waited(producer, begin(producer))
        assert indexed(producer, b"lost")


def test_only_the_paths_that_were_asked_for_are_waited_for(tmp_path: Path) -> None:
    """Another one stays busy for as long as it is written in the middle of every look."""
    watch = MemoryWatch()
    with producing(tmp_path, watch) as producer:
        (tmp_path / "source" / "mine").write_text("mine")
        watch.hint(b"mine")
        producer.pipeline._dirty.add(b"other", producer.now(), producer.now() + 1000)
        waited(producer, begin(producer, b"mine"))
        assert indexed(producer, b"mine")
        ticket = begin(producer)
        producer.step()
        producer.step()
        everything = producer.pipeline.waiting.look(ticket, producer.now())
        assert everything is not None
        assert everything.barrier.named(10) == [b"other"]


def test_a_path_that_cannot_be_carried_is_named(tmp_path: Path) -> None:
    with producing(tmp_path) as producer:
        os.mkfifo(tmp_path / "source" / "fifo")
        producer.settle()  # it was known before the call, as most are that a watch tells of
        assert waited(producer, begin(producer)).barrier.problems == [b"fifo"]
        assert waited(producer, begin(producer, b"d")).barrier.problems == []


def test_a_hint_needs_no_watch_and_is_done_when_it_is_journaled(tmp_path: Path) -> None:
    with producing(tmp_path, NoWatch(lambda: None, "a test")) as producer:
        directory = tmp_path / "source" / "d"
        directory.mkdir()
        for number in range(50):
            (directory / str(number)).write_text("x")
        (tmp_path / "source" / "first").write_text("again")
        before = producer.pipeline._finding.whole_scans
        ticket = producer.pipeline.waiting.hint([b"first", b"d"], lambda path: path == b"d", producer.now())
        waited(producer, ticket)
        assert indexed(producer, b"d/0", b"d/49")
        assert producer.journal.entry(b"first").size == 5  # type: ignore[union-attr]
        assert producer.pipeline._finding.whole_scans == before


def test_one_that_nobody_asks_for_is_forgotten(tmp_path: Path) -> None:
    with producing(tmp_path, MemoryWatch()) as producer:
        ticket = begin(producer)
        producer.skip(FORGOTTEN_SECONDS + 1)
        producer.step()
        assert producer.pipeline.waiting.look(ticket, producer.now()) is None


@pytest.mark.parametrize("paths", [(b"",), (b"d",)])
def test_what_is_removed_is_waited_for_too(tmp_path: Path, paths: tuple[bytes, ...]) -> None:
    with producing(tmp_path) as producer:
        directory = tmp_path / "source" / "d"
        directory.mkdir()
        (directory / "x").write_text("x")
        producer.settle()
        (directory / "x").unlink()
        directory.rmdir()
        waited(producer, begin(producer, *paths))
        assert producer.journal.entry(b"d") is None
        assert producer.journal.entry(b"d/x") is None


def test_a_watch_that_ends_meanwhile_is_made_up_for_by_a_scan(tmp_path: Path) -> None:
    """It never tells of what happened before; the scan that is under way sees another part of the tree."""
    watch = MemoryWatch()
    other = tmp_path / "source" / "other"
    other.mkdir(parents=True)
    for number in range(5000):
        (other / str(number)).touch()
    with producing(tmp_path, watch) as producer:
        (tmp_path / "source" / "zebra").write_text("last")
        ticket = begin(producer)
        producer.step()
        watch.hint(b"other", subtree=True)
        watch.alive = False
        waited(producer, ticket)
        assert indexed(producer, b"zebra")


def test_a_directory_that_no_scan_can_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with producing(tmp_path, MemoryWatch()) as producer:
        finding = producer.pipeline._finding
        monkeypatch.setattr(type(finding), "unreadable", property(lambda _: frozenset({b"shut"})))
        (tmp_path / "source" / "mine").write_text("mine")
        assert waited(producer, begin(producer, b"shut")).barrier.problems == [b"shut"]
        assert waited(producer, begin(producer, b"mine")).barrier.problems == []


def test_a_source_that_is_away_needs_a_person_and_is_named_at_once(tmp_path: Path) -> None:
    """Nobody waits for its time to be up, but the patient."""
    with producing(tmp_path) as producer:
        (tmp_path / "source").rename(tmp_path / "away")
        producer.skip(10)
        producer.run_until(lambda: "source-missing" in producer.alarms(), "alarmed")
        found = asked(producer)
        assert (found["is_done"], found["needs_person"]) == (False, True)
        assert found["why"].startswith("the source cannot be read")
        assert asked(producer, patient=True)["why"] == ""
        (tmp_path / "away").rename(tmp_path / "source")
