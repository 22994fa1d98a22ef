"""Does: makes Prometheus' families out of a board at each scrape. Knows the board and the table of metrics; no HTTP."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from common.board import Board
from common.figures import Histogram, Metric, Row, samples
from common.metrics import METRICS, PREFIX
from common.version import program_version
from common.wire.versions import FORMAT

Family = GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily


class BoardCollector(Collector):
    """See the module."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Family]:
        figures, histograms, tables = self._board.figures(), self._board.histograms(), self._board.tables()
        for metric in METRICS:
            if metric.kind == "histogram":
                yield _histogram(metric, histograms)
            elif metric.is_table:
                yield _table(metric, tables.get(metric.name, ()))
            else:
                yield _family(metric, figures)
        yield self._info()

    def _info(self) -> Family:
        board = self._board
        labels = {
            "version": program_version(),
            "wire": str(FORMAT),
            "role": board.role,
            "tree": board.tree,
            "replica": board.replica,
        }
        info = GaugeMetricFamily(
            PREFIX + "build_info",
            "Whose page this is: version, newest wire format, role, tree and replica; always 1.",
            labels=list(labels),
        )
        info.add_metric(list(labels.values()), 1)
        return info


def _family(metric: Metric, figures: Mapping[tuple[str, str], float]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(PREFIX + metric.name, metric.meaning, labels=[metric.label] if metric.label else [])
    for label_value, value in samples(metric, figures):
        family.add_metric([label_value] if metric.label else [], value)
    return family


def _histogram(metric: Metric, histograms: Mapping[tuple[str, str], Histogram]) -> Family:
    family = HistogramMetricFamily(PREFIX + metric.name, metric.meaning, labels=[metric.label])
    for (name, label_value), histogram in sorted(histograms.items()):
        if name == metric.name:
            family.add_metric([label_value], histogram.cumulative(), histogram.total)
    return family


def _table(metric: Metric, rows: Iterable[Row]) -> Family:
    family = GaugeMetricFamily(PREFIX + metric.name, metric.meaning)
    for row in rows:
        family.add_sample(PREFIX + metric.name, dict(row.labels), row.value)
    return family
