"""The life of producers and consumers over RabbitMQ: stopped in order under load, and a target that is adopted."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.rabbit import needs_rabbit
from tests.waiting import scaled

pytestmark = [*needs_rabbit, pytest.mark.timeout(300)]

STOP_SECONDS = 5.0
ONLY_HERE = [f"only here {number}" for number in range(7)]


def test_sigterm_ends_all_within_seconds_and_loses_nothing(make_fleet: MakeFleet, rabbit_url: str) -> None:
    """In the middle of a stream of changes; exit code 0; what they knew they know again, so nothing is copied anew."""
    fleet = make_fleet(rabbit_url, replicas=("a", "b")).start()
    write_tree(fleet.source, 300)
    fleet.settle()
    with somebody_writes(fleet.source):
        time.sleep(scaled(0.5))
        began = time.monotonic()
        for service in fleet.services:
            service.ask_to_stop()
        codes = [service.wait(STOP_SECONDS) for service in fleet.services]
        assert codes == [0, 0, 0], [service.log[-500:] for service in fleet.services]
        assert time.monotonic() - began < scaled(STOP_SECONDS)
    (fleet.source / "directory-1/file-1").unlink()
    fleet.start()
    fleet.settle()
    fleet.check_equal()
    for consumer in fleet.consumers.values():
        assert consumer.metrics()["treecast_gaps_total"] == 0
        assert consumer.status()["first_copy_complete"]


def test_a_target_that_holds_files_is_refused_and_adopted_when_told(make_fleet: MakeFleet, rabbit_url: str) -> None:
    """The refusal has counts, exit code 4 and touches nothing. Adopted, only what differs travels; the rest lies aside."""
    fleet = make_fleet(rabbit_url, replicas=("a",))
    write_tree(fleet.source, 500)
    target, consumer = fleet.targets[0], fleet.consumers["a"]
    shutil.copytree(fleet.source, target, dirs_exist_ok=True, symlinks=True)
    (target / "directory-1/file-1").write_text("another content")
    (target / "directory-2/file-2").unlink()
    (target / "extra").mkdir()
    for number in range(len(ONLY_HERE)):
        (target / f"extra/file-{number}").write_text(ONLY_HERE[number])
    before = sorted(path.relative_to(target) for path in target.rglob("*"))

    fleet.producer.start()
    assert consumer.start().wait(20) == 4
    last = consumer.log.splitlines()[-1]
    assert "--adopt" in last
    assert f"{499 + 7}" in last, last
    assert sorted(path.relative_to(target) for path in target.rglob("*")) == before

    consumer.start("--adopt")
    fleet.settle()
    fleet.check_equal()
    assert consumer.metrics()["treecast_events_applied_total"] < 30, "equal files did not travel"
    assert sorted(path.read_text() for path in aside(target) if "extra" in path.parts) == ONLY_HERE

    consumer.ask_to_stop()
    assert consumer.wait(STOP_SECONDS) == 0
    consumer.start()
    fleet.settle()
    fleet.check_equal()


def aside(target: Path) -> list[Path]:
    """The files that were set aside."""
    return [path for path in (target / ".treecast/aside").rglob("*") if path.is_file()]


def write_tree(source: Path, files: int) -> None:
    for number in range(files):
        directory = source / f"directory-{number % 10}"
        directory.mkdir(exist_ok=True)
        (directory / f"file-{number}").write_text(f"content {number}\n" * 10)
        # Old enough to be taken by a scan at once.
        os.utime(directory / f"file-{number}", (1_700_000_000, 1_700_000_000))


@contextmanager
def somebody_writes(source: Path) -> Iterator[None]:
    """One writer, replacing, adding and deleting, until the end."""
    is_over = threading.Event()

    def write() -> None:
        number = 0
        while not is_over.wait(0.001):
            number += 1
            (source / f"directory-{number % 10}/new-{number % 200}").write_text(str(number))
            (source / f"directory-{number % 10}/new-{(number + 100) % 200}").unlink(missing_ok=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join()
