"""What every level of tests shares: the options `--broker` and `--large`, the private RabbitMQ, figures told as information."""

from collections.abc import Callable

import pytest

pytest_plugins = ["tests.rabbit", "tests.promtool"]

NoteFigure = Callable[[str], None]
_FIGURE = "figure"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--broker URL`: test against this RabbitMQ instead of a private one. `--large`: sizes that take minutes. `--seeds N`: how
    many stories the machine is told."""
    parser.addoption(
        "--broker", metavar="URL", default=None, help="amqp:// URL of a RabbitMQ to run the contract against"
    )
    parser.addoption("--seeds", type=int, metavar="N", default=None, help="how many stories tests/machine is told")
    parser.addoption("--large", action="store_true", help="acceptance tests in sizes that take minutes")


@pytest.fixture
def note_figure(record_property: Callable[[str, object], None]) -> NoteFigure:
    """Tells a measured figure at the end of the run. It is information: nothing fails for it."""
    return lambda text: record_property(_FIGURE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured, a line each; it comes from the workers with their reports."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    figures = [text for report in reports for name, text in report.user_properties if name == _FIGURE]
    if figures:
        terminalreporter.section("measured")
    # A report of each phase carries the test's properties.
    for text in dict.fromkeys(figures):
        terminalreporter.line(str(text))
