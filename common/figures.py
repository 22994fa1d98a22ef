"""Decides what a metric is, and which samples a board's figures make of it. Knows no HTTP, and no metric by name."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

BUCKETS_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
"""The upper bounds of every histogram's buckets; one more has what is beyond."""

MetricKind = Literal["gauge", "counter", "histogram"]


class Metric(NamedTuple):
    """One metric. `name` without the prefix, as the board has it; `values` of its label that are there from the start.

    `is_always`: 0 is said before there is a value; otherwise nothing is, for 0 would be taken for a fact. `is_table`: it comes
    as rows of labels, all at once: what is in the rows no more is there no more.
    """

    name: str
    kind: MetricKind
    meaning: str
    label: str = ""
    values: tuple[str, ...] = ()
    is_always: bool = True
    is_table: bool = False


class Row(NamedTuple):
    """One value of a metric that comes as rows, under labels of its own."""

    labels: Mapping[str, str]
    value: float


Tables = Mapping[str, list[Row]]
"""The rows of metrics that come as such, by name."""


@dataclass(slots=True)
class Histogram:
    """How often a value was at most each bound. `counts`: for each bucket alone, the last one of what is beyond all bounds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    total: float = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """This value came so many times."""
        self.counts[bisect_left(BUCKETS_SECONDS, value)] += count
        self.total += value * count

    def copy(self) -> "Histogram":
        """As it is now."""
        return Histogram(self.counts.copy(), self.total)

    def cumulative(self) -> list[tuple[str, float]]:
        """Each bound as Prometheus spells it, with how many values were at most that."""
        seen, found = 0, []
        for bound, count in zip([*map(str, BUCKETS_SECONDS), "+Inf"], self.counts, strict=True):
            seen += count
            found.append((bound, float(seen)))
        return found


class Sample(NamedTuple):
    """One value of a metric; `label_value` "" for a metric without a label."""

    label_value: str
    value: float


def samples(metric: Metric, figures: Mapping[tuple[str, str], float]) -> list[Sample]:
    """The metric's samples out of a board's figures, (name, label) to value; 0 where nothing was counted yet."""
    if not metric.label:
        is_there = metric.is_always or (metric.name, "") in figures
        return [Sample("", figures.get((metric.name, ""), 0.0))] if is_there else []
    found = dict.fromkeys(metric.values, 0.0)
    found.update({label: value for (name, label), value in figures.items() if name == metric.name and label})
    return [Sample(label, value) for label, value in sorted(found.items())]
