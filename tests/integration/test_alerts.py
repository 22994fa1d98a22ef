"""The alert rules do what they promise, and the dashboard's queries can be read: as Prometheus itself sees them."""

import json
import re
from pathlib import Path

from tests.promtool import promtool
from tests.unit.test_monitoring import PLACE, queries

VARIABLES = {
    "__rate_interval": "5m",
    "producer": "(master:9464)",
    "consumer": "(paris:9464|rome:9464)",
    "tree": "music",
}


def test_every_rule_can_be_read() -> None:
    """Its expression, and the templates in its texts."""
    promtool("check", "rules", str(PLACE / "alerts.yml"))


def test_every_alert_comes_when_it_must_and_not_when_it_must_not() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(PLACE / "alerts_test.yml"))


def test_every_query_of_the_dashboard_can_be_read(tmp_path: Path) -> None:
    """With variables in it as Grafana fills them in."""
    rules = [
        {"record": f"query:{number}", "expr": re.sub(r"\$\{?(\w+)\}?", lambda found: VARIABLES[found[1]], query)}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))
