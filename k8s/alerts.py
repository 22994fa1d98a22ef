"""Makes k8s/prometheusrule.yaml from monitoring/alerts.yml: the same rules, as the Prometheus operator takes them.

python k8s/alerts.py >k8s/prometheusrule.yaml
"""

import sys
import textwrap
from pathlib import Path

ALERTS = Path(__file__).resolve().parents[1] / "monitoring/alerts.yml"

_HEAD = """\
# The alert rules, for the Prometheus operator. Made by k8s/alerts.py from monitoring/alerts.yml: edit that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: treecast
  labels:
    app.kubernetes.io/part-of: treecast
spec:
"""


def rule(alerts: str) -> str:
    """The text of the PrometheusRule that has these rules, comments and all."""
    return _HEAD + textwrap.indent(alerts.removeprefix("---\n"), "  ")


if __name__ == "__main__":
    sys.stdout.write(rule(ALERTS.read_text()))
