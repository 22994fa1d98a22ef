"""Does: the story that `treecast demo` tells, with real processes and real files: each chapter acts, waits, measures, and judges.

What is "seen on a replica" is read from its disk. Knows the mirror's processes and the sample playlists; prints through `tell`.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.patterns import Patterns
from treecast.comparing import Tally, compare_trees
from treecast.mirroring.layout import Layout, make_layout
from treecast.mirroring.once import bring_level
from treecast.mirroring.processes import Processes
from treecast.mirroring.releasing import Releasing
from treecast.mirroring.replicas import make_missing
from treecast.mirroring.standing import Level, Look
from treecast.mirroring.stopping import StopRequests
from treecast.playlists import Expected, Playlists, count_files, is_seen

REPLICAS = 3
CHAPTER_LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.002
AWAY_SECONDS = 2.0
"""How long the source stays away after the alarm: time enough for a deletion to arrive, if there were one."""

Tell = Callable[[str, str], None]
"""Tells a chapter: its name, and what came of it."""


class NotAsItShouldBeError(Exception):
    """A chapter did not end as it should have."""


def lay_out(home: Path) -> Layout:
    """Where everything of a demonstration lies below its home."""
    source, state = home / "master", home / "state"
    replicas = [(f"replica-{number}", home / f"replica-{number}") for number in range(1, REPLICAS + 1)]
    return make_layout(("master", source), replicas, state)


class Story:
    """One demonstration. `figures`: what was measured, in seconds and counts, by name."""

    def __init__(self, layout: Layout, requests: StopRequests, tell: Tell) -> None:
        self._layout = layout
        self._requests = requests
        self._tell = tell
        self._processes = Processes(layout, (), adopt=False)
        self._playlists = Playlists(layout.source, layout.source.with_name("desk"))
        self._roots = [place.target for place in layout.replicas]
        self.figures: dict[str, float] = {}

    def run(self) -> None:
        """All chapters. Raises NotAsItShouldBeError, ChildEndedError, and what a signal asks for."""
        self._playlists.fill()
        make_missing(self._layout)
        try:
            self._first_copy()
            self._one_change()
            self._burst()
            self._crash()
            self._source_away()
            self._proof()
        finally:
            self._processes.stop()

    # -- chapters

    def _first_copy(self) -> None:
        began = time.monotonic()
        self._processes.start()
        result = bring_level(
            self._processes, self._requests, _Silent(), Releasing(self._processes, is_wanted=False), ""
        )
        seconds = time.monotonic() - began
        for one in result.replicas:
            self._check(one.level is Level.PROVED, f"{one.place.given} is {one.level.value} {one.failure}")
        files = len(self._playlists.paths)
        self._measured("first_copy_seconds", seconds)
        rate = f"{files * REPLICAS / seconds:,.0f} files written per second"
        self._tell(
            "first copy",
            f"{files:,} files are on all {REPLICAS} replicas after {seconds:.1f} s ({rate}, start included)",
        )

    def _one_change(self) -> None:
        seconds = self._until_seen(lambda: self._playlists.modify(1), "one_change_seconds")
        self._tell(
            "one change", f"a file written on the master is read on all {REPLICAS} replicas after {_short(seconds)}"
        )

    def _burst(self) -> None:
        def change() -> Expected:
            new = self._playlists.create(500)
            changed = self._playlists.modify(1000)
            return {**new, **changed, **self._playlists.delete(500, spare={*new, *changed})}

        seconds = self._until_seen(change, "burst_seconds")
        what = "500 new, 1,000 modified, 500 deleted"
        self._tell(
            "2,000 at once", f"{what}: all of it is on all {REPLICAS} replicas {_short(seconds)} after the last one"
        )

    def _crash(self) -> None:
        victim, *others = self._roots
        child = self._processes.consumers[0]
        expected = self._playlists.modify(200)
        child.kill()
        expected |= self._playlists.create(200)
        expected |= self._playlists.delete_directory()
        self._wait(lambda: _all_seen(others, expected), "the other replicas did not go on")
        self._check(not _all_seen([victim], expected), "the killed replica went on changing")
        began = time.monotonic()
        child.start()
        self._wait(lambda: _all_seen([victim], expected), "the killed replica did not come back level")
        seconds = time.monotonic() - began
        self._measured("crash_recovery_seconds", seconds)
        name = self._layout.replicas[0].given
        self._tell(
            "kill -9",
            f"{name} is killed in the middle of {len(expected):,} changes, a whole directory deleted among them;"
            f" the others go on; {_short(seconds)} after its restart it has them all",
        )

    def _source_away(self) -> None:
        source, away = self._layout.source, self._layout.source.with_name("master.away")
        files = len(self._playlists.paths)
        began = time.monotonic()
        with _moved(source, away):
            self._wait(lambda: "source-missing" in self._producer().alarms, "the missing source raised no alarm")
            seconds = time.monotonic() - began
            self._measured("source_missing_alarm_seconds", seconds)
            self._pause(AWAY_SECONDS)
            for root in self._roots:
                found = count_files(root)
                self._check(
                    found == files, f"{root} has {found:,} files, not {files:,}: a missing source was taken for empty"
                )
        self._tell(
            "source gone",
            f"the master's directory is moved away, as if its disk were not mounted: an alarm after {_short(seconds)},"
            f" and nothing is deleted ({files:,} files on each replica)",
        )
        self._source_back()

    def _source_back(self) -> None:
        began = time.monotonic()
        self._wait(self._is_calm, "the producer found no rest when the source was back")
        calm_seconds = time.monotonic() - began
        seconds = self._until_seen(
            lambda: {**self._playlists.modify(1), **self._playlists.delete(1)}, "after_return_seconds"
        )
        self._tell(
            "source back",
            f"compared whole, and the alarm is over, after {_short(calm_seconds)}; the next change and the next deletion"
            f" arrive after {_short(seconds)}",
        )

    def _is_calm(self) -> bool:
        producer = self._producer()
        return producer.is_quiet and not producer.alarms

    def _proof(self) -> None:
        began, tally = time.monotonic(), Tally()
        for place in self._layout.replicas:
            differences = compare_trees(os.fsencode(self._layout.source), os.fsencode(place.target), Patterns(), tally)
            first = next(differences, None)
            self._check(first is None, f"{place.given} differs: {first.line() if first else ''}")
        seconds = time.monotonic() - began
        self._measured("compared_paths", tally.paths)
        self._tell(
            "proof",
            f"all {REPLICAS} replicas equal the master: {tally.paths:,} paths compared by content, kind, mode and time"
            f" in {_short(seconds)}, as `treecast verify` does",
        )

    # -- waiting and judging

    def _until_seen(self, change: Callable[[], Expected], figure: str) -> float:
        """Make changes; seconds from the last of them until every replica's disk shows all of them."""
        expected = change()
        began = time.monotonic()
        self._wait(lambda: _all_seen(self._roots, expected), "the changes did not arrive")
        seconds = time.monotonic() - began
        self._measured(figure, seconds)
        return seconds

    def _wait(self, is_so: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + CHAPTER_LIMIT_SECONDS
        while not is_so():
            self._requests.raise_if_any()
            self._check(time.monotonic() < deadline, f"{otherwise} within {CHAPTER_LIMIT_SECONDS:.0f} s")
            for child in (self._processes.producer, *self._processes.consumers):
                failure = child.failure()
                if failure is not None:
                    raise failure
            time.sleep(POLL_SECONDS)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._wait(lambda: time.monotonic() >= until, "time stood still")

    def _producer(self) -> Look:
        return self._processes.look_at_producer()

    def _check(self, is_so: bool, otherwise: str) -> None:
        if not is_so:
            raise NotAsItShouldBeError(otherwise)

    def _measured(self, name: str, figure: float) -> None:
        self.figures[name] = round(figure, 4)


class _Silent:
    def show(self, producer: Look, replicas: list[Look]) -> None:
        """Nothing: the chapter says it when it is over."""


@contextmanager
def _moved(source: Path, away: Path) -> Iterator[None]:
    source.rename(away)
    try:
        yield
    finally:
        away.rename(source)


def _all_seen(roots: list[Path], expected: Expected) -> bool:
    """Stops at the first path that is not there yet: asking often costs little."""
    return all(is_seen(root, path, content) for root in roots for path, content in reversed(expected.items()))


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
