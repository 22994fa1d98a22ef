"""`treecast log` beside a real producer: while it runs, after it was killed, and after it stopped."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.acceptance.conftest import MakeFleet
from tests.services import private_environment
from tests.waiting import eventually, scaled


def test_when_did_this_vanish(make_fleet: MakeFleet, tmp_path: Path) -> None:
    """The same answer from the running producer, from the journal that a kill left, and from one that was closed in order."""
    fleet = make_fleet(f"sqlite:///{tmp_path}/queue.db", replicas=())
    (fleet.source / "d/e").mkdir(parents=True)
    (fleet.source / "d/e/song").write_text("song")
    (fleet.source / "stays").write_text("")
    producer = fleet.producer.start()
    eventually(lambda: producer.is_ready, 20, "it leads")

    def log(*words: str) -> list[list[str]]:
        command = [sys.executable, "-m", "treecast", "log", "--state", str(producer.state), *words]
        environ = private_environment(tmp_path)
        answer = subprocess.run(command, capture_output=True, text=True, timeout=scaled(20), check=True, env=environ)
        return [line.split() for line in answer.stdout.splitlines()]

    assert log() == []
    shutil.rmtree(fleet.source / "d")
    eventually(lambda: bool(log("d/e/song", "--deleted")), 20, "it is told")
    running = log("d/e/song")
    assert [line[2:] for line in running] == [["delete", "file", "4", "d/e/song"]]
    producer.kill()
    assert log("d/e/song") == running
    producer.start()
    eventually(lambda: producer.is_ready, 20, "it leads")
    producer.ask_to_stop()
    assert producer.wait(10) == 0
    assert log("d/e/song") == running
