"""Too many deletes at once are held, over restarts, until files are back or a person releases them; all else flows."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.holds import HoldLimit
from common.messages import Batch
from common.names import PATTERNS_PATH, escape
from common.patterns import row_of
from common.wire import codec
from producer import batching
from producer.hold_orders import hold_handlers
from producer.journal import Journal
from producer.watch.port import Hint, Watch
from tests.running_producer import TREE, PlainTree, RunningProducer, base_on_disk, entries_on_disk
from tests.twins import MemoryBroker, MemoryWatch

FILES = 200
LIMIT = HoldLimit(20, 10, 50)
"""21 of the tree's 205 paths are too many."""


class World:
    """A source of `FILES` files in four directories, its producer with a hold, and a plain tree that follows.

    The watch hints at all that changed at once, so that what is judged together does not hang on the clock.
    """

    def __init__(self, base: Path) -> None:
        self.root, self.state = base / "source", base / "state"
        for number in range(FILES):
            self.write(f"{number % 4}/{number}")
        self.write("always")
        self.broker = MemoryBroker()
        self.plain = PlainTree(base_on_disk(self.root))
        self.watch: Watch | None = MemoryWatch()
        self.running: RunningProducer | None = None

    @property
    def producer(self) -> RunningProducer:
        assert self.running is not None
        return self.running

    def write(self, path: str, text: str = "") -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text or f"content of {path}")

    def start(self, hold: HoldLimit = LIMIT, **options: Any) -> "World":
        self.running = RunningProducer(self.root, self.state, self.broker, hold=hold, watch=self.watch, **options)
        self.producer.settle()
        self.plain.follow(self.broker)
        return self

    def _hint(self) -> None:
        """At each path where disk and stream differ, and at those that are held."""
        there = entries_on_disk(self.root)
        differ = {path for path, _ in self.plain.entries().items() ^ there.items()}
        if isinstance(self.watch, MemoryWatch):
            for path in sorted(differ.union(self.producer.journal.held.paths())):
                self.watch.hint(path)

    def restart(self, hold: HoldLimit = LIMIT, *, by_crash: bool = False, **options: Any) -> None:
        (self.producer.crash if by_crash else self.producer.stop)()
        self.start(hold, **options)

    def end(self) -> None:
        """No producer runs any more."""
        if self.running is not None:
            self.running.stop()
            self.running = None

    def delete(self, count: int) -> list[Path]:
        """Delete so many files; returns them."""
        found = sorted(path for path in self.root.rglob("*") if path.is_file() and path.name != "always")[:count]
        for path in found:
            path.unlink()
        return found

    def until(self, is_so: Callable[[], bool]) -> None:
        """Until this holds of what was published, and nothing else is to be done."""

        def is_quiet_and_so() -> bool:
            self.plain.follow(self.broker)
            return bool(self.producer.board.status()["quiet"]) and is_so()

        self._hint()
        self.producer.run_until(is_quiet_and_so, "so")

    def level(self) -> None:
        """Until everything is published."""
        self.until(lambda: self.is_level)

    def until_held(self, count: int) -> None:
        """Until so many paths are held, and nothing else is to be done."""
        self.until(lambda: self.held == count)

    @property
    def held(self) -> int:
        return self.producer.pipeline.holds.total

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        return hold_handlers(self.producer.pipeline, self.producer.now)[verb](arguments)

    def release(self) -> dict[str, Any]:
        told = self.ask("hold-release")
        self.level()
        return told

    def deleted(self) -> list[bytes]:
        """Every path that was ever published as deleted, as often as it was."""
        batches = [codec.decode_downstream(data, TREE) for data in self.broker.events]
        return [e.path for batch in batches if isinstance(batch, Batch) for e in batch.events if e.entry is None]

    @property
    def is_level(self) -> bool:
        return self.plain.entries() == entries_on_disk(self.root)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.end()


def test_too_many_deletes_are_held_over_restarts_and_published_once_when_they_are_released(world: World) -> None:
    world.start()
    gone = world.delete(60)
    world.until_held(60)
    assert world.producer.alarms() == {"hold"}
    world.restart()
    world.until_held(60)
    world.restart(by_crash=True)
    world.until_held(60)
    assert world.deleted() == []
    told = world.ask("hold-show", number=2)
    shown = [escape(os.fsencode(path.relative_to(world.root))) for path in gone[:2]]
    assert (told["held"], told["limit"], told["entries"], told["paths"]) == (60, 20, 205, shown)
    assert world.release()["released"] == 60
    assert sorted(world.deleted()) == sorted(os.fsencode(path.relative_to(world.root)) for path in gone)
    assert world.is_level
    assert world.producer.alarms() == set()
    assert world.ask("hold-list")["held"] == 0
    assert world.producer.journal.held.going == 0


def test_a_crash_in_the_middle_of_a_release_loses_nothing_and_repeats_nothing(world: World) -> None:
    world.start()
    world.delete(60)
    world.until_held(60)
    world.ask("hold-release")
    world.restart(by_crash=True)
    world.level()
    assert len(world.deleted()) == 60
    assert world.is_level


def test_what_was_released_counts_no_more_and_the_next_ones_count_anew(world: World) -> None:
    world.start()
    world.delete(60)
    world.until_held(60)
    world.release()
    world.delete(14)
    world.level()
    assert world.held == 0
    assert world.is_level
    world.delete(10)
    world.until_held(10)


def test_what_went_before_a_release_counts_no_more_after_a_restart_either(world: World) -> None:
    world.start()
    world.delete(12)
    world.level()
    world.delete(12)
    world.until_held(12)
    world.ask("hold-release")
    world.restart(by_crash=True)
    world.level()
    world.delete(15)
    world.level()


def test_everything_else_flows_while_a_hold_is_on(world: World) -> None:
    world.start()
    world.delete(60)
    world.until_held(60)
    world.write("3/new")
    world.write("always", "changed")
    world.until(lambda: b"3/new" in world.plain.tree and world.plain.tree[b"always"][1] == b"changed")
    (world.root / "3/new").unlink()
    # What came lately and goes again does not count, and is not held.
    world.until(lambda: b"3/new" not in world.plain.tree)
    assert world.held == 60


def test_what_a_new_tree_had_while_it_was_scanned_is_no_measure(world: World) -> None:
    world.running = RunningProducer(world.root, world.state, world.broker, hold=LIMIT, watch=world.watch)
    world.producer.pipeline.holds.step(world.producer.now(), is_found=False)
    assert world.ask("hold-list")["entries"] == 0
    world.producer.settle()
    assert world.ask("hold-list")["entries"] == 205


def test_few_deletes_go_at_once_and_add_up_over_a_restart(world: World) -> None:
    world.start()
    world.delete(12)
    world.level()
    world.restart()
    world.delete(12)
    world.until_held(12)


def test_after_ten_minutes_the_next_ones_may_go(world: World) -> None:
    world.start()
    for _ in range(3):
        world.delete(12)
        world.level()
        assert world.held == 0
        world.producer.skip(601)


def test_time_alone_does_not_end_a_hold(world: World) -> None:
    world.start()
    world.delete(12)
    world.level()
    world.delete(12)
    world.until_held(12)
    world.producer.skip(3600)
    world.write("3/new")
    world.until(lambda: b"3/new" in world.plain.tree)
    world.producer.skip(3600)
    world.producer.step()
    assert world.held == 12


def test_a_hold_ends_by_itself_when_files_are_back(world: World) -> None:
    world.start()
    gone = world.delete(60)
    world.until_held(60)
    for path in gone[:39]:
        path.write_text(f"content of {path.relative_to(world.root)}")
    world.until_held(21)
    assert world.deleted() == []
    gone[39].write_text("other content")
    world.until_held(0)
    world.level()
    assert len(world.deleted()) == 20
    assert world.is_level
    assert world.producer.alarms() == set()


class _NoHints(MemoryWatch):
    def hint(self, path: bytes, subtree: bool = False) -> None:
        return None


@pytest.mark.parametrize("is_scanned", [False, True], ids=["watched", "scanned"])
def test_a_directory_that_is_moved_away_and_back_ends_the_hold_although_nothing_differs(
    world: World, is_scanned: bool, tmp_path: Path
) -> None:
    world.watch = _NoHints() if is_scanned else None
    world.start(scan_interval_seconds=1.0 if is_scanned else None)
    for name in "01":
        (world.root / name).rename(tmp_path / name)
    if is_scanned:
        world.producer.skip(2)
    world.until_held(102)
    for name in "01":
        (tmp_path / name).rename(world.root / name)
    if is_scanned:
        world.producer.skip(2)
    world.until_held(0)
    assert world.deleted() == []
    assert world.is_level


def test_where_a_watch_hints_at_a_directory_alone_what_is_in_it_is_looked_at(world: World, tmp_path: Path) -> None:
    watch = world.watch = _NoHints()
    world.start()
    for name in "01":
        (world.root / name).rename(tmp_path / name)
        watch.hints.append(Hint(os.fsencode(name), False))
    world.until_held(102)
    for name in "01":
        (tmp_path / name).rename(world.root / name)
        watch.hints.append(Hint(os.fsencode(name), True))
    world.until_held(0)
    assert world.deleted() == []


def test_a_move_of_a_directory_of_many_files_is_not_held(world: World) -> None:
    world.watch = None
    world.start()
    (world.root / "0").rename(world.root / "moved")
    (world.root / "1").rename(world.root / "2" / "deeper")
    world.level()
    world.until_held(0)
    assert world.is_level
    assert len(world.deleted()) == 102
    world.delete(15)
    world.level()
    assert world.is_level, "a move leaves no trace in the count"


def test_a_tree_that_is_moved_and_then_deleted_is_held(world: World) -> None:
    world.start()
    (world.root / "0").rename(world.root / "moved")
    world.level()
    shutil.rmtree(world.root / "moved")
    world.until_held(51)
    assert set(world.plain.tree) - set(entries_on_disk(world.root)) == {b"moved"} | {
        b"moved/%d" % number for number in range(0, FILES, 4)
    }


def test_what_needs_a_held_delete_waits_with_it(world: World) -> None:
    world.start()
    shutil.rmtree(world.root / "0")
    (world.root / "0").write_text("a file where a directory was")
    world.until_held(51)
    assert world.plain.tree[b"0"][0].is_directory
    assert world.ask("hold-show")["paths"][0] == "0"
    world.release()
    assert world.is_level
    assert world.plain.tree[b"0"][1] == b"a file where a directory was"


def test_what_is_created_again_where_a_delete_is_held_takes_its_place(world: World) -> None:
    world.start()
    gone = world.delete(60)
    world.until_held(60)
    gone[0].write_text("new")
    gone[1].mkdir()
    (gone[1] / "below").write_text("new")
    os.symlink("anywhere", gone[2])
    world.until_held(57)
    assert world.deleted() == []
    path = os.fsencode(gone[1].relative_to(world.root))
    assert world.plain.tree[path + b"/below"][1] == b"new"
    world.release()
    assert world.is_level


@pytest.mark.parametrize("paths_of_a_round", [5, 8000])
def test_a_hold_that_is_found_after_a_time_without_a_producer_is_one_too(
    world: World, paths_of_a_round: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "EVENTS_LIMIT", paths_of_a_round)
    world.start().end()
    world.delete(60)
    world.write("3/new")
    world.start()
    world.until_held(60)
    assert world.deleted() == [], "a scan finds them one after the other, and none goes before it is over"
    assert b"3/new" in world.plain.tree


@pytest.mark.parametrize("paths_of_a_round", [5, 8000])
def test_few_that_a_scan_finds_go_when_it_is_over(
    world: World, paths_of_a_round: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "EVENTS_LIMIT", paths_of_a_round)
    world.start().end()
    world.delete(12)
    world.start()
    world.level()
    assert len(world.deleted()) == 12


def test_where_it_is_off_nothing_is_held_and_what_was_goes(world: World) -> None:
    world.start()
    world.delete(60)
    world.until_held(60)
    world.restart(HoldLimit(is_off=True))
    world.until_held(0)
    world.level()


def test_a_source_that_was_emptied_on_purpose_empties_the_replicas_when_a_person_says_so(world: World) -> None:
    world.start()
    _empty(world.root)
    world.producer.run_until(lambda: "source-empty" in world.producer.alarms(), "guarded")
    assert "treecast hold release" in world.producer.board.alarms()["source-empty"].what
    assert world.deleted() == []
    assert world.ask("hold-release") == {"released": 205, "emptied": True, "was_behind": True}
    world.restart(by_crash=True)
    world.level()
    assert sorted(set(world.deleted())) == sorted(world.deleted())
    world.write("again")
    world.level()
    (world.root / "again").unlink()
    world.producer.run_until(lambda: "source-empty" in world.producer.alarms(), "guarded again")


def test_the_patterns_stay_when_the_source_is_emptied_and_are_no_path_that_is_deleted(world: World) -> None:
    world.plain.tree[PATTERNS_PATH] = row_of(("*.tmp",)) or pytest.fail("no row")
    world.start(exclude=("*.tmp",))
    _empty(world.root)
    world.producer.run_until(lambda: "source-empty" in world.producer.alarms(), "guarded")
    assert world.ask("hold-release")["released"] == 205
    world.until(lambda: set(world.plain.tree) == {PATTERNS_PATH})
    assert not world.producer.journal.held.is_emptied
    world.end()
    (world.root / "file").write_text("")
    world.start()
    world.until(lambda: set(world.plain.tree) == {b"file"})
    assert PATTERNS_PATH not in [path for path, _ in world.producer.journal.held.departed()]


def _empty(root: Path) -> None:
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_nothing_to_release_still_vouches_for_the_tree(world: World) -> None:
    world.start()
    assert world.producer.journal.stand.released == 0
    assert world.release() == {"released": 0, "emptied": False, "was_behind": True}
    assert world.producer.journal.stand.released == 1
    assert world.release() == {"released": 0, "emptied": False, "was_behind": False}


def test_what_counts_is_noted_only_while_it_does(world: World) -> None:
    world.start()
    gone = world.delete(12)
    world.level()
    assert len(world.producer.journal.held.departed()) == 12
    gone[0].write_text("back")
    world.level()
    (world.root / "0").rename(world.root / "moved")
    world.level()
    world.producer.stop()
    journal = Journal(world.state / "journal.db", TREE)
    assert len(journal.held.departed()) == 11, "neither what came back nor what moved"
    journal.close()
    world.running = None
