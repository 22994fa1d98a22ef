"""`treecast status` of a fleet of real processes: the sentence, who is chosen, and what the exit code says."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.services import Fleet
from tests.waiting import eventually, scaled

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture
def fleet(make_fleet: MakeFleet, fast_place: Path) -> Fleet:
    """Three replicas with labels, one of them ephemeral; small limits for a hold."""
    made = make_fleet(f"sqlite:///{fast_place}/queue.db", more=("--hold=20,10%,50%",))
    for number in range(30):
        (made.source / f"f{number}").write_text("x")
    made.producer.start()
    for name, words in (
        ("a", ("--labels=region=eu,role=web",)),
        ("b", ("--labels=region=us",)),
        ("c", ("--ephemeral=true",)),
    ):
        made.consumers[name].start(*words)
    made.settle()
    # The producer tells of replicas twice a second.
    eventually(lambda: status(made).stdout.startswith("all 3 equal at "), 10, "all are told to be equal")
    return made


def status(fleet: Fleet, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "treecast", "status", f"--state={fleet.producer.state}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=scaled(30), check=False)


def test_the_exit_code_says_whether_somebody_is_gone_and_labels_choose(fleet: Fleet) -> None:
    found = status(fleet)
    assert found.returncode == 0, found.stdout
    assert found.stdout.startswith("all 3 equal at ")
    assert status(fleet, "-l", "region=eu").stdout.startswith("all 1 equal at ")
    assert json.loads(status(fleet, "--json", "-l", "!region").stdout)["replicas"].keys() == {"c"}
    for name in ("b", "c"):
        fleet.consumers[name].kill()
    eventually(lambda: "gone: b since" in status(fleet).stdout.splitlines()[0], timeout_seconds=45)
    found = status(fleet)
    # The ephemeral one is not missed: it counts only while it speaks.
    assert found.stdout.splitlines()[0].startswith("1 of 2 equal at ")
    assert found.returncode == 1
    assert status(fleet, "-l", "region=eu").returncode == 0


def test_a_person_who_is_needed_is_the_exit_code_four(fleet: Fleet) -> None:
    for number in range(30):
        (fleet.source / f"f{number}").unlink()
    (fleet.source / "left").write_text("x")
    eventually(lambda: status(fleet).returncode == 4, timeout_seconds=20)
    assert "ALARM hold" in status(fleet).stdout


def test_it_is_watched_until_the_person_has_seen_enough(fleet: Fleet) -> None:
    command = [sys.executable, "-m", "treecast", "status", f"--state={fleet.producer.state}", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as watching:
        assert watching.stdout is not None
        seen = 0
        while seen < 2:
            line = watching.stdout.readline()
            assert line, "it ended"
            seen += line.startswith("all 3 equal at ")
        os.kill(watching.pid, signal.SIGINT)
        assert watching.wait(scaled(10)) == 130
