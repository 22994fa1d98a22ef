"""What the tests rely on in their runner."""

import os
import subprocess
import sys
from pathlib import Path

SUITE = """
import os, pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_group(number):
    print("worker", os.environ["PYTEST_XDIST_WORKER"])
"""


def test_a_group_of_tests_stays_on_one_worker(tmp_path: Path) -> None:
    """Tests that share a broker are run by one worker, so that there is one broker."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-rP", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    workers = [line for line in done.stdout.splitlines() if line.startswith("worker ")]
    assert len(workers) == 8
    assert len(set(workers)) == 1
