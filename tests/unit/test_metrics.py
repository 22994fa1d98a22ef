"""The table of metrics, and what a board's figures make of it."""

import errno
import os
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from common.board import Board
from common.errors import PathError
from common.figures import BUCKETS_SECONDS, Metric, Row, Sample, samples
from common.metrics import (
    ALARM,
    METRICS,
    POSITION,
    PROBLEM_KINDS,
    PROBLEM_PATHS,
    REFUSED,
    STAGE_SECONDS,
    STAGES,
    UNMET_PATHS,
)
from common.names import check_path
from common.problems import kind_of
from common.scraping import BoardCollector

PACKAGES = ("common", "producer", "consumer", "treecast")
BY_NAME = {metric.name: metric for metric in METRICS}


def test_what_has_no_label_is_there_from_the_start() -> None:
    """With 0; and so are the reasons for which a path can be unmet."""
    figures = Board("producer", "t").figures()
    for metric in METRICS:
        if not metric.label and not metric.is_table and metric.name != "heartbeat_age_seconds":
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
        for verb, name in re.findall(r"board\.(gauge|count|observe)\(\s*\"(\w+)\"", file.read_text())
    }
    kinds = {"gauge": "gauge", "count": "counter", "observe": "histogram"}
    assert {(verb, name) for verb, name in used if name not in BY_NAME} == set()
    assert {name for verb, name in used if kinds[verb] != BY_NAME[name].kind} == set()


def test_every_metric_is_set_somewhere() -> None:
    """One that nobody sets would be 0 for ever, and be believed."""
    root = Path(__file__).parents[2]
    files = [file for package in PACKAGES for file in (root / package).rglob("*.py") if file.name != "metrics.py"]
    text = "".join(file.read_text() for file in files)
    assert {name for name in BY_NAME if f'"{name}"' not in text} == set()


def test_a_table_says_nothing_by_itself() -> None:
    """No row, no sample: 0 without a label would be a replica without a name."""
    for metric in METRICS:
        assert not (metric.is_table and metric.label)
        if metric.is_table:
            prefix = f"treecast_{metric.name}"
            assert not [line for line in scraped(Board("producer", "t")) if re.match(rf"{prefix}[ {{]", line)]


def scraped(board: Board) -> list[str]:
    registry = CollectorRegistry()
    registry.register(BoardCollector(board))
    return generate_latest(registry).decode().splitlines()


def test_a_histogram_counts_each_value_under_every_bound_that_it_keeps() -> None:
    """A value on a bound is at most that bound; one beyond all is in the last bucket alone; each as often as it is told."""
    board = Board("producer", "t")
    board.observe("stage_seconds", "seen_to_published", BUCKETS_SECONDS[0], 3)
    board.observe("stage_seconds", "seen_to_published", 0.3)
    board.observe("stage_seconds", "seen_to_published", 1000.0)
    lines = scraped(board)

    def bucket(bound: str) -> str:
        return f'treecast_stage_seconds_bucket{{le="{bound}",stage="seen_to_published"}}'

    assert f"{bucket('0.001')} 3.0" in lines
    assert f"{bucket('0.25')} 3.0" in lines
    assert f"{bucket('0.5')} 4.0" in lines
    assert f"{bucket('300.0')} 4.0" in lines
    assert f"{bucket('+Inf')} 5.0" in lines
    assert 'treecast_stage_seconds_count{stage="seen_to_published"} 5.0' in lines
    assert 'treecast_stage_seconds_sum{stage="seen_to_published"} 1000.303' in lines


def test_a_histogram_is_there_from_its_first_word_on_and_not_before() -> None:
    """A producer shows none of a replica's stages."""
    board = Board("producer", "t")
    assert not [line for line in scraped(board) if line.startswith("treecast_stage_seconds")]
    board.observe("stage_seconds", "seen_to_published", 0.0, 0)
    assert 'treecast_stage_seconds_count{stage="seen_to_published"} 0.0' in scraped(board)


def test_every_stage_is_observed_by_the_code() -> None:
    root = Path(__file__).parents[2]
    observed = [(root / place / "stages.py").read_text() for place in ("producer", "consumer")]
    assert STAGE_SECONDS.label == "stage"
    assert [sum(f'"{stage}"' in text for text in observed) for stage in STAGES] == [1] * len(STAGES)


def test_rows_are_what_they_are_at_each_scrape() -> None:
    """What is in the rows no more is there no more, and each row has labels of its own."""
    board = Board("producer", "t")
    rows = [Row({"replica": "a", "label_region": "eu"}, 1), Row({"replica": "b"}, 1)]
    board.tables = lambda: {"replica_labels": rows}
    assert 'treecast_replica_labels{label_region="eu",replica="a"} 1.0' in scraped(board)
    assert 'treecast_replica_labels{replica="b"} 1.0' in scraped(board)
    del rows[0]
    assert not [line for line in scraped(board) if 'replica="a"' in line]


def test_the_page_says_whose_it_is() -> None:
    """So that what is told without labels can be joined with tree and replica."""
    (info,) = [line for line in scraped(Board("consumer", "music", "paris")) if line.startswith("treecast_build_info{")]
    assert 'role="consumer"' in info
    assert 'tree="music"' in info
    assert 'replica="paris"' in info


TEXTS = {
    "changes faster than it can be read": "busy",
    "a/b: Device or resource busy": "busy",
    "permission denied": "permission",
    "permission denied/x: Operation not permitted": "permission",
    "too large: 2,000 bytes, the limit is 1,000 bytes": "size",
    "a fifo is not carried": "kind",
    "the directory above it cannot be carried": "kind",
    "busy: File name too long": "name",
    "its time of modification is beyond what can be carried": "time",
    "x: Input/output error": "disk",
    "x: Is a directory": "other",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_problem_is_of_one_kind_whatever_its_path_is_called(text: str) -> None:
    assert kind_of(text) == TEXTS[text]
    assert TEXTS[text] in PROBLEM_KINDS


def test_the_systems_words_and_those_for_paths_have_a_kind() -> None:
    assert kind_of(os.strerror(errno.EACCES).lower()) == "permission"
    assert kind_of(f"a: {os.strerror(errno.ENAMETOOLONG)}") == "name"
    with pytest.raises(PathError) as raised:
        check_path(b"permission denied//b")
    assert kind_of(str(raised.value)) == "name"


def test_problems_are_counted_by_kind_and_the_oldest_has_an_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose words change is of its new kind alone, and as old as it was."""
    board, now = Board("consumer", "t", "paris"), 1000.0
    monkeypatch.setattr("common.board.time.time", lambda: now)
    board.problem(b"old", "permission denied")
    now = 1060.0
    board.problem(b"young", "a fifo is not carried")
    board.problem(b"old", "too large: 5 bytes, the limit is 4 bytes")
    now = 1100.0
    counts = {one.label_value: one.value for one in samples(PROBLEM_PATHS, board.figures()) if one.value}
    assert counts == {"size": 1, "kind": 1}
    assert board.figures()["problem_age_seconds", ""] == 100
    board.solved(b"old")
    assert board.figures()["problem_age_seconds", ""] == 40
    board.solved(b"young")
    assert board.figures()["problem_age_seconds", ""] == 0
    assert not any(one.value for one in samples(PROBLEM_PATHS, board.figures()))
