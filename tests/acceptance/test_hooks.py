"""A replica's hook with real processes: whatever is killed when, no changed path goes untold."""

import random
import shlex
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.services import Fleet, Service, await_agreed
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)


class Recorder:
    """A command that keeps what each run was told."""

    def __init__(self, place: Path) -> None:
        self._runs = place / "runs"
        self._runs.mkdir()
        new = f"{self._runs}/.$$"
        script = f'{{ printf "%s\\0" "$TREECAST_CHANGED"; cat; }} > {new} && mv {new} {self._runs}/$(date +%s%N)'
        self.option = f"--on-applied={shlex.join(['sh', '-c', script])}"

    def told(self) -> list[list[bytes]]:
        """Of each run, oldest first: list or all, and the paths."""
        runs = sorted(run for run in self._runs.iterdir() if not run.name.startswith("."))
        return [run.read_bytes().split(b"\0")[:-1] for run in runs]


@pytest.fixture
def fleet(make_fleet: MakeFleet, fast_place: Path) -> Fleet:
    return make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=("a",))


@pytest.fixture
def recorder(fleet: Fleet) -> Recorder:
    return Recorder(fleet.place)


def pending_seconds(consumer: Service) -> float:
    return float(consumer.status().get("hook", {}).get("pending_seconds", -1))


def await_told(consumer: Service) -> None:
    """Until all that was applied was told."""
    await_agreed(consumer)
    eventually(lambda: pending_seconds(consumer) == 0, 30, "all is told")


def test_what_was_applied_before_a_kill_is_told_after_it(fleet: Fleet, recorder: Recorder) -> None:
    """The change is durable, and its hook has not ended well by the time that the consumer is killed."""
    consumer = fleet.consumers["a"]
    for name in ("kept", "changed", "deleted"):
        (fleet.source / name).write_text("before")
    fleet.producer.start()
    consumer.start(recorder.option)
    fleet.settle()
    await_told(consumer)
    assert recorder.told()[0] == [b"all"]
    consumer.kill()

    began = fleet.place / "began"
    consumer.start(f"--on-applied=sh -c 'touch {began}; exit 1'")
    (fleet.source / "changed").write_text("after")
    (fleet.source / "deleted").unlink()
    (fleet.source / "new\nname").write_text("new")
    fleet.settle()
    eventually(began.exists, 30, "the hook was tried")
    metrics = consumer.metrics()
    assert metrics["treecast_hook_pending_seconds"] > 0
    eventually(
        lambda: consumer.metrics()['treecast_hook_runs_total{result="failed"}'] > 0, 10, "the failure is counted"
    )
    consumer.kill()

    before = len(recorder.told())
    consumer.start(recorder.option)
    await_told(consumer)
    found = {path for run in recorder.told()[before:] for path in run}
    assert {b"list", b"changed", b"deleted", b"new\nname"} <= found
    assert b"kept" not in found


def test_no_change_goes_untold_however_often_the_consumer_is_killed(fleet: Fleet, recorder: Recorder) -> None:
    """Kills at random moments: between names and index, index and hook, hook and the note that it was told."""
    chance = random.Random(20)
    consumer = fleet.consumers["a"]
    change_log = fleet.place / "changes.log"
    options = (recorder.option, f"--change-log={change_log}")
    fleet.producer.start()
    consumer.start(*options)
    fleet.settle()
    await_told(consumer)
    before = change_log.read_bytes().count(b"\n")
    for _ in range(5):
        for number in range(120):
            name = f"file {chance.randrange(200)}"
            path = fleet.source / name
            if path.exists() and number % 5 == 0:
                path.unlink()
            else:
                path.write_text(f"{chance.random()}")
            time.sleep(0.001)
        time.sleep(chance.random() * 0.3)
        consumer.kill()
        consumer.start(*options)
    fleet.settle()
    await_told(consumer)
    fleet.check_equal()
    runs = recorder.told()
    assert [run[0] for run in runs].count(b"all") == 1
    logged = {line.split(b" ", 6)[6] for line in change_log.read_bytes().splitlines()[before:]}
    there = {path.name.encode() for path in fleet.source.iterdir()}
    # What came and went between two looks of the producer was never anywhere.
    assert len(logged) > 100
    assert (logged | there) - {path for run in runs for path in run} == set()
