"""A burst of atomic replacements, and how soon one change is everywhere, on RabbitMQ."""

import os
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.conftest import NoteFigure
from tests.rabbit import needs_rabbit
from tests.services import Fleet, reads
from tests.waiting import eventually

pytestmark = [
    *needs_rabbit,
    pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's"),
    pytest.mark.timeout(600),
]

REPLACEMENTS = 20_000
DIRECTORIES = 100
CHANGES = 30
CHANGE_LIMIT_SECONDS = 5.0


def test_a_burst_of_replacements_is_lost_nowhere(
    make_fleet: MakeFleet, rabbit_url: str, is_large: bool, note_figure: NoteFigure
) -> None:
    """20,000 times write beside and rename over, as fast as one writer goes: no overflow, all equal. Then single changes."""
    fleet = make_fleet(rabbit_url)
    files = REPLACEMENTS if is_large else REPLACEMENTS // 4
    for number in range(DIRECTORIES):
        (fleet.source / f"d{number}").mkdir()
    replace(fleet.source, files, "before", times=files)
    fleet.producer.start("--watch=inotify")
    for consumer in fleet.consumers.values():
        consumer.start()
    fleet.settle()
    began = time.perf_counter()
    replace(fleet.source, files, "after", times=REPLACEMENTS)
    burst_seconds = time.perf_counter() - began
    fleet.settle()
    level_seconds = time.perf_counter() - began
    fleet.check_equal()
    assert fleet.producer.metrics()["treecast_watch_overflows_total"] == 0
    assert fleet.producer.metrics()["treecast_scans_total"] == 1
    note_figure(
        f"{REPLACEMENTS} replacements of {files} files in {burst_seconds:.1f} s ({REPLACEMENTS / burst_seconds:.0f} per second),"
        f" three replicas agreed after {level_seconds:.1f} s"
    )
    measure_single_changes(fleet, note_figure)


def replace(source: Path, files: int, text: str, times: int) -> None:
    """So many atomic replacements, all files in turn, by one writer."""
    root = os.fspath(source)
    beside = f"{root}/being-written"
    for number in range(times):
        with open(beside, "wb") as file:
            file.write(b"%s %d\n" % (text.encode(), number) * 10)
        os.rename(beside, f"{root}/d{number % DIRECTORIES}/file-{number % files}")


def measure_single_changes(fleet: Fleet, note_figure: NoteFigure) -> None:
    """From before the write until it can be read on every replica."""
    taken = sorted(time_one_change(fleet, str(number)) for number in range(CHANGES))
    assert taken[-1] < CHANGE_LIMIT_SECONDS
    note_figure(
        f"one change visible on three replicas, {CHANGES} times: p50 {taken[CHANGES // 2] * 1000:.0f} ms,"
        f" p99 {taken[-1] * 1000:.0f} ms"
    )


def time_one_change(fleet: Fleet, text: str) -> float:
    # A change that comes right behind another one waits for company on purpose.
    eventually(fleet.is_level, 30, "all agree again")
    began = time.perf_counter()
    (fleet.source / "change").write_text(text)
    eventually(
        lambda: all(reads(target / "change") == text for target in fleet.targets), what="the change is everywhere"
    )
    return time.perf_counter() - began
