"""The inotify watch on real files."""

import errno
import fcntl
import logging
import os
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.errors import NoRoomError
from common.patterns import Patterns
from producer.watch import inotify
from producer.watch.choice import NoWatch, choose_watch, file_system_type
from producer.watch.inotify import InotifyWatch
from producer.watch.kernel import Inotify
from producer.watch.port import Hint
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")

BURST = 20_000


class Watched:
    """A tree under watch, and every hint that came."""

    def __init__(self, root: Path, patterns: Patterns) -> None:
        self.root = root
        self.woken = threading.Event()
        self.watch = InotifyWatch(str(root), patterns, self.woken.set)
        self.hints: dict[Hint, None] = {}

    def drain(self) -> dict[Hint, None]:
        self.hints.update(dict.fromkeys(self.watch.drain()))
        return self.hints

    def until(self, *paths: bytes | Hint) -> None:
        """Drain until all of these were hinted at."""
        wanted = {path if isinstance(path, Hint) else Hint(path) for path in paths}
        eventually(lambda: wanted <= self.drain().keys(), what=f"hints {wanted}")

    def quiet(self) -> dict[Hint, None]:
        """Everything that was hinted at up to now: the hint of a last name comes after all others. A link is one event."""
        last = self.root / f"last-{len(self.hints)}"
        last.symlink_to("nowhere")
        self.until(os.fsencode(last.name))
        return self.hints


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tree, with one file in one directory, before it is watched."""
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_text("before")
    return root


@pytest.fixture
def watching(tree: Path) -> Iterator[Callable[..., Watched]]:
    """Starts a watch of the tree."""
    started: list[Watched] = []

    def start(*exclude: str) -> Watched:
        watched = Watched(tree, Patterns(exclude))
        started.append(watched)
        watched.watch.start()
        return watched

    yield start
    for watched in started:
        watched.watch.close()


def _rename_over(root: Path) -> None:
    (root / "d" / "new").write_text("after")
    (root / "d" / "new").rename(root / "d" / "f")


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": lambda root: (root / "d" / "f").write_text("after"),
    "replaced": _rename_over,
    "removed": lambda root: (root / "d" / "f").unlink(),
    "mode": lambda root: (root / "d" / "f").chmod(0o600),
    "time": lambda root: os.utime(root / "d" / "f", (1, 1)),
    "truncated": lambda root: os.truncate(root / "d" / "f", 0),
    "moved-out": lambda root: (root / "d" / "f").rename(root.parent / "f"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_kind_of_change_to_a_file_is_told(tree: Path, watching: Callable[..., Watched], change: str) -> None:
    watched = watching()
    CHANGES[change](tree)
    watched.until(b"d/f")
    assert watched.woken.is_set()


def test_what_is_made_is_told_whatever_it_is(tree: Path, watching: Callable[..., Watched]) -> None:
    watched = watching()
    (tree / "link").symlink_to("nowhere")
    (tree / "hard").hardlink_to(tree / "d" / "f")
    (tree / "empty").mkdir()
    os.mkfifo(tree / "fifo")
    (tree / "d").chmod(0o700)
    watched.until(b"link", b"hard", b"empty", b"fifo", b"d")


def test_a_file_that_is_held_open_and_written_is_told_before_it_is_closed(
    tree: Path, watching: Callable[..., Watched]
) -> None:
    watched = watching()
    with (tree / "d" / "f").open("a") as file:
        file.write("more")
        file.flush()
        watched.until(b"d/f")


def test_names_are_bytes(tree: Path, watching: Callable[..., Watched]) -> None:
    watched = watching()
    base = os.fsencode(tree)
    os.mkdir(base + b"/\xff\xfe")
    with open(base + b"/\xff\xfe/new\nline\x1b", "wb"):
        pass
    watched.until(b"\xff\xfe", b"\xff\xfe/new\nline\x1b")
    with open(base + b"/\xff\xfe/" + b"n" * 255, "wb"):
        pass
    watched.until(b"\xff\xfe/" + b"n" * 255)


def test_hints_come_in_the_order_of_their_first_event_and_once(tree: Path, watching: Callable[..., Watched]) -> None:
    watched = watching()
    for name in ("c", "a", "b", "a", "c"):
        (tree / name).write_text(name)
    watched.quiet()
    order = [hint.path for hint in watched.hints if hint.path in (b"a", b"b", b"c")]
    assert order == [b"c", b"a", b"b"]


def test_our_own_reading_is_no_event(tree: Path, watching: Callable[..., Watched]) -> None:
    watched = watching()
    (tree / "d" / "f").read_bytes()
    list((tree / "d").iterdir())
    watched.quiet()
    assert {hint.path for hint in watched.hints} == {b"last-0"}


def test_everything_in_nested_directories_that_come_while_we_look_is_told(
    tree: Path, watching: Callable[..., Watched]
) -> None:
    """mkdir -p with files in each, and drains in the middle of it."""
    watched = watching()
    made: list[bytes] = []

    def make() -> None:
        for top in range(15):
            path = tree
            for depth in range(6):
                path = path / f"{top}-{depth}"
                path.mkdir()
                (path / "file").touch()
                made.append(os.fsencode(path.relative_to(tree) / "file"))

    maker = threading.Thread(target=make)
    maker.start()
    while maker.is_alive():
        watched.drain()
    watched.quiet()
    assert {hint.path for hint in watched.hints} >= set(made)
    (tree / "14-0/14-1/14-2/14-3/14-4/14-5/late").touch()
    watched.until(b"14-0/14-1/14-2/14-3/14-4/14-5/late")


def test_a_directory_that_moves_within_the_tree_is_watched_at_its_new_place(
    tree: Path, watching: Callable[..., Watched]
) -> None:
    (tree / "d" / "e").mkdir()
    watched = watching()
    (tree / "d").rename(tree / "moved")
    watched.until(Hint(b"d", True), Hint(b"moved", True))
    (tree / "moved" / "e" / "new").touch()
    watched.until(b"moved/e/new")
    assert Hint(b"d/e/new") not in watched.hints


def test_a_directory_that_leaves_the_tree_is_watched_no_more(tree: Path, watching: Callable[..., Watched]) -> None:
    (tree / "d" / "e").mkdir()
    watched = watching()
    (tree / "d").rename(tree.parent / "away")
    watched.until(Hint(b"d", True))
    (tree / "d").mkdir()
    watched.quiet()
    watched.hints.clear()
    (tree.parent / "away" / "e" / "unseen").touch()
    (tree.parent / "away" / "unseen").touch()
    assert {hint.path for hint in watched.quiet()} == {b"last-0"}


def test_a_directory_that_comes_from_outside_is_told_with_all_that_is_in_it(
    tree: Path, watching: Callable[..., Watched]
) -> None:
    (tree.parent / "outside" / "deep").mkdir(parents=True)
    (tree.parent / "outside" / "deep" / "f").touch()
    watched = watching()
    (tree.parent / "outside").rename(tree / "inside")
    watched.until(Hint(b"inside", True), b"inside/deep/f")
    (tree / "inside" / "deep" / "g").touch()
    watched.until(b"inside/deep/g")


def test_made_and_deleted_at_once_is_told_and_does_no_harm(tree: Path, watching: Callable[..., Watched]) -> None:
    watched = watching()
    for number in range(150):
        (tree / "brief").mkdir()
        (tree / "brief" / f"{number}").touch()
        (tree / "brief" / f"{number}").unlink()
        (tree / "brief").rmdir()
    watched.until(b"brief")
    watched.quiet()
    assert watched.watch.is_alive()
    assert watched.watch.uncovered() == {}


def test_what_is_excluded_or_nobodys_is_neither_watched_nor_told(tree: Path, watching: Callable[..., Watched]) -> None:
    for name in ("cache", ".treecast", "lost+found"):
        (tree / name / "deep").mkdir(parents=True)
    watched = watching("cache/", "*.tmp")
    for name in ("cache", ".treecast", "lost+found"):
        (tree / name / "deep" / "f").touch()
    (tree / "a.tmp").touch()
    (tree / "d" / "cache").mkdir()
    (tree / "d" / "cache" / "f").touch()
    (tree / "d" / "lost+found").touch()
    watched.quiet()
    # A file called cache would count, so the name's own coming is told.
    assert {hint.path for hint in watched.hints} - {b"last-0"} == {b"d/lost+found", b"d/cache"}


def test_a_link_to_a_directory_is_told_and_not_entered(tree: Path, watching: Callable[..., Watched]) -> None:
    (tree.parent / "outside").mkdir()
    watched = watching()
    (tree / "link").symlink_to(tree.parent / "outside")
    watched.until(b"link")
    (tree.parent / "outside" / "f").touch()
    watched.quiet()
    assert Hint(b"link/f") not in watched.hints


def test_an_overflow_is_told_as_everything_and_repaired(tree: Path, watching: Callable[..., Watched]) -> None:
    """While nobody reads, more happens than the system keeps; a directory that came in the meantime is watched after all."""
    limit = queue_limit()
    if limit > 100_000:
        pytest.skip(f"the system keeps {limit} events: too many to overflow in a test")
    watched = watching()
    names = [tree / "a", tree / "b"]
    for name in names:
        name.touch()
    watched.quiet()
    # The reader reads once more and then waits for the lock, so the events of this loop pile up in the system.
    with watched.watch._lock:
        for number in range(limit + 3000):
            os.chmod(names[number % 2], 0o600)
        os.makedirs(tree / "unseen" / "deep")
        (tree / "d").rename(tree / "elsewhere")
    watched.until(Hint(b"", True))
    assert watched.watch.overflows() == 1
    (tree / "unseen" / "deep" / "f").touch()
    (tree / "elsewhere" / "g").touch()
    watched.until(b"unseen/deep/f", b"elsewhere/g")
    assert watched.watch.is_alive()


def test_names_that_nobody_fetches_are_bounded(
    tree: Path, watching: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inotify, "PENDING_LIMIT", 50)
    watched = watching()
    (tree / "dir").mkdir()
    for number in range(200):
        (tree / f"{number}").touch()
    eventually(lambda: len(watched.watch._pending) > 1)
    watched.quiet()
    assert Hint(b"", True) in watched.hints
    (tree / "dir" / "f").touch()
    watched.until(b"dir/f")


REPLACE = """if True:
    import os, sys, time
    os.chdir(sys.argv[1])
    count, slice = int(sys.argv[2]), int(sys.argv[3])
    began = time.process_time()
    for first in range(0, count, slice):
        sys.stdin.readline()
        for number in range(first, min(count, first + slice)):
            name = f"{number % 200}/{number}"
            os.link("new", name + ".new")
            os.close(os.open(name + ".new", os.O_WRONLY))
            os.rename(name + ".new", name)
        print(time.process_time() - began, flush=True)
"""
"""What is renamed into place are links to one file, so that the writer is as fast on a slow disk as it would be on a good one."""
EVENTS_OF_ONE = 4
"""Of one replacement: created, closed after writing, moved from, moved to."""


class Burst:
    """20,000 files in 200 directories under watch, and another process that replaces them all, when it is told."""

    def __init__(self, tree: Path, watching: Callable[..., Watched], slice_count: int = BURST) -> None:
        """`slice_count`: how many it replaces for each word."""
        self.names = {b"%d/%d" % (number % 200, number) for number in range(BURST)}
        self._make(tree)
        self.watched = watching()
        command = [sys.executable, "-c", REPLACE, str(tree), str(BURST), str(slice_count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.slices = -(-BURST // slice_count)

    def _make(self, tree: Path) -> None:
        for name in ("old", "new"):
            (tree / name).touch()
        for directory in range(200):
            (tree / str(directory)).mkdir()
        for path in self.names:
            os.link(tree / "old", tree / os.fsdecode(path))

    def go(self) -> float:
        """One slice of it, with drains meanwhile. How long the writer has computed until now, in seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        told = select.poll()
        told.register(self.process.stdout, select.POLLIN)
        while not told.poll(0):
            self.watched.woken.wait(0.05)
            self.watched.woken.clear()
            self.watched.drain()
        return float(self.process.stdout.readline())

    def is_read(self) -> bool:
        """Whether the system keeps no event that was not read."""
        left = fcntl.ioctl(self.watched.watch._inotify.fileno, termios.FIONREAD, bytes(4))
        return bytes(4) == left

    def are_told(self) -> bool:
        """Whether each of them was hinted at by name, once all that came was heard."""
        eventually(self.is_read, what="all is read")
        return self.names <= {hint.path for hint in self.watched.quiet()}


@pytest.fixture
def make_burst(tree: Path, watching: Callable[..., Watched]) -> Iterator[Callable[..., Burst]]:
    with ExitStack() as bursts:

        def make(*slice_count: int) -> Burst:
            burst = Burst(tree, watching, *slice_count)
            bursts.enter_context(burst.process)
            bursts.callback(burst.process.kill)
            return burst

        yield make


def queue_limit() -> int:
    """How many events the system keeps for a reader."""
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


def test_a_burst_that_is_read_before_the_queue_is_full_is_told_by_name(make_burst: Callable[..., Burst]) -> None:
    """Whatever else the machine does: the writer goes on when what it did was read."""
    burst = make_burst(max(1, queue_limit() // EVENTS_OF_ONE // 2))
    for _ in range(burst.slices):
        burst.go()
        eventually(burst.is_read, what="all is read")
    assert burst.are_told()
    assert burst.watched.watch.overflows() == 0


def test_a_burst_of_atomic_replacements_loses_nothing(make_burst: Callable[..., Burst]) -> None:
    """20,000 in 200 directories, as fast as one other process can, with the system's own limits.

    The reader needs less of a core than the writer does, so where both have one the queue never fills. Where it fills because
    others had the cores for longer than it lasts, the whole tree is named instead, to be scanned.
    """
    burst = make_burst()
    began, waited_before = time.monotonic(), seconds_without_core()
    writer_seconds = burst.go()
    seconds, waited_seconds = time.monotonic() - began, seconds_without_core() - waited_before
    are_told, overflows = burst.are_told(), burst.watched.watch.overflows()
    is_scan_asked_for = overflows > 0 and Hint(b"", True) in burst.watched.hints
    assert are_told or is_scan_asked_for
    queue_seconds = writer_seconds * queue_limit() / (BURST * EVENTS_OF_ONE)
    assert not overflows or waited_seconds > queue_seconds / 2
    assert queue_seconds / 4 > inotify.BREATH_MS / 1000
    reader = burst.watched.watch._thread.native_id
    assert reader is not None
    assert scheduled_seconds(reader)[0] < writer_seconds
    print(f"{BURST} replacements at {BURST / seconds:.0f} per second, {overflows} overflows")


def seconds_without_core() -> float:
    """How long the threads of this process were ready to run and did not, together."""
    return sum(scheduled_seconds(int(thread))[1] for thread in os.listdir("/proc/self/task"))


def scheduled_seconds(thread: int) -> tuple[float, float]:
    """How long a thread of this process has run, and how long it was ready to and did not."""
    ran_ns, waited_ns, _ = Path(f"/proc/self/task/{thread}/schedstat").read_text().split()
    return int(ran_ns) / 1e9, int(waited_ns) / 1e9


def test_a_lack_of_watches_is_shown_scanned_and_tried_again(
    tree: Path, watching: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tree / "e").mkdir()
    real, allowed = Inotify.add, [2]

    def add(self: Inotify, directory: int, mask: int) -> int:
        if allowed[0] <= 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        allowed[0] -= 1
        return real(self, directory, mask)

    monkeypatch.setattr(Inotify, "add", add)
    with caplog.at_level(logging.WARNING):
        watched = watching()
    assert len(watched.watch.uncovered()) == 1
    (path,) = watched.watch.uncovered()
    assert path in (b"d", b"e")
    assert "fs.inotify.max_user_watches" in watched.watch.uncovered()[path]
    assert "fs.inotify.max_user_watches" in caplog.text
    (tree / "new" / "deep").mkdir(parents=True)
    watched.until(Hint(b"new", True))
    assert set(watched.watch.uncovered()) == {path, b"new"}
    assert watched.watch.is_alive()

    allowed[0] = 100
    watched.watch._retry_at = 0.0
    watched.until(Hint(path, True))
    assert watched.watch.uncovered() == {}
    (tree / "new" / "deep" / "f").touch()
    watched.until(b"new/deep/f")


@pytest.mark.parametrize("fate", ["deleted", "moved"])
def test_a_root_that_goes_ends_the_watch(tree: Path, watching: Callable[..., Watched], fate: str) -> None:
    watched = watching()
    assert watched.watch.is_alive()
    if fate == "moved":
        tree.rename(tree.parent / "elsewhere")
    else:
        (tree / "d" / "f").unlink()
        (tree / "d").rmdir()
        tree.rmdir()
    eventually(lambda: Hint(b"", True) in watched.drain() or not watched.watch.is_alive())
    watched.until(Hint(b"", True))
    assert not watched.watch.is_alive()
    assert watched.watch.drain() == []


def test_a_root_that_is_missing_at_start_is_uncovered(tmp_path: Path) -> None:
    watch = InotifyWatch(str(tmp_path / "none"), Patterns(), lambda: None)
    watch.start()
    assert not watch.is_alive()
    assert b"" in watch.uncovered()
    watch.close()
    watch.close()


def test_closing_ends_the_thread_and_gives_every_descriptor_back(tree: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    watch = InotifyWatch(str(tree), Patterns(), lambda: None)
    watch.start()
    assert watch.is_alive()
    watch.close()
    assert not watch.is_alive()
    assert descriptors() == before


def test_where_inotify_cannot_be_had_the_tree_is_only_scanned(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NoRoomError("no inotify instance")

    monkeypatch.setattr(inotify, "Inotify", refuse)
    watch = choose_watch(str(tree), Patterns(), lambda: None)
    assert isinstance(watch, NoWatch)
    assert watch.uncovered() == {b"": "no inotify instance"}
    assert not watch.is_alive()


def test_a_file_system_that_others_write_too_is_watched_and_said_to_be_uncovered(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.watch.choice.file_system_type", lambda _: 0x6969)
    watch = choose_watch(str(tree), Patterns(), lambda: None)
    watch.start()
    assert watch.is_alive()
    assert watch.uncovered() == {b"": "on NFS: changes by other hosts are not told"}
    watch.close()


def test_the_file_system_of_proc_is_known_by_its_number() -> None:
    assert file_system_type("/proc") == 0x9FA0
    assert file_system_type("/no/such/path") == 0
