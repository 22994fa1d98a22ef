"""What this process tells the world: one board that status, metrics, health and alarms are read from.

Services write, the listener and the control socket read, each under one lock for a moment. It knows no HTTP and no socket.
"""

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from common.figures import Histogram, Tables
from common.names import escape
from common.problems import kind_of

log = logging.getLogger("treecast")

PROBLEMS_SHOWN = 1000
"""How many problems are listed one by one; beyond that they are only counted."""
LOOP_SILENCE_SECONDS = 60.0
"""A loop that has not ticked for this long is taken for dead."""

Role = Literal["producer", "consumer"]


@dataclass(frozen=True, slots=True)
class Noted:
    """An alarm or a problem: what, and since when (unix seconds)."""

    what: str
    since: float


class Board:
    """Thread-safe. Gauges and counters are named as their metrics are, without the prefix `treecast_`."""

    def __init__(self, role: Role, tree: str, replica: str = "") -> None:
        self.role: Role = role
        self.tree = tree
        self.replica = replica
        self._lock = threading.Lock()
        self._status: dict[str, Any] = {"state": "starting"}
        self._gauges: dict[tuple[str, str], float] = {}
        self._counters: dict[tuple[str, str], float] = defaultdict(float)
        self._histograms: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self._alarms: dict[str, Noted] = {}
        self._alarm_kinds: set[str] = set()
        self._problems: dict[bytes, Noted] = {}
        self._problem_kinds: Counter[str] = Counter()
        self._ticks: dict[str, float] = {}
        self._heartbeat_at: float | None = None
        self._started = time.monotonic()
        self.is_ready = False
        self.more: Callable[[], Mapping[str, Any]] = dict
        """Asked by whoever reads the status, in the reader's thread: more of it. Values must be JSON."""
        self.tables: Callable[[], Tables] = dict
        """Asked by whoever reads metrics, in the reader's thread: the rows of those that come as such."""

    def tell(self, **status: Any) -> None:
        """Set values of `status`: state, position, agreed, and what else the role has. Values must be JSON."""
        with self._lock:
            self._status.update(status)

    def gauge(self, name: str, value: float, label: str = "") -> None:
        """Set a gauge; `label` is a short and stable word, never a path."""
        with self._lock:
            self._gauges[name, label] = value

    def count(self, name: str, amount: float = 1, label: str = "") -> None:
        """Add to a counter; `label` is a short and stable word, never a path."""
        with self._lock:
            self._counters[name, label] += amount

    def observe(self, name: str, label: str, value: float, count: int = 1) -> None:
        """Add a value to a histogram, as if it had come so many times; 0: only say that there is this histogram."""
        with self._lock:
            self._histograms[name, label].observe(value, count)

    def tick(self, loop: str) -> None:
        """This loop is alive."""
        with self._lock:
            self._ticks[loop] = time.monotonic()

    def untick(self, loop: str) -> None:
        """This loop has ended as it should."""
        with self._lock:
            self._ticks.pop(loop, None)

    def heartbeat_seen(self) -> None:
        """A heartbeat or a batch of the leading producer has arrived (or, in the producer, was given to the broker)."""
        with self._lock:
            self._heartbeat_at = time.monotonic()

    def alarm(self, kind: str, detail: str) -> None:
        """Raise an alarm: one error line, until it is cleared or says something else."""
        with self._lock:
            old = self._alarms.get(kind)
            if old is not None and old.what == detail:
                return
            self._alarms[kind] = Noted(detail, old.since if old else time.time())
            self._alarm_kinds.add(kind)
        log.error("alarm %s: %s", kind, detail)

    def clear(self, kind: str) -> None:
        """The alarm is over. Idempotent."""
        with self._lock:
            was = self._alarms.pop(kind, None)
        if was is not None:
            log.info("alarm %s is over", kind)

    def problem(self, path: bytes, what: str) -> None:
        """One path fails; the rest goes on. Logged once for each path and text."""
        with self._lock:
            old = self._problems.get(path)
            if old is not None and old.what == what:
                return
            if old is not None:
                self._problem_kinds[kind_of(old.what)] -= 1
            self._problem_kinds[kind_of(what)] += 1
            self._problems[path] = Noted(what, old.since if old else time.time())
        log.warning("problem at %s: %s", escape(path), what)

    def solved(self, *paths: bytes) -> None:
        """These paths fail no more. Idempotent; costs nothing while nothing fails."""
        if self._problems:
            with self._lock:
                for path in paths:
                    self._forget(path)

    def _forget(self, path: bytes) -> None:
        old = self._problems.pop(path, None)
        if old is not None:
            self._problem_kinds[kind_of(old.what)] -= 1

    def problem_paths(self) -> list[bytes]:
        """The paths that have a problem now."""
        with self._lock:
            return list(self._problems)

    def problem_at(self, path: bytes) -> str | None:
        """What is wrong at this path; None: nothing."""
        with self._lock:
            noted = self._problems.get(path)
        return noted.what if noted is not None else None

    def problem_texts(self, limit: int) -> list[str]:
        """The first problems, one printable line each."""
        with self._lock:
            return [f"{escape(path)}: {noted.what}" for path, noted in list(self._problems.items())[:limit]]

    def figures(self) -> dict[tuple[str, str], float]:
        """Everything that is a metric: (name, label) to value. An alarm that is over is there with 0."""
        with self._lock:
            return {
                **self._counters,
                **self._gauges,
                ("heartbeat_age_seconds", ""): self.heartbeat_age_seconds(),
                ("problems", ""): len(self._problems),
                ("problem_age_seconds", ""): self._problem_age_seconds(),
                **{("problem_paths", kind): count for kind, count in self._problem_kinds.items()},
                ("ready", ""): float(self.is_ready),
                **{("alarm", kind): float(kind in self._alarms) for kind in self._alarm_kinds},
            }

    def histograms(self) -> dict[tuple[str, str], Histogram]:
        """Everything that was observed: (name, label) to how often it was how much."""
        with self._lock:
            return {key: histogram.copy() for key, histogram in self._histograms.items()}

    def _problem_age_seconds(self) -> float:
        """Of the first: whoever has another text keeps its place."""
        first = next(iter(self._problems.values()), None)
        return 0.0 if first is None else max(0.0, time.time() - first.since)

    def heartbeat_age_seconds(self) -> float:
        """Seconds since the last sign of life of the leading producer, or since the start."""
        return time.monotonic() - (self._heartbeat_at if self._heartbeat_at is not None else self._started)

    def alarms(self) -> dict[str, Noted]:
        """The alarms that are on: kind to what and since when."""
        with self._lock:
            return dict(self._alarms)

    def silent_loops(self) -> list[str]:
        """Loops that have not ticked for a minute."""
        now = time.monotonic()
        with self._lock:
            return [loop for loop, at in self._ticks.items() if now - at > LOOP_SILENCE_SECONDS]

    def status(self) -> dict[str, Any]:
        """Everything that `treecast status --json` shows of this process."""
        more = self.more()
        with self._lock:
            problems = [
                {"path": escape(path), "problem": noted.what, "since": noted.since}
                for path, noted in list(self._problems.items())[:PROBLEMS_SHOWN]
            ]
            alarms = [{"kind": kind, "detail": n.what, "since": n.since} for kind, n in self._alarms.items()]
            return {
                "role": self.role,
                "tree": self.tree,
                "replica": self.replica,
                **self._status,
                **more,
                "ready": self.is_ready,
                "problems": problems,
                "problem_count": len(self._problems),
                "alarms": alarms,
            }
