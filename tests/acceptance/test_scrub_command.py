"""Chaos on one replica of a fleet, and `treecast scrub`: one scrub later it equals the master, and each kind is counted."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.chaos import chaos
from tests.conftest import NoteFigure
from tests.services import Fleet, Service, reads
from tests.waiting import eventually, scaled

pytestmark = [pytest.mark.timeout(900)]


def scrub(consumer: Service, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "treecast", "scrub", f"--state={consumer.state}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=scaled(600), check=False)


def write_tree(source: Path, files: int) -> None:
    for number in range(files):
        directory = source / f"d{number % max(10, files // 100):04}"
        directory.mkdir(exist_ok=True)
        (directory / f"file-{number}").write_bytes(b"content of %d " % number * 12)
    (source / "empty").mkdir()


@contextmanager
def measured(fleet: Fleet) -> Iterator[list[float]]:
    """How long single changes take meanwhile, until they can be read on the replica."""
    taken: list[float] = []
    ended = threading.Event()

    def change() -> None:
        number = 0
        while not ended.wait(0.05):
            number += 1
            began = time.perf_counter()
            (fleet.source / "live").write_text(str(number))
            while reads(fleet.targets[0] / "live") != str(number) and not ended.is_set():
                time.sleep(0.001)
            taken.append(time.perf_counter() - began)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        yield taken
    finally:
        ended.set()
        changer.join()


def cpu_seconds(service: Service) -> float:
    fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(service: Service, which: str) -> float:
    lines = Path(f"/proc/{service.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(which)).split()[1]) / 1000


def percentiles(taken: list[float]) -> str:
    ordered = sorted(taken)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms of {len(ordered)}"


@pytest.fixture
def fleet(make_fleet: MakeFleet, fast_place: Path) -> Fleet:
    return make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=("a",))


def test_one_scrub_later_the_replica_equals_the_master_and_each_kind_is_counted(
    fleet: Fleet, is_large: bool, note_figure: NoteFigure
) -> None:
    """Edited, cut, deleted, added, another mode, kind or time, one bit flipped with mtime and size kept; changes flow on."""
    files, each = (200_000, 100) if is_large else (2000, 10)
    write_tree(fleet.source, files)
    fleet.start()
    fleet.settle(300)
    consumer = fleet.consumers["a"]
    with measured(fleet) as before:
        time.sleep(10 if is_large else 0.5)
    memory_before = memory_mb(consumer, "VmRSS")
    done = chaos(fleet.targets[0], each, seed=7)
    cpu = cpu_seconds(consumer)
    with measured(fleet) as meanwhile:
        answer = scrub(consumer, "--json")
    cpu = cpu_seconds(consumer) - cpu
    assert answer.returncode == 0, answer.stdout + answer.stderr
    result: dict[str, Any] = json.loads(answer.stdout)
    assert result["findings"] == dict(sorted(done.items()))
    assert (result["repaired"], result["problems"]) == (done.total(), 0)
    fleet.settle()
    fleet.check_equal()
    metrics = consumer.metrics()
    for kind, count in done.items():
        assert metrics[f'treecast_scrub_findings_total{{kind="{kind}"}}'] == count
        assert metrics[f'treecast_scrub_repaired_total{{kind="{kind}"}}'] == count
    details = fleet.producer.status()["replicas"]["a"]["details"]
    assert details["scrub_found_bit_rot"] == each
    seconds, paths, mb = result["seconds"], result["paths"], result["bytes"] / 1e6
    note_figure(
        f"scrub of {paths} paths, {mb:.0f} MB, {done.total()} findings: {seconds:.1f} s ({mb / seconds:.0f} MB/s,"
        f" {paths / seconds:.0f} paths/s), {cpu / seconds:.0%} of a core, memory {memory_before:.0f} MB before,"
        f" {memory_mb(consumer, 'VmHWM'):.0f} MB at most; one change before: {percentiles(before)};"
        f" meanwhile: {percentiles(meanwhile)}"
    )


def test_a_clean_replica_ends_with_0_and_says_so(fleet: Fleet) -> None:
    """In words too, and without a terminal nothing is drawn."""
    write_tree(fleet.source, 20)
    fleet.start()
    fleet.settle()
    clean = scrub(fleet.consumers["a"])
    assert clean.returncode == 0
    assert "found: nothing; 0 repaired" in clean.stdout
    assert clean.stderr == ""
    status = fleet.consumers["a"].status()["scrub"]
    assert status["ended"] > time.time() - 60


def test_ctrl_c_ends_the_watching_and_not_the_scrub(fleet: Fleet) -> None:
    """It says so, with code 130; the findings are repaired all the same."""
    write_tree(fleet.source, 200)
    fleet.start()
    fleet.settle()
    consumer = fleet.consumers["a"]
    fleet.producer.kill()
    victim = fleet.targets[0] / "d0001/file-1"
    content = victim.read_bytes()
    victim.write_bytes(b"edited")
    command = [sys.executable, "-m", "treecast", "scrub", f"--state={consumer.state}"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: consumer.status()["scrub"]["open"] == 1, 20, "found")
        watching.send_signal(signal.SIGINT)
        output, errors = watching.communicate(timeout=scaled(20))
    finally:
        watching.kill()
    assert watching.returncode == 130, (output, errors)
    assert "the scrub goes on" in errors
    fleet.producer.start()
    eventually(lambda: victim.read_bytes() == content, 30, "repaired")
    eventually(lambda: consumer.status()["scrub"]["last"], 30, "over")


def test_without_a_consumer_it_says_so_with_3(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "treecast", "scrub", f"--state={tmp_path}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 3
    assert len(answer.stderr.splitlines()) == 1
