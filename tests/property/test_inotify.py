"""Whatever is done to a tree, following the hints alone keeps an index true.

The index below does what a producer does: it looks at hinted paths, scans hinted subtrees, and takes what is below a path along
when that is no directory. It scans at random times too, so that it may know what the watcher never told.
"""

import itertools
import os
import shutil
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.names import is_below
from common.patterns import Patterns
from producer.watch.inotify import InotifyWatch
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")

State = tuple[int, ...]
NAMES = [b"a", b"b", b"\xff"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
PLACES = PATHS | PATHS.map(lambda path: b"../outside/" + path)
ACTS = st.one_of(
    st.tuples(st.sampled_from(["write", "replace", "append", "chmod", "mkdir", "makedirs", "remove", "link"]), PATHS),
    st.tuples(st.sampled_from(["rename", "hardlink"]), PLACES, PLACES),
    st.tuples(st.just("drain")),
    st.tuples(st.just("scan")),
)


@dataclass
class World:
    """A tree, a place outside it on the same file system, and an index that follows hints."""

    root: bytes
    index: dict[bytes, State] = field(default_factory=dict)
    counter: "itertools.count[int]" = field(default_factory=itertools.count)

    def full(self, path: bytes) -> bytes:
        return os.path.join(self.root, path)

    def act(self, act: str, *paths: bytes) -> None:
        """What cannot be done in this state of the tree is not done."""
        with suppress(OSError, shutil.Error):
            getattr(self, f"do_{act}")(*(self.full(path) for path in paths))

    def do_write(self, path: bytes) -> None:
        with open(path, "wb") as file:
            file.write(b"%d" % next(self.counter))

    def do_append(self, path: bytes) -> None:
        with open(path, "r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(b"+")

    def do_replace(self, path: bytes) -> None:
        temporary = path + b".tmp"
        self.do_write(temporary)
        os.rename(temporary, path)

    def do_chmod(self, path: bytes) -> None:
        os.chmod(path, 0o700 | next(self.counter) % 64)

    def do_mkdir(self, path: bytes) -> None:
        os.mkdir(path)

    def do_makedirs(self, path: bytes) -> None:
        os.makedirs(path, exist_ok=True)
        self.do_write(os.path.join(path, b"file"))

    def do_remove(self, path: bytes) -> None:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def do_link(self, path: bytes) -> None:
        os.symlink(b"to-%d" % next(self.counter), path)

    def do_rename(self, path: bytes, to: bytes) -> None:
        os.rename(path, to)

    def do_hardlink(self, path: bytes, to: bytes) -> None:
        os.link(path, to, follow_symlinks=False)

    def state(self, path: bytes) -> State | None:
        """What a look at one path finds."""
        try:
            found = os.lstat(self.full(path))
        except OSError:
            return None
        if stat.S_ISDIR(found.st_mode):
            return (found.st_mode,)
        return (found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns)

    def disk(self, below: bytes = b"") -> dict[bytes, State]:
        """What a scan finds."""
        found: dict[bytes, State] = {}
        for directory, names, files in os.walk(self.full(below)):
            for name in names + files:
                path = os.path.relpath(os.path.join(directory, name), self.root)
                state = self.state(path)
                if state is not None:
                    found[path] = state
        return found

    def look(self, path: bytes) -> None:
        state = self.state(path)
        if state is None or not stat.S_ISDIR(state[0]):
            self.index = {known: was for known, was in self.index.items() if not is_below(known, path)}
        if state is None:
            self.index.pop(path, None)
        else:
            self.index[path] = state

    def follow(self, watch: InotifyWatch) -> set[bytes]:
        """Drain and do what the hints say; returns the hinted paths."""
        hints = watch.drain()
        for path, subtree in hints:
            if path:
                self.look(path)
            if subtree:
                self.index = {known: was for known, was in self.index.items() if not is_below(known, path)}
                self.index.update(self.disk(path))
        return {hint.path for hint in hints}


@settings(
    max_examples=int(os.environ.get("TREECAST_INOTIFY_EXAMPLES", "120")),
    deadline=None,
)
@example(acts=[("makedirs", b"b"), ("scan",), ("remove", b"b/file"), ("drain",)])
@example(acts=[("chmod", b"a/a"), ("chmod", b"a/b")])
@example(acts=[("append", b"a/a"), ("hardlink", b"a/a", b"b"), ("link", b"a/b/a")])
@example(acts=[("makedirs", b"a/b"), ("drain",), ("rename", b"a", b"b"), ("write", b"b/b/a"), ("drain",)])
@example(acts=[("makedirs", b"a/b"), ("drain",), ("rename", b"a", b"../outside/a"), ("mkdir", b"a"), ("write", b"a/b")])
@given(acts=st.lists(ACTS, max_size=25))
def test_an_index_that_follows_the_hints_is_the_disk(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[Any, ...]]
) -> None:
    """At rest, once the hint of a last file has come, nothing differs."""
    top = os.fsencode(tmp_path_factory.mktemp("world"))
    world = World(os.path.join(top, b"root"))
    os.makedirs(os.path.join(world.root, b"a", b"b"))
    os.makedirs(os.path.join(top, b"outside", b"a", b"a"))
    world.do_write(world.full(b"a/a"))
    world.do_write(os.path.join(top, b"outside", b"a", b"a", b"b"))
    watch = InotifyWatch(world.root, Patterns(), lambda: None)
    watch.start()
    try:
        world.index = world.disk()
        for act, *paths in acts:
            if act == "drain":
                world.follow(watch)
            elif act == "scan":
                world.index = world.disk()
            else:
                world.act(act, *paths)
        world.do_write(world.full(b"last"))
        eventually(lambda: b"last" in world.follow(watch), what="the last hint")
        world.follow(watch)
        assert world.index == world.disk()
        assert watch.is_alive()
        assert watch.uncovered() == {}
        assert len(watch._places) == 1 + sum(stat.S_ISDIR(state[0]) for state in world.disk().values())
    finally:
        watch.close()
