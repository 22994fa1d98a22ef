"""promtool, of the Prometheus package: it tests the alert rules, and reads expressions as Prometheus does. Knows no Treecast."""

import os
import shutil
import subprocess

import pytest

UNTESTED = "ALERTS NOT TESTED"
LIMIT_SECONDS = 120.0


def promtool(*arguments: str) -> str:
    """What it says, once it agreed. Skips, in a loud line, where it is not installed; where CI is set, that fails."""
    found = shutil.which("promtool")
    if found is None:
        _skip_or_fail(f"{UNTESTED}: promtool is not installed; on Debian: apt-get install prometheus")
        return ""
    done = subprocess.run(
        [found, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        pytest.fail(f"promtool {' '.join(arguments)}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def _skip_or_fail(text: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested is said at the end, whatever pytest was asked to show."""
    skipped = [report for report in terminalreporter.getreports("skipped") if UNTESTED in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests: {UNTESTED}", red=True, bold=True)
