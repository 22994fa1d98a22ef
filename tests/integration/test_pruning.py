"""What stands aside goes for good when its time is over, in pieces that nobody waits for."""

import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import NoRoomError
from common.quantities import AsideLimits
from consumer import pruning, shelf
from consumer.ages import Clocks
from consumer.following import NO_ROOM_LIMIT_SECONDS
from consumer.pruning import Pruning
from tests.memory_place import memory_place
from tests.running_consumer import Running

NOW = 1_700_000_000.0
SECONDS = 1000.0


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with memory_place(tmp_path) as place, Running(place, monkeypatch) as running:
        running.say(running.master.batch({b"a": b"1"}))
        running.level()
        yield running


def pruning_of(running: Running, share: float = 1.0) -> Pruning:
    return Pruning(AsideLimits(SECONDS, share), running.target.shelf, running.state.shelf, running.board)


def shelf_of(running: Running) -> Path:
    return running.root / ".treecast/aside"


def put(running: Running, label: str, files: dict[str, bytes]) -> Path:
    place = shelf_of(running) / label
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def at(pruning: Pruning, seconds: float) -> int:
    """It looks at this time of both clocks, and works until it is done; returns in how many turns."""
    turns = 1
    pruning.turn(seconds, Clocks(NOW + seconds, NOW + seconds))
    while pruning.is_busy:
        pruning.turn(seconds, Clocks(NOW + seconds, NOW + seconds))
        turns += 1
    return turns


def test_what_stood_aside_long_enough_goes_whatever_its_label_says(running: Running) -> None:
    """A clock that was wrong when it was set aside decides nothing."""
    put(running, "5-1", {"d/e/f": b"x"})
    put(running, "4000000000-2", {"f": b"x"})
    one = pruning_of(running)
    at(one, 0)
    at(one, SECONDS - 1)
    assert sorted(os.listdir(shelf_of(running))) == ["4000000000-2", "5-1"]
    put(running, "6-3", {"f": b"x"})
    at(pruning_of(running), SECONDS)
    assert os.listdir(shelf_of(running)) == ["6-3"]


def test_the_oldest_go_while_all_of_it_takes_more_than_its_share_and_the_newest_stays(running: Running) -> None:
    for number in (1, 2, 3):
        put(running, f"1000-{number}", {"f": os.urandom(100_000)})
    at(pruning_of(running, share=1.0), 0)
    assert len(os.listdir(shelf_of(running))) == 3
    at(pruning_of(running, share=0.0), 10)
    assert os.listdir(shelf_of(running)) == ["1000-3"]
    assert running.board.figures()["aside_bytes", ""] >= 100_000


def test_what_nobody_of_us_named_stays(running: Running) -> None:
    put(running, "mine", {"f": b"x"})
    one = pruning_of(running, share=0.0)
    at(one, 0)
    at(one, 10 * SECONDS)
    assert os.listdir(shelf_of(running)) == ["mine"]


def test_however_much_goes_each_piece_is_small_and_little_is_in_memory(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory with many names, many directories, and a deep one: each step is a few system calls."""
    monkeypatch.setattr(pruning, "SLICE_SECONDS", 0.0)
    place = put(running, "5-1", {f"many/{number}": b"" for number in range(2000)})
    put(running, "5-1", {f"dirs/{number}/f": b"" for number in range(200)} | {"/".join("d" * 100): b""})
    calls = 0
    real = os.unlink

    def unlink(*args: object, **named: object) -> None:
        nonlocal calls
        calls += 1
        real(*args, **named)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(os, "unlink", unlink)
    one = pruning_of(running)
    at(one, 0)
    one.turn(SECONDS, Clocks(NOW + SECONDS, NOW + SECONDS))
    held = set(os.listdir("/proc/self/fd"))
    tracemalloc.start()
    assert place.exists()
    while one.is_busy:
        before = calls
        one.turn(SECONDS, Clocks(NOW + SECONDS, NOW + SECONDS))
        assert calls - before <= shelf.REMOVED_AT_ONCE
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()
    assert not place.exists()
    assert set(os.listdir("/proc/self/fd")) <= held


def test_a_small_change_is_applied_while_much_is_removed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "SLICE_SECONDS", 0.0)
    place = put(running, "5-1", {f"many/{number}": b"" for number in range(2000)})
    running.restart(aside=AsideLimits(SECONDS, 1.0))
    running.pass_by(10)
    running.until(lambda: not running.replica._pruning.is_busy, rounds=3000, what="measured")
    running.clock.now += SECONDS
    running.say(running.master.heartbeat(running.clock.time_ns()))
    running.until(lambda: running.replica._pruning.is_busy, what="at work")
    running.turn(2)
    running.say(running.master.batch({b"a": b"2"}))
    running.turn(2)
    assert (running.root / "a").read_bytes() == b"2"
    assert place.exists()
    running.until(lambda: not running.replica._pruning.is_busy, what="done")
    assert not place.exists()


def test_a_large_file_gives_its_room_back_beside_the_loop(running: Running) -> None:
    place = put(running, "5-1", {"large": bytes(shelf.LARGE_BYTES + 1)})
    before = running.target.shelf.free_bytes()
    one = pruning_of(running)
    at(one, 0)
    at(one, SECONDS)
    assert not place.exists()
    deadline = time.monotonic() + 20
    while running.target.shelf.free_bytes() < before + shelf.LARGE_BYTES // 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_cannot_be_removed_stays_and_stops_nothing_else(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, other = put(running, "5-1", {"stuck": b"x"}), put(running, "5-2", {"f": b"x"})
    real = os.unlink

    def unlink(path: object, **named: object) -> None:
        if path == "stuck":
            raise PermissionError(1, "Operation not permitted")
        real(path, **named)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(os, "unlink", unlink)
    one = pruning_of(running)
    at(one, 0)
    at(one, SECONDS)
    assert (stuck.exists(), other.exists()) == (True, False)
    monkeypatch.undo()
    at(one, 2 * SECONDS)
    assert not stuck.exists()


def test_a_foreign_directory_that_shall_go_is_out_of_the_way_at_once_and_then_removed_in_pieces(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch waits for one rename, whatever is in it; no clock is needed, nor does a restart matter."""
    monkeypatch.setattr(pruning, "SLICE_SECONDS", 0.0)
    running.restart(foreign="delete")
    running.say(running.master.batch({b"d": 0o755}))
    running.until((running.root / "d").is_dir, what="made")
    for number in range(500):
        (running.root / f"d/theirs/{number // 250}").mkdir(parents=True, exist_ok=True)
        (running.root / f"d/theirs/{number // 250}/{number}").write_bytes(b"theirs")
    running.say(running.master.batch({b"d": None}))
    running.until(lambda: not (running.root / "d").exists(), what="gone")
    (condemned,) = shelf_of(running).iterdir()
    running.restart(foreign="delete")
    running.until(lambda: not condemned.exists(), rounds=100, what="removed")
    assert not running.state.unmet_paths(1)
    assert list(shelf_of(running).iterdir()) == []


def test_what_goes_aside_by_a_clock_at_the_beginning_of_time_stays(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a battery starts in 1970; what it sets aside is not condemned."""
    monkeypatch.setattr(time, "time", lambda: 0.2)
    (running.root / "new").mkdir()
    (running.root / "new/f").write_bytes(b"theirs")
    running.say(running.master.batch({b"new": b"ours"}))
    running.until((running.root / "new").is_file, what="placed")
    running.restart()
    running.turn(20)
    assert [path.read_bytes() for path in shelf_of(running).rglob("f")] == [b"theirs"]


@pytest.mark.parametrize("foreign", ["aside", "delete"])
def test_what_gives_way_to_something_published_goes_aside_whatever_the_policy(running: Running, foreign: str) -> None:
    """Somebody put a directory where a file was; then the master changes the file."""
    running.restart(foreign=foreign)
    (running.root / "a").unlink()
    (running.root / "a/deep").mkdir(parents=True)
    (running.root / "a/deep/f").write_bytes(b"theirs")
    running.say(running.master.batch({b"a": b"2"}))
    running.until((running.root / "a").is_file, what="placed")
    running.turn(20)
    assert [path.read_bytes() for path in shelf_of(running).rglob("f")] == [b"theirs"]


def test_a_step_without_room_gets_that_of_what_is_condemned(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits in the midst of a round, and need not wait for the next."""
    monkeypatch.setattr(pruning, "SLICE_SECONDS", 0.0)
    condemned = put(running, "0-1", {f"many/{number}": b"" for number in range(500)})
    running.target.shelf.has_condemned = True
    stage, began = running.target.stage, running.clock.now

    def full(*arguments: Any) -> Any:
        if condemned.exists():
            raise NoRoomError("no room")
        return stage(*arguments)

    monkeypatch.setattr(running.target, "stage", full)
    running.say(running.master.batch({b"a": b"2"}))
    running.until(lambda: (running.root / "a").read_bytes() == b"2", what="placed")
    assert running.clock.now - began < NO_ROOM_LIMIT_SECONDS
