"""Hooks: what a replica's program is told, when, and that neither a crash nor a program that hangs or fails loses a path."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from common.errors import NoRoomError
from common.hooks import HookCommand, HookUrl
from consumer import hook_record, hooking
from consumer.hook_calls import Came, Result
from consumer.hook_command import CommandCall
from consumer.hook_record import HookRecord
from consumer.state import State
from consumer.statefile import transaction
from tests.hook_server import Server, serving, url_of
from tests.running_consumer import Running
from tests.waiting import eventually, is_running, scaled

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def call(script: str, listing: bytes = b"", timeout_seconds: float = 30) -> Result:
    """Run a script of the shell as a hook."""
    return CommandCall(("sh", "-c", script), ENVIRONMENT, scaled(timeout_seconds)).run(listing)


# -- one command


def test_a_command_reads_the_paths_byte_for_byte(tmp_path: Path) -> None:
    listing = b"a\0\xff\nb\0" + b"x" * 4095 + b"\0"
    assert call(f"cat > {tmp_path}/told", listing) == Result(Came.OK)
    assert (tmp_path / "told").read_bytes() == listing


@pytest.mark.parametrize(
    "loop", ["xargs -0 -r printf '%s|'", "while IFS= read -r -d '' path; do printf '%s|' \"$path\"; done"]
)
def test_the_ways_to_read_them_that_are_documented_work(loop: str, tmp_path: Path) -> None:
    words = ("bash", "-c", f"{loop} > {tmp_path}/told")
    assert CommandCall(words, ENVIRONMENT, scaled(30)).run(b"-n\0a\n b\0 c\\\0").came is Came.OK
    assert (tmp_path / "told").read_bytes() == b"-n|a\n b| c\\|"


def test_a_command_that_does_not_read_is_none_the_worse() -> None:
    """More than a pipe holds, and nobody takes it."""
    assert call("exit 0", b"x\0" * 1_000_000) == Result(Came.OK)


def test_a_command_may_write_as_much_as_it_likes() -> None:
    """Its output is read while it reads; of a failure the last line is told."""
    done = call("head -c 3000000 /dev/zero; cat > /dev/null; echo; echo oh no >&2; exit 3", b"x\0" * 1_000_000)
    assert done == Result(Came.FAILED, "it ended with 3: oh no")


def test_a_command_that_is_not_there_fails() -> None:
    done = CommandCall(("/nowhere/hook",), ENVIRONMENT, 5).run(b"")
    assert done == Result(Came.FAILED, "/nowhere/hook cannot be started: No such file or directory")


def test_a_command_that_dies_of_a_signal_fails() -> None:
    assert call("kill -9 $$") == Result(Came.FAILED, "it was ended by SIGKILL")


def test_what_a_command_leaves_behind_holds_up_nothing() -> None:
    """A daemon that it starts keeps its pipes open."""
    began = time.monotonic()
    assert call("sleep 30 & exit 0").came is Came.OK
    assert time.monotonic() - began < scaled(10)


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Also what ignores the polite signal."""
    child = tmp_path / "child"
    script = f"(trap '' TERM; echo $BASHPID > {child}; sleep 60 & wait; sleep 60) & wait"
    done = CommandCall(("bash", "-c", script), ENVIRONMENT, scaled(1)).run(b"")
    assert done.came is Came.TIMEOUT
    pid = int(child.read_text())
    eventually(lambda: not is_running(pid), 5, "the grandchild ended")


def test_a_command_is_ended_when_it_is_told_to() -> None:
    one = CommandCall(("sleep", "60"), ENVIRONMENT, 60)
    came: list[Result] = []
    thread = threading.Thread(target=lambda: came.append(one.run(b"")))
    thread.start()
    one.abort()
    thread.join(scaled(10))
    assert came == [Result(Came.STOPPED)]


# -- what waits, in the state


@contextmanager
def record_in(path: Path) -> Iterator[HookRecord]:
    with State.open(path / "state.db", "tree", "one") as state:
        yield state.hook


def take(record: HookRecord, *paths: bytes) -> None:
    """As a commit does it."""
    with transaction(record._database, Path("state")):
        record.take(paths)


def rows_in(path: Path) -> int:
    with closing(sqlite3.connect(path / "state.db")) as database:
        return int(database.execute("SELECT count(*) FROM changed").fetchone()[0])


def test_without_a_hook_nothing_is_written(tmp_path: Path) -> None:
    with record_in(tmp_path) as record:
        record.turn(False)
        take(record, b"a")
        with transaction(record._database, Path("state")):
            record.take_everything()
        assert record.pending() is None
        assert record.since is None
    assert rows_in(tmp_path) == 0


def test_a_new_hook_is_told_of_everything_and_then_of_what_changes(tmp_path: Path) -> None:
    with record_in(tmp_path) as record:
        record.turn(True)
        take(record, b"a")
        first = record.pending()
        assert first is not None
        assert first.raw is None
        take(record, b"b", b"c")
        take(record, b"b")
        record.done(first.number)
        second = record.pending()
        assert second is not None
        assert second.raw == b"b\0c\0b\0"
        record.done(second.number)
        assert record.pending() is None
        assert record.since is None


def test_what_waits_is_there_after_a_restart_and_gone_when_the_hook_is(tmp_path: Path) -> None:
    with record_in(tmp_path) as record:
        record.turn(True)
        record.done(record.pending().number)  # type: ignore[union-attr]
        take(record, b"a")
        since = record.since
    with record_in(tmp_path) as record:
        record.turn(True)
        assert record.since == since
        assert record.pending().raw == b"a\0"  # type: ignore[union-attr]
        record.turn(False)
        assert record.pending() is None
    assert rows_in(tmp_path) == 0


def test_a_transaction_that_did_not_happen_leaves_nothing(tmp_path: Path) -> None:
    with record_in(tmp_path) as record:
        record.turn(True)
        record.done(record.pending().number)  # type: ignore[union-attr]
        with suppress(NoRoomError), transaction(record._database, Path("state")):
            record.take([b"a"])
            raise NoRoomError
        record.recount()
        assert record.since is None
        assert record.pending() is None


def test_paths_that_change_again_and_again_take_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_record, "PATHS_LIMIT", 20)
    with record_in(tmp_path) as record:
        record.turn(True)
        record.done(record.pending().number)  # type: ignore[union-attr]
        for _ in range(100):
            take(record, b"a", b"b", b"c")
        pending = record.pending()
        assert pending is not None
        assert hook_record.collapsed(pending.raw or b"") == b"a\0b\0c\0"
        assert len(pending.raw or b"") <= 2 * 20


@pytest.mark.parametrize("limit", ["PATHS_LIMIT", "BYTES_LIMIT"])
def test_too_many_paths_are_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(hook_record, limit, 20)
    with record_in(tmp_path) as record:
        record.turn(True)
        record.done(record.pending().number)  # type: ignore[union-attr]
        take(record, b"first")
        since = record.since
        for number in range(30):
            take(record, b"path %d" % number)
        assert rows_in(tmp_path) == 1
        assert record.pending().raw is None  # type: ignore[union-attr]
        assert record.since == since


def test_a_run_that_is_told_everything_and_fails_is_told_everything_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever came meanwhile, and however much of it."""
    monkeypatch.setattr(hook_record, "PATHS_LIMIT", 10)
    with record_in(tmp_path) as record:
        record.turn(True)
        assert record.pending().raw is None  # type: ignore[union-attr]
        for _ in range(30):
            take(record, b"a")
        assert record.pending().raw is None  # type: ignore[union-attr]


# -- the whole


class Hook:
    """A command that keeps what it was told, run by run."""

    def __init__(self, place: Path) -> None:
        self.runs = place / "runs"
        self.runs.mkdir()
        script = (
            f"n=$(ls {self.runs} | wc -l); cat > {self.runs}/.new; test ! -e {place}/fail || exit 1; "
            f'echo "$TREECAST_CHANGED $TREECAST_POSITION" > {self.runs}/.facts; '
            f"mkdir {self.runs}/.n; mv {self.runs}/.new {self.runs}/.n/paths; mv {self.runs}/.facts {self.runs}/.n/facts; "
            f"mv {self.runs}/.n {self.runs}/$n"
        )
        self.setting = HookCommand(("sh", "-c", script))
        self._fail = place / "fail"

    def fail(self, is_failing: bool) -> None:
        if is_failing:
            self._fail.touch()
        else:
            self._fail.unlink()

    @property
    def told(self) -> list[tuple[str, list[bytes]]]:
        """Of each run: list or all, and the paths."""
        found = []
        for number in range(len(list(self.runs.glob("[0-9]*")))):
            run = self.runs / str(number)
            found.append(((run / "facts").read_text().split()[0], (run / "paths").read_bytes().split(b"\0")[:-1]))
        return found


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: Hook) -> Iterator[Running]:
    one = Running(tmp_path, monkeypatch)
    one.start(on_applied=hook.setting)
    with one._parts:
        yield one
        one.replica._hooks.close()


def until(running: Running, condition: Callable[[], object], passing_seconds: float = 0) -> None:
    """Rounds of the loop beside a real process; so much time passes between two looks."""

    def look() -> object:
        running.turn()
        running.pass_by(passing_seconds)
        return condition()

    eventually(look, 20, "the hook was told")


def told_all(running: Running) -> bool:
    return running.state.hook.since is None


def copied(running: Running) -> None:
    """The first copy is there, and the hook knows."""
    running.say(running.master.batch({b"d": 0o755, b"d/a": b"one", b"b": b"two"}))
    running.level()
    until(running, lambda: told_all(running))


def test_the_first_copy_is_everything_and_each_change_after_it_a_path(running: Running, hook: Hook) -> None:
    copied(running)
    assert hook.told == [("all", [])]
    running.say(running.master.batch({b"d/a": b"changed", b"b": None, b"new\n\xff": b"x"}))
    running.level()
    until(running, lambda: told_all(running))
    assert hook.told[1:] == [("list", [b"b", b"d/a", b"new\n\xff"])]
    position = running.state.standing().position
    assert (hook.runs / "1" / "facts").read_text() == f"list {position.epoch}.{position.sequence}\n"


def test_nothing_is_told_while_anything_is_stale_or_missing(running: Running, hook: Hook) -> None:
    """A gap: the paths that are applied meanwhile wait until all is level again, and are told with those of the sync."""
    copied(running)
    answers = running.answer
    running.answer = lambda question: []
    running.master.batch({b"lost": b"never came"})
    running.say(running.master.batch({b"d/a": b"live"}))
    running.until(lambda: running.state.standing().stale)
    running.turn(300)
    assert (running.root / "d" / "a").read_bytes() == b"live"
    assert running.state.hook.since is not None
    assert len(hook.told) == 1
    running.answer = answers
    running.pass_by(60)
    running.level()
    until(running, lambda: told_all(running))
    assert hook.told[1:] == [("list", [b"d/a", b"lost"])]


def test_a_repair_of_the_scrub_is_told(running: Running, hook: Hook) -> None:
    copied(running)
    (running.root / "d" / "a").write_bytes(b"edited!")
    (running.root / "added").write_bytes(b"foreign")
    with running.replica._scrub.running():
        running.replica._scrub._order({})
        until(running, lambda: (running.root / "d" / "a").read_bytes() == b"one")
        until(running, lambda: not (running.root / "added").exists())
        until(running, lambda: told_all(running))
    assert sorted(path for _, paths in hook.told[1:] for path in paths) == [b"added", b"d/a"]


def test_a_hook_that_fails_is_told_again_with_what_came_meanwhile(running: Running, hook: Hook) -> None:
    copied(running)
    hook.fail(True)
    running.say(running.master.batch({b"b": b"three"}))
    running.level()
    until(running, lambda: running.counted("hook_runs_total", "failed"))
    running.say(running.master.batch({b"c": b"four"}))
    running.level()
    until(running, lambda: running.counted("hook_runs_total", "failed") >= 3, passing_seconds=5)
    assert "hook" in running.alarms
    assert running.board.status()["hook"]["failures"] >= 3
    assert "hook_pending_seconds" in running.replica._details()
    hook.fail(False)
    until(running, lambda: told_all(running), passing_seconds=30)
    assert hook.told[1:] == [("list", [b"b", b"c"])]
    assert "hook" not in running.alarms


def test_a_hook_that_hangs_holds_up_no_change(running: Running, tmp_path: Path) -> None:
    copied(running)
    running.restart(on_applied=HookCommand(("sh", "-c", f"touch {tmp_path}/began; sleep 60")))
    running.say(running.master.batch({b"b": b"three"}))
    running.level()
    until(running, (tmp_path / "began").exists)
    for number in range(20):
        running.say(running.master.batch({b"c": b"%d" % number}))
    running.level()
    running.replica._hooks.close()
    assert running.state.hook.since is not None


def test_what_was_committed_before_a_crash_is_told_after_it(running: Running, hook: Hook) -> None:
    copied(running)
    with running.patch.context() as crash:
        crash.setattr(hooking.Hooks, "turn", lambda self: None)
        running.say(running.master.batch({b"b": None}))
        running.level()
    running.restart()
    running.level()
    until(running, lambda: told_all(running))
    assert hook.told[1:] == [("list", [b"b"])]


class Died(BaseException):
    """As if the process had been killed here."""


def test_a_crash_between_the_names_and_the_commit_loses_no_path(running: Running, hook: Hook) -> None:
    """The batch comes again and finds the disk as it should be: nothing is left to do, and all the same it is told."""
    copied(running)
    changes = {b"b": None, b"d/a": b"changed", b"new": b"x"}
    batch = running.master.batch(changes)  # type: ignore[arg-type]

    def die(*_: object, **__: object) -> None:
        raise Died

    with running.patch.context() as crash:
        crash.setattr(State, "commit", die)
        running.say(batch)
        with pytest.raises(Died):
            running.turn()
    running.restart()
    running.say(batch)
    running.level()
    until(running, lambda: told_all(running))
    assert set(changes) <= {path for _, paths in hook.told[1:] for path in paths}
    assert not {b"d"} & {path for _, paths in hook.told[1:] for path in paths}


def test_a_run_that_cannot_be_written_down_is_not_told_twice(
    running: Running, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room in the state it waits for room, and no further run begins meanwhile."""
    copied(running)
    real, tries = HookRecord.done, iter([True, True, False])

    def done(self: HookRecord, number: int) -> None:
        if next(tries):
            raise NoRoomError
        real(self, number)

    monkeypatch.setattr(HookRecord, "done", done)
    running.say(running.master.batch({b"b": b"three"}))
    running.level()
    until(running, lambda: told_all(running))
    assert len(hook.told) == 2


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def test_a_url_is_told_the_same(running: Running, server: Server) -> None:
    copied(running)
    running.restart(on_applied=HookUrl(url_of(server)))
    running.say(running.master.batch({b"b": b"three"}))
    running.level()
    until(running, lambda: told_all(running))
    ((_, headers, body),) = server.posted
    assert (headers["Treecast-Changed"], headers["Treecast-Replica"], body) == ("list", "one", b"b\0")
