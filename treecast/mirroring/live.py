"""Does: follows a source until it is told to stop, and shows how each replica stands: drawn, as lines, or as JSON.

A replica whose consumer ended does not stop the others; the producer's end, or the last replica's, does.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from treecast.mirroring.child import ChildEndedError
from treecast.mirroring.layout import Layout
from treecast.mirroring.once import look_at_child
from treecast.mirroring.processes import Processes
from treecast.mirroring.progress import Alarms, Problems
from treecast.mirroring.releasing import Releasing
from treecast.mirroring.standing import Lag, Look, Rate
from treecast.mirroring.stopping import StopRequests
from treecast.mirroring.words import counted, following_json, following_words, producer_words, replica_words, shown_path

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

POLL_SECONDS = 0.1
LINE_SECONDS = 1.0
JSON_SECONDS = 1.0
TABLE_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything at one moment; the lists are in the order of the replicas. `ended`: why a consumer ended, "" if not."""

    producer: Look
    replicas: list[Look]
    lags: list[float]
    rates: list[float]
    ended: list[str]


class View(Protocol):
    """Shows a sight. Called at every poll."""

    def show(self, sight: Sight) -> None:
        """Everything as it is now."""


def follow(processes: Processes, requests: StopRequests, view: View, releasing: Releasing) -> None:
    """Until a signal asks to stop. Raises ChildEndedError when the producer, or every consumer, ended; and for a consumer that
    ended while the others went on, unless it was Ctrl-C that stopped them: who typed it has seen it."""
    watching = _Watching(processes)
    while not requests:
        sight = watching.look(time.monotonic())
        view.show(sight)
        releasing.see(sight.producer, sight.replicas)
        if len(watching.failures) == len(processes.consumers):
            raise next(iter(watching.failures.values()))
        time.sleep(POLL_SECONDS)
    if watching.failures and not requests.is_interrupt:
        raise next(iter(watching.failures.values()))


class _Watching:
    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._lag = Lag()
        self._rates = [Rate() for _ in processes.consumers]
        self.failures: dict[int, ChildEndedError] = {}

    def look(self, now: float) -> Sight:
        producer = self._processes.look_at_producer()
        if producer.is_all_found:
            self._lag.see(producer.position, now)
        looks = []
        for number, child in enumerate(self._processes.consumers):
            looks.append(look_at_child(child))
            failure = child.failure()
            if failure is not None:
                self.failures.setdefault(number, failure)
        return Sight(
            producer,
            looks,
            [self._lag.of(look, now) for look in looks],
            [rate.see(look.applied, now) for rate, look in zip(self._rates, looks, strict=True)],
            [self.failures[number].why if number in self.failures else "" for number in range(len(looks))],
        )


@contextmanager
def live_view(layout: Layout, *, as_json: bool) -> Iterator[View]:
    """What shows it on standard output: JSON lines, a drawn table on a terminal, plain lines elsewhere."""
    if as_json:
        yield JsonLines(layout)
        return
    if not sys.stdout.isatty():
        lines = Lines(layout)
        yield lines
        lines.finish()
        return
    from rich.live import Live

    with Live(refresh_per_second=4, transient=False) as live:
        yield Drawn(layout, live)


class JsonLines:
    """One JSON object per line: when anything but rates and lags changed, and every second."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._last: Any = None
        self._next = float("-inf")

    def show(self, sight: Sight) -> None:
        """See `View`."""
        news, now = (sight.producer, sight.replicas, sight.ended), time.monotonic()
        if news == self._last and now < self._next:
            return
        self._last, self._next = news, now + JSON_SECONDS
        replicas = list(zip(sight.replicas, sight.lags, sight.rates, sight.ended, strict=True))
        line = {"unix_seconds": round(time.time(), 3), **following_json(self._layout, sight.producer, replicas)}
        print(json.dumps(line), flush=True)


class Lines:
    """One plain line when something changed, at most one a second; alarms at once."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._alarms, self._problems = Alarms(layout), Problems(layout)
        self._printed: Any = None
        self._last: Sight | None = None
        self._next = float("-inf")

    def show(self, sight: Sight) -> None:
        """See `View`."""
        for tell in (self._alarms, self._problems):
            for line in tell.lines(sight.producer, sight.replicas):
                print(line, flush=True)
        self._last = sight
        if time.monotonic() >= self._next:
            self._print_news(sight)

    def finish(self) -> None:
        """The last news, if they were held back."""
        if self._last is not None:
            self._print_news(self._last)

    def _print_news(self, sight: Sight) -> None:
        looks = (sight.producer, *sight.replicas)
        news = (
            [(look.state, look.position, look.is_agreed, look.problem_count, look.held) for look in looks],
            sight.ended,
        )
        if news == self._printed:
            return
        self._printed, self._next = news, time.monotonic() + LINE_SECONDS
        words = following_words(self._layout, sight.producer, sight.replicas, sight.lags, sight.ended)
        print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


class Drawn:
    """A table that is drawn anew."""

    def __init__(self, layout: Layout, live: "Live") -> None:
        self._layout = layout
        self._live = live
        self._ended: set[str] = set()
        self._alarms, self._problems = Alarms(layout), Problems(layout)

    def show(self, sight: Sight) -> None:
        """See `View`."""
        for tell in (self._alarms, self._problems):
            for line in tell.lines(sight.producer, sight.replicas):
                self._live.console.print(line, markup=False, highlight=False)
        for place, why in zip(self._layout.replicas, sight.ended, strict=True):
            if why and place.given not in self._ended:
                self._ended.add(place.given)
                line = f"treecast: {shown_path(place.given)} ended: {why}"
                self._live.console.print(line, markup=False, highlight=False)
        self._live.update(self._table(sight))

    def _table(self, sight: Sight) -> "Table":
        from rich.markup import escape as literal
        from rich.table import Table

        title = f"{shown_path(self._layout.given)}: {producer_words(sight.producer)}"
        problems = f" · {counted(sight.producer.problem_count, 'problem')}" if sight.producer.problem_count else ""
        alarms = "".join(f" · ALARM {kind}" for kind in sight.producer.alarms)
        caption = "Ctrl-C stops; the replicas stay as they are"
        width = min(self._live.console.width, TABLE_COLUMNS)  # always the same, or it would jump with each word
        table = Table(title=literal(title + problems + alarms), caption=caption, width=width)
        for column in ("replica", "state", "files", "changes/s", "behind", "problems"):
            table.add_column(column, justify="left" if column in ("replica", "state") else "right")
        rows = zip(self._layout.replicas, sight.replicas, sight.lags, sight.rates, sight.ended, strict=True)
        for place, look, lag, rate, ended in rows:
            words = "ended" if ended else replica_words(look, sight.producer.entries)
            words += "".join(f", ALARM {kind}" for kind in look.alarms if not ended)
            behind = f"{lag:.1f} s" if lag else "-"
            table.add_row(
                *(literal(cell) for cell in (shown_path(place.given), words)),
                *(f"{look.files:,}", f"{rate:,.0f}", behind, f"{look.problem_count:,}"),
            )
        return table
