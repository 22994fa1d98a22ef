"""A scrub on a real disk with a real state: what it finds, what it makes of that, and what it must leave alone."""

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from consumer import rereader, rereading, scrubbing, sweep
from consumer.agreement import distrust_all
from consumer.drifting import Seen, drift_at
from consumer.rereader import Suspicion
from consumer.scrubbing import Scrub
from consumer.values import Drift, Outcome, Plan, Reason, Step
from consumer.walking import Directories
from tests.disk import read_tree
from tests.memory_place import memory_place
from tests.running_consumer import MTIME_NS, Content, Running
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
def reading(running: Running) -> Iterator[Scrub]:
    with scrub_of(running).running():
        yield scrub_of(running)


def at_once(running: Running) -> dict[str, object]:
    """What one whole scrub at full speed came to."""
    with reading(running) as scrub:
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


def test_what_holds_something_protected_stays_and_is_no_finding(running: Running) -> None:
    """Of an added directory goes what may go; the rest would be found for ever."""
    running.restart(protect=("*.mine",))
    (running.root / "added").mkdir()
    (running.root / "added/a.mine").write_bytes(b"mine")
    (running.root / "added/other").write_bytes(b"other")
    (running.root / "d/b.mine").write_bytes(b"mine")
    assert at_once(running)["problems"] == 0
    assert sorted(path.name for path in (running.root / "added").iterdir()) == ["a.mine"]
    assert (running.root / "d/b.mine").exists()
    assert found(running) == {}


def test_a_large_content_that_rotted_is_fetched_again(running: Running) -> None:
    """Its neighbours of the same digest are no help where they rotted too."""
    big = bytes(range(256)) * 8192
    running.say(running.master.batch({b"big": big, b"twin": big}))
    until(running, lambda: running.is_level, "level")
    for name in ("big", "twin"):
        keep_times(running.root / name, lambda name=name: (running.root / name).write_bytes(big[:-1] + b"!"))  # type: ignore[misc]
    last = at_once(running)
    assert (last["findings"], last["problems"]) == ({"bit-rot": 2}, 0)
    running.check_equal()


def test_a_clean_disk_shows_nothing_and_costs_no_base(running: Running) -> None:
    before = running.state.standing()
    last = at_once(running)
    assert (last["findings"], last["problems"], last["paths"]) == ({}, 0, len(TREE))
    assert running.state.standing() == before
    assert running.state.scrub.read().ended > 0
    assert not running.questions


# -------------------------------------------------------------------------------------- between the look and the act


def look_at(running: Running, path: bytes) -> Suspicion:
    """What the rereader would say of this path now."""
    row = running.state.rows([path]).get(path)
    with closing(Directories(running.target.root, may_loosen=False)) as directories:
        return Suspicion(path, rereading.look(directories, path, row.entry if row is not None else None))


def act(running: Running, *suspicions: Suspicion) -> None:
    """The thread that applies takes these, some time after the look."""
    for suspicion in suspicions:
        scrub_of(running)._rereader.items.put(suspicion)
    running.turn()


def found(running: Running) -> dict[str, int]:
    figures = running.board.figures()
    return {label: int(count) for (name, label), count in figures.items() if name == "scrub_findings_total"}


@pytest.mark.parametrize(
    ("drifts", "batch"),
    [
        (lambda root: (root / "a").write_bytes(b"edited"), {b"a": b"newer"}),
        (lambda root: (root / "a").unlink(), {b"a": None}),
        (lambda root: (root / "new").write_bytes(b"foreign"), {b"new": b"published"}),
        (lambda root: (root / "empty").chmod(0o700), {b"empty": 0o711}),
        (lambda root: (root / "a").unlink(), {b"a": "link"}),
    ],
    ids=["edited then published anew", "removed then deleted", "added then published", "mode", "kind"],
)
def test_a_batch_between_look_and_act_is_what_counts(
    running: Running, drifts: Callable[[Path], object], batch: dict[bytes, Content]
) -> None:
    """What was suspected is no more true, or never was of what is there now: nothing is found, and the batch stands."""
    path = next(iter(batch))
    drifts(running.root)
    suspicion = look_at(running, path)
    assert read_tree(running.root) != running.master.as_read()
    running.say(running.master.batch(batch))
    running.until(lambda: running.is_level)
    act(running, suspicion)
    running.check_equal()
    assert found(running) == {}
    assert running.is_level


def test_what_drifted_is_judged_by_the_index_of_the_act_and_by_the_disk_of_the_act(running: Running) -> None:
    """Put back by a person, edited further, turned into something else: what counts is what stands there at last."""
    (running.root / "a").write_bytes(b"edited")
    (running.root / "z").write_bytes(b"edited")
    suspicions = [look_at(running, b"a"), look_at(running, b"z")]
    (running.root / "a").write_bytes(b"one")
    os.utime(running.root / "a", ns=(MTIME_NS, MTIME_NS))
    (running.root / "z").unlink()
    act(running, *suspicions)
    assert found(running) == {"missing": 1}
    running.level()


def test_a_bucket_that_became_stale_meanwhile_is_left_alone(running: Running) -> None:
    """A gap between look and act: what the index has may be old, and is not placed over what is there."""
    (running.root / "a").write_bytes(b"edited")
    suspicion = look_at(running, b"a")
    running.master.batch({b"a": b"lost on its way"})
    running.say(running.master.batch({b"b": b"after the gap"}))
    running.answer = lambda question: ()
    running.until(lambda: running.state.standing().stale, what="stale")
    act(running, suspicion)
    assert found(running) == {}
    assert not running.state.unmet([b"a"])
    running.answer = None
    running.clock.now += 5
    running.level()


def test_what_is_unmet_is_left_alone(running: Running) -> None:
    """It is known already: a problem is tried again by itself, and a body is asked for once."""
    (running.root / "a").write_bytes(b"edited")
    suspicion = look_at(running, b"a")
    running.answer = lambda question: ()
    act(running, suspicion, suspicion)
    act(running, suspicion)
    assert found(running) == {"edited": 1}
    assert running.state.unmet([b"a"])[b"a"].reason is Reason.BODY


def test_nothing_is_done_while_a_plan_is_left(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    (running.root / "a").write_bytes(b"edited")
    suspicion = look_at(running, b"a")
    monkeypatch.setattr(type(running.target), "has_left_plan", property(lambda self: True))
    act(running, suspicion)
    assert found(running) == {}


def test_a_large_file_is_not_read_by_the_thread_that_applies(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream must not wait for it: the one that was read must be there still, unchanged; else the next scrub tells."""
    monkeypatch.setattr(scrubbing, "OWN_HANDS_LIMIT_BYTES", 4)
    file = running.root / "long"
    keep_times(file, lambda: file.write_bytes(b"MUCH longer than before"))
    suspicion = look_at(running, b"long")
    assert suspicion.seen.entry is not None
    touched = [look_at(running, b"long")]
    os.utime(file, ns=(5, MTIME_NS))
    act(running, *touched)
    assert found(running) == {}
    assert scrub_of(running)._rereader._again.get_nowait() == b"long"
    again = look_at(running, b"long")

    def chunks(descriptor: int) -> Iterator[bytes]:
        raise AssertionError("read by the thread that applies")

    monkeypatch.setattr(rereading, "chunks", chunks)
    act(running, again)
    assert found(running) == {"bit-rot": 1}


# ------------------------------------------------------------------------------------------------ what cannot be read


def refuse(path: bytes, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading this name fails."""
    real = os.open

    def opened(name: object, *args: object, **kwargs: object) -> int:
        if name == path:
            raise OSError(number, os.strerror(number))
        return real(name, *args, **kwargs)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_an_error_of_the_disk_is_a_problem_that_deletes_nothing_and_ends_when_it_is_over(
    running: Running, number: int
) -> None:
    before = read_tree(running.root)
    with pytest.MonkeyPatch.context() as patch:
        refuse(b"same", number, patch)
        last = at_once(running)
    assert (last["findings"], last["repaired"], last["problems"]) == ({"unreadable": 1}, 0, 1)
    assert running.board.problem_paths() == [b"d/same"]
    assert read_tree(running.root) == before
    assert running.state.scrub.read().ended == 0
    assert at_once(running)["problems"] == 0
    assert running.board.problem_paths() == []
    assert running.state.scrub.read().ended > 0


def test_a_directory_that_cannot_be_listed_hides_nothing_and_loses_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Directories.listed

    def listed(self: Directories, path: bytes) -> int:
        if path == b"d":
            raise OSError(errno.EIO, "bad")
        return real(self, path)

    (running.root / "z").unlink()
    monkeypatch.setattr(Directories, "listed", listed)
    last = at_once(running)
    assert last["findings"] == {"missing": 1, "unreadable": 1}
    assert running.board.problem_paths() == [b"d"]
    running.check_equal()


def test_a_file_whose_published_mode_forbids_reading_is_no_problem(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner may not read it, and root may: it is judged by what can be seen."""
    with closing(Directories(running.target.root, may_loosen=False)) as directories:
        (running.root / "a").chmod(0o200)
        refuse(b"a", errno.EACCES, monkeypatch)
        wanted = running.state.rows([b"a"])[b"a"].entry
        assert drift_at(wanted, rereading.look(directories, b"a", wanted)) is Drift.MODE
        secret = wanted._replace(mode=0o200)
        assert drift_at(secret, rereading.look(directories, b"a", secret)) is None
        os.utime(running.root / "a", ns=(0, 1))
        assert drift_at(secret, rereading.look(directories, b"a", secret)) is Drift.EDITED


# ---------------------------------------------------------------------------------------------------- passes and orders


def make_stale(running: Running, path: bytes) -> None:
    """A gap: nothing is known, and no answer comes; then all but this path's bucket is level again."""
    running.master.batch({b"lost": b"on its way"})
    running.say(running.master.batch({b"b": b"after the gap"}))
    running.answer = lambda question: ()
    running.until(lambda: running.state.standing().stale, what="stale")
    bucket = running.state.bucket_of(path)
    keep = {bucket: running.state.standing().stale[bucket]}
    running.state.commit(Step(replace(running.state.standing(), stale=keep)), Plan(), Outcome())


def test_a_stale_bucket_is_looked_at_once_it_is_level(running: Running) -> None:
    """`treecast scrub` means the whole tree: it waits for what it cannot judge yet."""
    (running.root / "a").write_bytes(b"edited")
    make_stale(running, b"a")
    with reading(running) as scrub:
        run = scrub.verbs["scrub"]({})["run"]
        until(running, lambda: scrub._rereader.progress.state == "waiting", "waiting")
        running.answer = None
        running.clock.now += 5
        until(running, lambda: scrub._last.get("run") == run, "scrubbed")
    assert scrub._last["findings"]["edited"] == 1
    running.level()


def test_what_a_pass_left_for_later_is_looked_at_also_when_another_epoch_has_other_buckets(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of its buckets are worth nothing then."""
    (running.root / "a").write_bytes(b"edited")
    make_stale(running, b"a")
    with reading(running) as scrub:
        run = scrub.verbs["scrub"]({})["run"]
        until(running, lambda: scrub._rereader.progress.state == "waiting", "waiting")
        running.master.rekey(9, monkeypatch)
        running.answer = None
        running.say(running.master.heartbeat())
        until(running, lambda: scrub._last.get("run") == run, "scrubbed")
    assert scrub._last["findings"]["edited"] == 1
    running.level()


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_was_suspected_in_a_bucket_that_became_stale_is_looked_at_once_it_is_level(
    running: Running, is_restarted: bool
) -> None:
    (running.root / "a").write_bytes(b"edited")
    with reading(running) as scrub:
        run = scrub.verbs["scrub"]({})["run"]
        deadline = time.monotonic() + scaled(20)
        while scrub._rereader.items.qsize() < 2:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        running.master.batch({b"lost": b"on its way"})
        step = distrust_all(running.state.standing(), running.master.sequence - 1)
        running.state.commit(step, Plan(), Outcome())
        running.answer = lambda question: ()
        until(running, lambda: not scrub.has_news, "checked")
        assert not scrub._last
    if is_restarted:
        running.restart()
    running.answer = None
    running.clock.now += 60
    with reading(running) as scrub:
        running.say(running.master.heartbeat())
        until(running, lambda: scrub._last.get("run") == run, "scrubbed")
    assert scrub._last["findings"] == {"edited": 1}
    running.level()


def test_a_paced_pass_goes_on_where_it_stood_behind_a_restart(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereader, "BREATH_PATHS", 1)
    running.restart(scrub_interval_seconds=1000.0)
    with reading(running) as scrub:
        until(running, lambda: scrub._record.under_way is not None and scrub._record.under_way.after, "begun")
    here = running.state.scrub.read().under_way
    assert here is not None
    assert here.after < b"z"
    running.restart(scrub_interval_seconds=2.0)
    read: list[bytes] = []
    real = rereading.look

    def look(directories: Directories, path: bytes, *args: object) -> Seen:
        read.append(path)
        return real(directories, path, *args)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(sweep, "look", look)
    with reading(running) as scrub:
        until(running, lambda: running.state.scrub.read().ended, "ended")
    assert read[0] > here.after
    assert read[: len(TREE)] == sorted(path for path in TREE if path > here.after)


def test_an_order_that_comes_while_one_is_carried_out_joins_it(running: Running) -> None:
    running.answer = lambda question: ()
    (running.root / "a").unlink()
    with reading(running) as scrub:
        first = scrub.verbs["scrub"]({})["run"]
        until(running, lambda: scrub._over is not None, "read")
        assert scrub.verbs["scrub"]({})["run"] == first
        assert scrub._last == {}
        running.answer = None
        running.clock.now += 5
        until(running, lambda: scrub._last.get("run") == first, "over")


def test_a_finding_whose_body_never_comes_is_a_problem_that_remains(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "GIVEN_UP_SECONDS", 0.2)
    running.answer = lambda question: ()
    (running.root / "a").unlink()
    last = at_once(running)
    assert (last["findings"], last["problems"]) == ({"missing": 1}, 1)


def test_names_that_no_tree_may_hold_go_aside(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = running.root
    monkeypatch.setattr("common.names.COMPONENTS_LIMIT", 3)
    deep = deep / "d/e/one/two"
    deep.mkdir(parents=True)
    running.say(running.master.batch({b"d/e/one": 0o755}))
    running.until(lambda: running.is_level)
    last = at_once(running)
    assert last["findings"] == {"added": 1}
    assert last["problems"] == 0
    assert not deep.exists()


def test_a_walk_comes_in_byte_order_from_any_point(tmp_path: Path) -> None:
    """As the index does: else what is there would look missing."""
    for name in ("a", "a-b", "b/c/d", "b/c.d", "b/c", "b-", "b0", "c/x"):
        path = tmp_path / name
        (path if name in {"b/c"} else path.parent).mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_bytes(b"")
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        with closing(Directories(root)) as directories:
            every = [found for found in rereading.Walk(directories, b"", None) if isinstance(found, bytes)]
            assert every == sorted(read_tree(tmp_path))
            for after in [*every, b"b/c/a", b"zz", b"A"]:
                assert list(rereading.Walk(directories, after, None)) == [path for path in every if path > after]
    finally:
        os.close(root)
