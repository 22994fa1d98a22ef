"""`treecast wait` at the end of a deploy: when it returns 0, everyone has what was written before, however busy the rest is."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.rabbit import free_ports
from tests.services import Fleet, await_agreed
from tests.waiting import eventually, scaled
from treecast.comparing import compare_trees

pytestmark = [pytest.mark.timeout(900)]

DEPLOYS, FILES = 5, 200


def treecast(fleet: Fleet, verb: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "treecast", verb, *words, f"--state={fleet.producer.state}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=scaled(200), check=False)


def waited(fleet: Fleet, *words: str) -> tuple[int, dict[str, Any]]:
    done = treecast(fleet, "wait", "--json", *words)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def deploy(where: Path, round_number: int, files: int) -> None:
    """Every file anew, some that were there before gone, some directories made and removed."""
    where.mkdir(exist_ok=True)
    for number in range(files):
        path = where / f"d{number % 10}" / f"f{number}"
        if (number + round_number) % 7 == 0:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{round_number} {number} " * 9)


@pytest.fixture
def fleet(make_fleet: MakeFleet, fast_place: Path) -> Fleet:
    """On the embedded queue, not started."""
    return make_fleet(f"sqlite:///{fast_place}/queue.db")


@contextmanager
def another_writer(source: Path) -> Iterator[None]:
    """Unrelated changes, without a pause, until the end."""
    ended = threading.Event()

    def write() -> None:
        (source / "other").mkdir(exist_ok=True)
        number = 0
        while not ended.wait(0.002):
            number += 1
            (source / "other" / f"f{number % 50}").write_text(str(number))
            (source / "other" / f"d{number % 20}").mkdir(exist_ok=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def test_when_it_returns_every_replica_has_what_was_deployed(fleet: Fleet, is_large: bool) -> None:
    """A deploy again and again beside another writer; with --large 100 times 5,000 files."""
    deploys, files = (100, 5000) if is_large else (DEPLOYS, FILES)
    (fleet.source / "first").write_text("x")
    fleet.start()
    fleet.settle()
    with another_writer(fleet.source):
        for round_number in range(deploys):
            deploy(fleet.source / "site", round_number, files)
            code, found = waited(fleet)
            assert (code, found["have"]) == (0, len(fleet.targets)), found
            for target in fleet.targets:
                found_there = compare_trees(os.fsencode(fleet.source / "site"), os.fsencode(target / "site"))
                assert [one.line() for one in found_there] == [], round_number


def test_one_that_is_stopped_is_named_until_it_is_back(fleet: Fleet) -> None:
    (fleet.source / "first").write_text("x")
    fleet.start()
    fleet.settle()
    stopped = fleet.consumers["a"]
    stopped.ask_to_stop()
    assert stopped.wait(10) == 0
    (fleet.source / "new").write_text("new")
    code, found = waited(fleet, "--timeout", "1")
    assert (code, found["have"], list(found["missing"])) == (1, len(fleet.targets) - 1, ["a"])
    # Patience would wait for it for ever; when it is gone for 30 s, nobody waits.
    code, found = waited(fleet, "--timeout", "90")
    assert (code, found["why"]) == (1, "a is gone")
    assert found["seconds"] < scaled(60)
    assert "1 gone: a since" in treecast(fleet, "status").stdout.splitlines()[0]
    assert treecast(fleet, "status").returncode == 1
    assert waited(fleet, "--replicas", "1")[0] == 0
    stopped.start()
    assert waited(fleet, "--patient", "--timeout", "60")[0] == 0
    assert (fleet.targets[0] / "new").read_text() == "new"


def test_the_roster_outlives_the_producer_and_forgets_who_is_to_be_forgotten(fleet: Fleet) -> None:
    fleet.start()
    fleet.settle()
    added = treecast(fleet, "replica", "add", "fra7", "-l", "region=eu").stdout
    fleet.producer.kill()
    fleet.producer.start()
    fleet.settle()
    listed = json.loads(treecast(fleet, "replica", "list", "--json").stdout)
    assert listed["fra7"]["labels"] == {"region": "eu"}
    assert listed["fra7"]["word"] == "new"
    assert treecast(fleet, "replica", "forget", "fra7").returncode == 0
    assert treecast(fleet, "replica", "forget", "fra7").returncode == 2
    assert treecast(fleet, "replica", "forget", "a").returncode == 4
    assert "fra7" not in json.loads(treecast(fleet, "replica", "list", "--json").stdout)
    assert "TREECAST_REPLICA=fra7" in added
    assert "TREECAST_LABELS=region=eu" in added


def test_a_hint_is_in_the_journal_when_it_returns_where_nothing_is_watched(fleet: Fleet) -> None:
    fleet.producer.start("--watch=scan", "--scan-interval=1h")
    for consumer in fleet.consumers.values():
        consumer.start()
        await_agreed(consumer)
    (fleet.source / "told").write_text("told")
    done = treecast(fleet, "hint", str(fleet.source / "told"))
    assert (done.returncode, done.stderr) == (0, "")
    done = treecast(fleet, "hint", "told", "tolt", "a/b")
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 of 3 paths neither there nor known: tolt, a/b; a PATH is in the tree, or absolute" in done.stderr
    assert waited(fleet, "tolt")[1]["unknown"] == 1
    assert waited(fleet, "told")[0] == 0
    assert [(target / "told").read_text() for target in fleet.targets] == ["told"] * len(fleet.targets)


def test_a_hint_ends_in_its_time_while_the_broker_is_away_and_says_what_is_waited_for(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(f"amqp://guest:guest@127.0.0.1:{free_ports(1)[0]}", replicas=())
    (fleet.source / "told").write_text("told")
    fleet.producer.start()
    eventually(lambda: treecast(fleet, "status").returncode != 3, 20, "the producer answers")
    done = treecast(fleet, "hint", "--timeout", "1s", "told")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not yet: the master waits for the broker" in done.stderr
    done = treecast(fleet, "hint", "--timeout", "0s", "--json", "told")
    assert done.returncode == 1
    assert json.loads(done.stdout)["waits_for"].startswith("the broker")
    assert treecast(fleet, "hint", "--timeout", "soon", "told").returncode == 2
    done = treecast(fleet, "status")
    assert (done.returncode, done.stdout.splitlines()[0][:45]) == (1, "nothing is heard yet: the broker is away; as ")


def test_deletes_that_are_held_are_not_everywhere_whatever_the_patience(fleet: Fleet) -> None:
    """What was removed before the call stands on every replica still; when it is released, it is waited for. Who waits for
    another directory need not know of it."""
    (fleet.source / "other").mkdir()
    for number in range(120):
        (fleet.source / f"f{number}").write_text("x")
    fleet.producer.start("--hold=5,5%,50%")
    for consumer in fleet.consumers.values():
        consumer.start()
        await_agreed(consumer)
    for number in range(60):
        (fleet.source / f"f{number}").unlink()
    code, found = waited(fleet)
    assert (code, found["why"]) == (4, "deletes are held on the master")
    code, found = waited(fleet, "--patient", "--timeout", "1")
    assert (code, found["is_done"], found["why"]) == (4, False, "")
    assert waited(fleet, "f1")[0] == 4
    assert waited(fleet, "other")[0] == 0
    assert treecast(fleet, "hold", "release").returncode == 0
    assert waited(fleet)[0] == 0
    assert [len(list(target.glob("f*"))) for target in fleet.targets] == [60] * len(fleet.targets)
