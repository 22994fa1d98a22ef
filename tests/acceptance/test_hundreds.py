"""Three hundred replicas, by their reports: the producer carries them."""

import os
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.conftest import NoteFigure
from tests.services import Fleet, Service
from tests.simulated import REPORT_SECONDS, SimulatedFleet
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)

HUNDREDS = 300


@pytest.fixture
def fleet(make_fleet: MakeFleet, fast_place: Path) -> Fleet:
    """A producer alone, with a few files."""
    fleet = make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=())
    for number in range(100):
        (fleet.source / f"f{number}").write_text("x")
    fleet.producer.start()
    eventually(lambda: fleet.producer.status().get("quiet"), 30, "it has its tree")
    return fleet


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
