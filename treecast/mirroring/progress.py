"""Does: shows on standard error how far `mirror --once` is: bars on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from treecast.mirroring.layout import Layout
from treecast.mirroring.once import Progress
from treecast.mirroring.standing import Look
from treecast.mirroring.words import PROBLEMS_SHOWN, producer_words, replica_words, share_done, shown_path
from treecast.status_page import problem_words

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

LINE_SECONDS = 2.0
"""Where there is no terminal: the shortest time between two lines."""
_FIRST_LINE_SECONDS = 1.0


@contextmanager
def shown_progress(layout: Layout, *, is_quiet: bool) -> Iterator[Progress]:
    """What shows the progress. `is_quiet`: only alarms."""
    if is_quiet or not sys.stderr.isatty():
        yield Lines(layout, is_quiet=is_quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
        yield Drawn(layout, bars)


class Alarms:
    """Tells each alarm once, on a line of its own, and when it is over."""

    def __init__(self, layout: Layout) -> None:
        self._names = [shown_path(given) for given in (layout.given, *(place.given for place in layout.replicas))]
        self._told: dict[tuple[str, str], str] = {}

    def lines(self, producer: Look, replicas: list[Look]) -> Iterator[str]:
        """What began, changed or ended since the last time."""
        looks = dict(zip(self._names, [producer, *replicas], strict=True))
        now = {(name, kind): detail for name, look in looks.items() for kind, detail in look.alarms.items()}
        # One that does not answer at the moment says nothing: neither that an alarm is on, nor that it is over.
        now |= {key: detail for key, detail in self._told.items() if looks[key[0]] == Look()}
        before, self._told = self._told, now
        for (name, kind), detail in now.items():
            if before.get((name, kind)) != detail:
                yield f"treecast: alarm {kind} at {name}: {detail}"
        for name, kind in before.keys() - now.keys():
            yield f"treecast: alarm {kind} at {name} is over"


class Problems:
    """Tells each path that fails once, on a line of its own, and no more than a screen of them."""

    def __init__(self, layout: Layout) -> None:
        self._names = [shown_path(given) for given in (layout.given, *(place.given for place in layout.replicas))]
        self._told: set[tuple[str, str, str]] = set()

    def lines(self, producer: Look, replicas: list[Look]) -> Iterator[str]:
        """Those that were not told yet."""
        for name, look in zip(self._names, [producer, *replicas], strict=True):
            for path, why in look.problems:
                problem = (name, path, why)
                if problem in self._told or len(self._told) > PROBLEMS_SHOWN:
                    continue
                self._told.add(problem)
                is_last = len(self._told) > PROBLEMS_SHOWN
                words = f"problem at {path}: {problem_words(path, why)}"
                yield f"treecast: {name}: {'more problems; see: treecast status' if is_last else words}"


class Lines:
    """Plain lines: what changed, not more often than every two seconds."""

    def __init__(self, layout: Layout, *, is_quiet: bool) -> None:
        self._layout = layout
        self._is_quiet = is_quiet
        self._alarms = Alarms(layout)
        self._last = ""
        self._next = time.monotonic() + _FIRST_LINE_SECONDS

    def show(self, producer: Look, replicas: list[Look]) -> None:
        """See `Progress`."""
        for line in self._alarms.lines(producer, replicas):
            print(line, file=sys.stderr, flush=True)
        if self._is_quiet or time.monotonic() < self._next:
            return
        line = self._line(producer, replicas)
        if line != self._last:
            print(line, file=sys.stderr, flush=True)
            self._last, self._next = line, time.monotonic() + LINE_SECONDS

    def _line(self, producer: Look, replicas: list[Look]) -> str:
        if not producer.is_all_found:
            return f"treecast: {shown_path(self._layout.given)}: {producer_words(producer)}"
        parts = [
            f"{shown_path(place.given)}: {replica_words(look, producer.entries)}"
            for place, look in zip(self._layout.replicas, replicas, strict=True)
        ]
        return "treecast: " + "; ".join(parts)


class Drawn:
    """A bar for the source while it is looked at, and one for each replica."""

    def __init__(self, layout: Layout, bars: "Bars") -> None:
        from rich.markup import escape as literal

        self._bars = bars
        self._alarms = Alarms(layout)
        self._source = bars.add_task(literal(shown_path(layout.given)), total=None, words="")
        self._replicas = [
            bars.add_task(literal(shown_path(place.given)), total=1.0, words="") for place in layout.replicas
        ]

    def show(self, producer: Look, replicas: list[Look]) -> None:
        """See `Progress`."""
        for line in self._alarms.lines(producer, replicas):
            self._bars.console.print(line, markup=False, highlight=False)
        found = {"total": 1.0, "completed": 1.0} if producer.is_all_found else {}
        self._bars.update(self._source, words=producer_words(producer), **found)  # type: ignore[arg-type]
        for task, look in zip(self._replicas, replicas, strict=True):
            words = replica_words(look, producer.entries)
            self._bars.update(task, completed=share_done(look, producer.entries), words=words)
