"""monitoring/: alerts and dashboard name only what there is, and each alert tells a person what to type."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.figures import Metric
from common.metrics import METRICS, PREFIX
from treecast.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "monitoring"
GRID_COLUMNS = 24
OURS = {PREFIX + metric.name: metric for metric in METRICS}
OURS[PREFIX + "build_info"] = Metric("build_info", "gauge", "")
FOREIGN = {"ALERTS", "process_start_time_seconds"}
SUFFIX = re.compile(r"_(bucket|sum|count)$")

Values = dict[str, Any]


def rules() -> list[Values]:
    groups = yaml.safe_load((PLACE / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def told_in_tests() -> list[tuple[str, set[str]]]:
    """Of each scenario in the tests its name, and the alerts that are on in it at some moment."""
    tests = yaml.safe_load((PLACE / "alerts_test.yml").read_text())["tests"]
    return [(one["name"], {name for check in one["promql_expr_test"] for name in _alerts(check)}) for one in tests]


def _alerts(check: Values) -> list[str]:
    return [name for sample in check["exp_samples"] for name in re.findall(r'alertname="(\w+)"', sample["labels"])]


def dashboard() -> Values:
    found: Values = json.loads((PLACE / "dashboard.json").read_text())
    return found


def panels() -> list[Values]:
    return list(dashboard()["panels"])


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def metrics_in(expression: str) -> set[str]:
    """Names of metrics, as they stand there."""
    return set(re.findall(r"\b(?:treecast_\w+|process_\w+)", expression))


def unknown(names: set[str]) -> set[str]:
    """Those that no process of ours tells. A histogram is told by its parts, and by nothing else."""
    found = set()
    for name in names - FOREIGN:
        whole = OURS.get(name)
        part = OURS.get(SUFFIX.sub("", name)) if SUFFIX.search(name) else None
        is_whole = whole is not None and whole.kind != "histogram"
        is_part = part is not None and part.kind == "histogram"
        if not is_whole and not is_part:
            found.add(name)
    return found


# -- alerts


def test_alerts_ask_for_metrics_that_there_are() -> None:
    assert {rule["alert"]: unknown(metrics_in(rule["expr"])) for rule in rules()} == {
        rule["alert"]: set() for rule in rules()
    }


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_urgent_it_is_what_it_means_and_what_to_type(rule: Values) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert all(text.strip() for text in rule["annotations"].values())
    assert re.search(r"treecast |systemctl |sysctl |rabbitmqctl |journalctl ", rule["annotations"]["runbook"])


def test_no_two_alerts_have_one_name() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"Treecast[A-Z]\w+", name) for name in names)


def test_what_pages_and_what_waits_is_as_it_was_decided() -> None:
    pages = {rule["alert"].removeprefix("Treecast") for rule in rules() if rule["labels"]["severity"] == "page"}
    assert pages == {
        "Hold", "Halted", "Forked", "NoLeader", "TwoLeaders", "NothingPublished", "ProducerSilent", "FleetBehind",
        "CatchUpWindowShort",
    }  # fmt: skip


def test_runbooks_name_commands_and_settings_that_there_are() -> None:
    settings = (ROOT / "docs/settings.md").read_text()
    for rule in rules():
        text = " ".join(rule["annotations"].values())
        for command in re.findall(r"(?<!-p )(?<![/-])\btreecast ([a-z]+)(?=[ ;,.]|$)", text):
            assert command in COMMANDS, rule["alert"]
        for setting in re.findall(r"\bTREECAST_[A-Z_]+", text):
            assert f"`{setting}`" in settings, rule["alert"]


def test_every_alarm_kind_that_an_alert_names_is_one_of_the_code() -> None:
    code = "".join(file.read_text() for room in ("producer", "consumer") for file in (ROOT / room).rglob("*.py"))
    kinds = {
        kind
        for rule in rules()
        for kinds in re.findall(r'treecast_alarm\{kind[!=~]+"([^"]+)"', rule["expr"])
        for kind in kinds.split("|")
    }
    assert {kind for kind in kinds if f'"{kind}"' not in code} == set()


def test_every_alert_is_seen_to_be_on_and_alone() -> None:
    """Each has a scenario in which it and no other comes, and is off at another moment of it."""
    alone = {name for _, names in told_in_tests() if len(names) == 1 for name in names}
    assert {rule["alert"] for rule in rules()} - alone == set()
    for one in yaml.safe_load((PLACE / "alerts_test.yml").read_text())["tests"]:
        assert any(not _alerts(check) for check in one["promql_expr_test"]), one["name"]


# -- dashboard


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    assert {query: unknown(metrics_in(query)) for query in queries()} == {query: set() for query in queries()}
    assert all(metrics_in(query) for query in queries())


def test_every_variable_that_a_query_uses_is_there() -> None:
    variables = {one["name"]: one for one in dashboard()["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    builtin = {"__rate_interval"}
    for query in [*queries(), *(str(one.get("definition", "")) for one in variables.values())]:
        assert set(re.findall(r"\$\{?(\w+)", query)) <= builtin | set(variables), query


def test_every_query_is_of_the_tree_that_was_chosen() -> None:
    """By the processes of that tree: what is told without a tree would show all trees as one."""
    for query in queries():
        selectors = re.findall(r"treecast_\w+(\{[^}]*\})?", query)
        assert all("instance=~" in selector for selector in selectors), query


def test_every_panel_and_query_takes_the_chosen_datasource() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])


def test_panels_are_told_apart_and_tell_what_they_show() -> None:
    for key in ("id", "title"):
        values = [panel[key] for panel in panels()]
        assert len(values) == len(set(values))
    for panel in panels():
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))


def test_panels_stand_in_the_grid_side_by_side() -> None:
    places = [panel["gridPos"] for panel in panels()]
    assert all(place["x"] + place["w"] <= GRID_COLUMNS for place in places)
    for one, other in combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)
    area = sum(place["w"] * place["h"] for place in places)
    assert area == GRID_COLUMNS * max(place["y"] + place["h"] for place in places), "there is a hole"


def test_columns_of_the_table_are_of_queries_that_it_has() -> None:
    (table,) = [panel for panel in panels() if panel["type"] == "table"]
    columns = {f"Value #{target['refId']}" for target in table["targets"]} | {"replica", "state", "version", "Time"}
    organized = next(one["options"] for one in table["transformations"] if one["id"] == "organize")
    named = {*organized["excludeByName"], *organized["indexByName"], *organized["renameByName"]}
    assert {name for name in named if name not in columns and not re.fullmatch(r"Time \d", name)} == set()
    shown = {*columns, *organized["renameByName"].values()}
    assert {one["matcher"]["options"] for one in table["fieldConfig"]["overrides"]} <= shown
