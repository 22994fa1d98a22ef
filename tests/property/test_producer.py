"""Whatever happens in the source, and however the producer is cut off meanwhile: what is published leads to what is there."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.holds import NO_HOLD, HoldLimit
from producer import batching
from tests.running_producer import PlainTree, RunningProducer, entries_on_disk
from tests.twins import MemoryBroker, MemoryWatch

names = st.sampled_from(["a", "b", "a-b", "c"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
acts = st.one_of(
    st.tuples(st.just("write"), paths, st.integers(0, 3)),
    st.tuples(st.just("mkdir"), paths),
    st.tuples(st.just("link"), paths),
    st.tuples(st.just("delete"), paths),
    st.tuples(st.just("move"), paths, paths),
    st.tuples(st.just("chmod"), paths, st.sampled_from([0o700, 0o755])),
    st.just(("step",)),
    st.just(("hear all", "")),
    st.just(("overflow",)),
    st.just(("crash",)),
    st.just(("broker away",)),
    st.just(("broker back",)),
)


class _World:
    def __init__(self, base: Path, hold: HoldLimit = NO_HOLD) -> None:
        self.hold = hold
        self.root = base / "source"
        self.root.mkdir()
        # Never empty, so that the guard has nothing to say.
        (self.root / "always").write_text("there")
        self.state = base / "state"
        self.broker = MemoryBroker()
        self.watch = MemoryWatch()
        self.plain = PlainTree()
        self.hints: list[bytes] = []
        self.producer = self._start()

    def _start(self) -> RunningProducer:
        return RunningProducer(self.root, self.state, self.broker, watch=self.watch, hold=self.hold)

    def act(self, what: str, *arguments: object) -> None:
        try:
            getattr(self, "do_" + what.replace(" ", "_"))(*arguments)
        except OSError:
            return  # not possible as the tree is now

    def _hint(self, path: str, subtree: bool = False) -> None:
        self.watch.hint(os.fsencode(path), subtree)

    def do_write(self, path: str, size: int) -> None:
        if (self.root / path).is_symlink():
            return  # what is written is another path, and the watch's twin would have to tell of that
        (self.root / path).write_bytes(os.urandom(size))
        self._hint(path)

    def do_mkdir(self, path: str) -> None:
        (self.root / path).mkdir()
        self._hint(path, subtree=True)

    def do_link(self, path: str) -> None:
        os.symlink("somewhere", self.root / path)
        self._hint(path)

    def do_delete(self, path: str) -> None:
        place = self.root / path
        self._hint(path)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()

    def do_move(self, path: str, to: str) -> None:
        (self.root / path).rename(self.root / to)
        self._hint(path, subtree=True)
        self._hint(to, subtree=True)

    def do_chmod(self, path: str, mode: int) -> None:
        if (self.root / path).is_symlink():
            return  # it has no mode of its own
        (self.root / path).chmod(mode)
        self._hint(path)

    def do_step(self) -> None:
        self.producer.skip(0.05)
        self.producer.step()
        self.plain.follow(self.broker)

    def do_hear_all(self, _: str) -> None:
        for _round in range(4):
            self.do_step()

    def do_overflow(self) -> None:
        """Some hints are lost, and the watch says that some were."""
        self.watch.hints.clear()
        self._hint("", subtree=True)

    def do_crash(self) -> None:
        self.producer.crash()
        self.watch.hints.clear()
        self.producer = self._start()

    def do_broker_away(self) -> None:
        self.broker.is_reachable = False

    def do_broker_back(self) -> None:
        self.broker.reconnect()

    def check(self) -> None:
        """In the end everything is published, and every law held on the way."""
        self.broker.reconnect()

        def is_level() -> bool:
            self.producer.skip(0.1)
            self.plain.follow(self.broker)
            return bool(self.producer.board.status()["quiet"])

        self.producer.run_until(is_level, "quiet")
        self.plain.follow(self.broker)
        if self.producer.pipeline.holds.total:
            self.check_held()
            self.producer.pipeline.release(self.producer.now())
            self.producer.run_until(is_level, "quiet")
            self.plain.follow(self.broker)
        assert self.plain.entries() == entries_on_disk(self.root)
        assert self.producer.journal.stand.digest == self.plain.digest(self.producer.journal.stand.lineage.salt)

    def check_held(self) -> None:
        """Nothing but what is held is not as it is on the disk, and what is held is gone there or has something held below."""
        there, published = entries_on_disk(self.root), self.plain.entries()
        held = set(self.producer.journal.held.paths())
        differs = {path for path, _ in there.items() ^ published.items()}
        assert differs <= held
        assert held <= published.keys()
        for path in held & there.keys():
            assert any(one.startswith(path + b"/") for one in held)

    def do_release(self, _: str) -> None:
        self.producer.pipeline.release(self.producer.now())


@contextmanager
def _world(hold: HoldLimit = NO_HOLD) -> Iterator[_World]:
    with tempfile.TemporaryDirectory() as base:
        world = _World(Path(base), hold)
        try:
            # The base: what is there at first is known without an event.
            world.producer.settle()
            world.plain = PlainTree({path: (entry, None) for path, entry in entries_on_disk(world.root).items()})
            yield world
        finally:
            world.producer.crash()


@settings(max_examples=60, deadline=None)
@given(st.lists(acts, max_size=25), st.sampled_from([1, 3, 8000]))
@example([("write", "a", 0), ("write", "b", 0)], 1)
def test_what_is_published_leads_to_what_is_there(happenings: list[tuple[object, ...]], limit: int) -> None:
    before = batching.EVENTS_LIMIT
    batching.EVENTS_LIMIT = limit
    try:
        with _world() as world:
            for what, *arguments in happenings:
                world.act(str(what), *arguments)
            world.check()
    finally:
        batching.EVENTS_LIMIT = before


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(acts, st.just(("release", ""))), max_size=25), st.sampled_from([0, 1, 2]))
@example(
    [("mkdir", "a"), ("write", "a/b", 1), ("hear all", ""), ("delete", "a"), ("write", "a", 1), ("hear all", "")], 0
)
def test_what_is_not_published_is_held_and_a_release_leads_to_what_is_there(
    happenings: list[tuple[object, ...]], limit: int
) -> None:
    with _world(HoldLimit(limit, 0, 100)) as world:
        for what, *arguments in happenings:
            world.act(str(what), *arguments)
        world.check()
