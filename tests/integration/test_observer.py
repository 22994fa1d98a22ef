"""The watch on watchdog, for systems without inotify: the same port, with fewer promises."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.patterns import Patterns
from producer.watch.choice import choose_watch
from producer.watch.observer import ObserverWatch
from producer.watch.port import Hint, Watch
from tests.waiting import eventually


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "d").mkdir(parents=True)
    (tmp_path / "tree" / "d" / "f").write_text("before")
    return tmp_path / "tree"


@pytest.fixture
def watch(root: Path) -> Iterator[Watch]:
    made = choose_watch(os.fsencode(root), Patterns(["*.tmp"]), lambda: None, "observer")
    assert isinstance(made, ObserverWatch)
    made.start()
    yield made
    made.close()


def test_changes_are_told(root: Path, watch: Watch) -> None:
    hints: set[Hint] = set()

    def told(*wanted: Hint) -> bool:
        hints.update(watch.drain())
        return set(wanted) <= hints

    assert watch.is_alive()
    (root / "d" / "f").write_text("after")
    (root / "x.tmp").touch()
    (root / "lost+found").mkdir()
    eventually(lambda: told(Hint(b"d/f")))
    (root / "new").mkdir()
    eventually(lambda: told(Hint(b"new", True)))
    (root / "d").rename(root / "moved")
    eventually(lambda: told(Hint(b"d", True), Hint(b"moved", True)))
    assert not {hint.path for hint in hints} & {b"x.tmp", b"lost+found", b""}


def test_it_is_dead_when_one_of_its_threads_is(root: Path, watch: Watch) -> None:
    """watchdog's own `is_alive` does not cover the thread that reads."""
    assert isinstance(watch, ObserverWatch)
    assert watch._observer is not None
    for emitter in watch._observer.emitters:
        emitter.stop()
    eventually(lambda: not watch.is_alive())


def test_a_missing_root_is_uncovered(tmp_path: Path) -> None:
    watch = ObserverWatch(str(tmp_path / "none"), Patterns(), lambda: None)
    watch.start()
    assert b"" in watch.uncovered()
    assert not watch.is_alive()
    watch.close()
