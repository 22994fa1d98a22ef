"""The table of metrics, and what a board's figures make of it."""

import re
from pathlib import Path

import pytest

from common.board import Board
from common.metrics import ALARM, METRICS, POSITION, REFUSED, UNMET_PATHS, Metric, Sample, samples

PACKAGES = ("common", "producer", "consumer", "treecast")
BY_NAME = {metric.name: metric for metric in METRICS}


def test_what_has_no_label_is_there_from_the_start() -> None:
    """With 0; and so are the reasons for which a path can be unmet."""
    figures = Board("producer", "t").figures()
    for metric in METRICS:
        if not metric.label and metric.name != "heartbeat_age_seconds":
            assert samples(metric, figures) == ([Sample("", 0.0)] if metric.is_always else [])
    assert [one.label_value for one in samples(UNMET_PATHS, figures)] == ["body", "held", "problem", "released"]
    assert samples(ALARM, figures) == []


def test_an_alarm_is_one_until_it_clears_and_then_zero() -> None:
    board = Board("consumer", "t", "paris")
    board.alarm("halted", "disk")
    assert samples(ALARM, board.figures()) == [Sample("halted", 1.0)]
    board.clear("halted")
    assert samples(ALARM, board.figures()) == [Sample("halted", 0.0)]


def test_gauges_and_counters_come_through() -> None:
    board = Board("consumer", "t", "paris")
    board.gauge("position", 17)
    board.count("refused_total", 2, label="fork")
    board.gauge("unmet_paths", 3, label="body")
    assert samples(POSITION, board.figures()) == [Sample("", 17)]
    assert samples(REFUSED, board.figures()) == [Sample("fork", 2)]
    assert Sample("body", 3) in samples(UNMET_PATHS, board.figures())
    assert board.figures()["position", ""] == 17


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    """Counters, and only they, end in `_total`; base units only."""
    name, kind = metric.name, metric.kind
    assert re.fullmatch(r"[a-z][a-z_]*", name)
    assert name.endswith("_total") == (kind == "counter")
    assert not re.search(r"_(ms|milliseconds|kb|mb|minutes|hours)(_|$)", name)


def test_every_figure_that_the_code_sets_is_in_the_table() -> None:
    """A figure that is in no table would be counted and never shown."""
    root = Path(__file__).parents[2]
    used = {
        (verb, name)
        for package in PACKAGES
        for file in (root / package).rglob("*.py")
        for verb, name in re.findall(r"board\.(gauge|count)\(\s*\"(\w+)\"", file.read_text())
    }
    assert {(verb, name) for verb, name in used if name not in BY_NAME} == set()
    assert {name for verb, name in used if (verb == "count") != (BY_NAME[name].kind == "counter")} == set()
