"""Three hundred replicas, by their reports: the producer carries them, and a person can still read how they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.messages import ReplicaState
from tests.acceptance.conftest import MakeFleet
from tests.conftest import NoteFigure
from tests.services import Fleet, Service
from tests.simulated import REPORT_SECONDS, SimulatedFleet
from tests.waiting import eventually, scaled

pytestmark = pytest.mark.timeout(300)

HUNDREDS = 300
LINES = 60


@pytest.fixture
def fleet(make_fleet: MakeFleet, fast_place: Path) -> Fleet:
    """A producer alone, with a few files."""
    fleet = make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=())
    for number in range(100):
        (fleet.source / f"f{number}").write_text("x")
    fleet.producer.start()
    eventually(lambda: fleet.producer.status().get("quiet"), 30, "it has its tree")
    return fleet


def treecast(fleet: Fleet, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "treecast", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=False)


def cpu_seconds(service: Service) -> float:
    """What the process has used, the one that makes its answers aside."""
    fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(service: Service) -> float:
    pages = int(Path(f"/proc/{service.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(fleet: Fleet, count: int) -> tuple[float, float]:
    """CPU seconds of the producer while each replica reports twice, and its memory then."""
    with SimulatedFleet(fleet, count) as simulated:
        eventually(lambda: fleet.producer.status().get("equal") == count, 60, "all are equal")
        began, reports = cpu_seconds(fleet.producer), simulated.reports
        eventually(lambda: simulated.reports - reports >= 2 * count, 6 * REPORT_SECONDS, "all have reported")
        return cpu_seconds(fleet.producer) - began, memory_mib(fleet.producer)


def test_a_producer_carries_hundreds(fleet: Fleet, note_figure: NoteFigure) -> None:
    one_cpu, one_memory = measured(fleet, 1)
    cpu, memory = measured(fleet, HUNDREDS)
    note_figure(
        f"{HUNDREDS} replicas that report every {REPORT_SECONDS:g} s, of 10 s: {cpu:.2f} s of a core ({one_cpu:.2f} s with one),"
        f" {memory:.0f} MiB ({one_memory:.0f} MiB with one)"
    )


def test_hundreds_are_read_at_a_glance_and_waited_for(fleet: Fleet) -> None:
    """Over a hundred that are not equal in three ways: a page of text, all of it as JSON; `wait` names the first ones."""
    state, url = f"--state={fleet.producer.state}", f"--url={fleet.producer.url}"
    with SimulatedFleet(fleet, HUNDREDS) as simulated:
        eventually(lambda: fleet.producer.status().get("equal") == HUNDREDS, 60, "all are equal")
        found = treecast(fleet, "status", state)
        assert found.returncode == 0
        assert found.stdout.startswith(f"all {HUNDREDS} equal at ")

        (fleet.source / "new").write_text("new")
        done = treecast(fleet, "wait", state, "--json")
        told = json.loads(done.stdout)
        assert (done.returncode, told["have"], told["of"]) == (0, HUNDREDS, HUNDREDS)

        for name in simulated.names[:100]:
            simulated.odd[name] = {"agreed": False, "stale_buckets": 7, "details": {"seconds_left": 60}}
        simulated.odd["r100"] = {"agreed": False, "details": {"unmet_problem": 2, "problems": ["f1: immutable"]}}
        simulated.odd["r101"] = {"agreed": False, "state": ReplicaState.WAITING}
        eventually(lambda: fleet.producer.status().get("equal") == HUNDREDS - 102, 60, "some are not")
        page = treecast(fleet, "status", url)
        first, *lines = page.stdout.splitlines()
        assert first.startswith(f"{HUNDREDS - 102} of {HUNDREDS} equal at ")
        assert len(lines) < LINES, page.stdout
        assert any("more that are not equal; see: treecast status --all" in line for line in lines)
        assert len(treecast(fleet, "status", url, "--all").stdout.splitlines()) > HUNDREDS
        assert len(json.loads(treecast(fleet, "status", url, "--json").stdout)["replicas"]) == HUNDREDS
        assert "r100: f1: immutable" in treecast(fleet, "status", url, "--problems").stdout

        listed = treecast(fleet, "replica", "list", url, "-l", "region=us").stdout.splitlines()
        assert (len(listed), listed[0].split()[0]) == (HUNDREDS // 3, "r000")
        late = treecast(fleet, "wait", state, "--timeout", "1s")
        assert late.returncode == 1
        assert late.stdout.startswith(f"{HUNDREDS - 102} of {HUNDREDS} at ")
        assert len(late.stdout.splitlines()) == 1
        assert treecast(fleet, "wait", state, "--replicas", "100").returncode == 0
