"""A scrub on a real disk with a real state: what it finds, what it makes of that, and what it must leave alone."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumer.scrubbing import Scrub
from tests.disk import read_tree
from tests.memory_place import memory_place
from tests.running_consumer import Content, Running
from tests.waiting import scaled

TREE: dict[bytes, Content] = {
    b"a": b"one",
    b"a-b": b"two",
    b"d": 0o755,
    b"d/e": 0o750,
    b"d/e/deep": b"deep",
    b"d/same": b"same size",
    b"d/x": b"x",
    b"empty": 0o755,
    b"link": "a",
    b"long": b"much longer than before",
    b"swap": b"a file",
    b"swapped": 0o755,
    b"swapped/in": b"in",
    b"timed": b"timed",
    b"z": b"last",
}


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with memory_place(tmp_path) as place, Running(place, monkeypatch) as running:
        running.say(running.master.batch(TREE))
        running.level()
        running.questions.clear()
        yield running


def scrub_of(running: Running) -> Scrub:
    return running.replica._scrub


def until(running: Running, condition: Callable[[], object], what: str) -> None:
    """Rounds of the loop beside the real thread, until it is true."""
    deadline = time.monotonic() + scaled(20)
    while not condition():
        assert time.monotonic() < deadline, f"not {what}: {running.board.status()}"
        running.turn()
        time.sleep(0.001)


@contextmanager
def scrubbing(running: Running) -> Iterator[Scrub]:
    with scrub_of(running).running():
        yield scrub_of(running)


def at_once(running: Running) -> dict[str, object]:
    """What one whole scrub at full speed came to."""
    with scrubbing(running) as scrub:
        run = scrub.verbs["scrub"]({})["run"]
        until(running, lambda: scrub._last.get("run") == run, "scrubbed")
    return scrub._last


def keep_times(path: Path, act: Callable[[], object]) -> None:
    """Do something to a file that its times do not tell."""
    seen = path.stat()
    act()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def chaos(root: Path) -> Counter[str]:
    """Everything that can happen to a replica's disk; returns how often each kind was done."""
    keep_times(root / "d/same", lambda: (root / "d/same").write_bytes(b"same sizf"))
    (root / "a").write_bytes(b"edited by hand")
    (root / "long").write_bytes(b"much")
    (root / "z").unlink()
    os.utime(root / "timed", ns=(5, 5))
    (root / "a-b").chmod(0o600)
    (root / "empty").chmod(0o700)
    (root / "d/e/deep").unlink()
    (root / "d/e").rmdir()
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")
    (root / "swap").unlink()
    (root / "swap").mkdir()
    (root / "swap/foreign").write_bytes(b"foreign")
    (root / "swapped/in").unlink()
    (root / "swapped").rmdir()
    (root / "swapped").write_bytes(b"a file now")
    (root / "added").mkdir()
    (root / "added/below").write_bytes(b"below")
    os.mkfifo(root / "d/fifo")
    once = ["bit-rot", "edited", "truncated", "mtime", "link-target"]
    return Counter(once + ["missing"] * 4 + ["mode", "kind", "added"] * 2)


def test_one_scrub_later_the_replica_equals_the_master_and_each_kind_is_counted(running: Running) -> None:
    done = chaos(running.root)
    last = at_once(running)
    running.check_equal()
    assert last["findings"] == dict(sorted(done.items()))
    assert (last["repaired"], last["problems"]) == (done.total(), 0)
    for kind, count in done.items():
        assert running.counted("scrub_findings_total", kind) == count
        assert running.counted("scrub_repaired_total", kind) == count
    running.pass_by(10)
    details = running.reports[-1][1].details
    assert details["scrub_found_bit_rot"] == 1
    assert running.is_level


def test_what_was_added_goes_aside_and_only_missing_bodies_travel(running: Running) -> None:
    chaos(running.root)
    at_once(running)
    aside = read_tree(running.root / ".treecast" / "aside")
    names = {path.partition(b"/")[2] for path in aside}
    assert {b"added", b"added/below", b"d/fifo", b"swap/foreign", b"swapped"} <= names
    asked = {path for question in running.questions for path, _ in question.ask.wanted}  # type: ignore[union-attr]
    assert asked == {b"d/same", b"a", b"long", b"z", b"d/e/deep", b"link", b"swap", b"swapped/in"}


def test_a_clean_disk_shows_nothing_and_costs_no_base(running: Running) -> None:
    before = running.state.standing()
    last = at_once(running)
    assert (last["findings"], last["problems"], last["paths"]) == ({}, 0, len(TREE))
    assert running.state.standing() == before
    assert running.state.scrubbed().ended > 0
    assert not running.questions
