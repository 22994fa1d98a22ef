"""The stable look on a real disk, and what a hostile master does meanwhile."""

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.digests import content_digest
from common.entries import Entry, Kind, file_entry, symlink_entry
from common.errors import NoRoomError, RootGoneError
from producer import look as look_module
from producer.freshness import fresh_ns
from producer.guard import RootIdentity
from producer.look import Looker, check_root, look, open_root, read_body, root_state
from producer.values import Absent, Busy, Identity, Known, Looked, Present, Problem

LIMIT_BYTES = 1000
SECOND_NS = 1_000_000_000
Look = Callable[..., Looked]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_bytes(b"content")
    (root / "d" / "f").chmod(0o640)
    os.utime(root / "d" / "f", ns=(1, 1_600_000_000_123_456_789))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_bytes(b"secret")
    return root


@pytest.fixture
def root_fd(tree: Path) -> Iterator[int]:
    descriptor = open_root(str(tree))
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def looked(root_fd: int) -> Iterator[Look]:
    """One look; fails when a descriptor stays open."""
    before = len(os.listdir("/proc/self/fd"))

    def run(path: bytes, known: Known | None = None, **wishes: Any) -> Looked:
        return look(root_fd, path, known, limit_bytes=LIMIT_BYTES, **wishes)

    yield run
    assert len(os.listdir("/proc/self/fd")) == before


def known_of(found: Looked) -> Known:
    assert isinstance(found, Present)
    return Known(found.path, found.entry, found.identity)


def on(patch: pytest.MonkeyPatch, call: str, name: bytes, act: Callable[[], object]) -> None:
    """Just before the first such call for this name, something else happens to the tree."""
    real = getattr(os, call)
    done: list[bool] = []

    def first_act(path: object, *args: object, **kwargs: object) -> object:
        if path == name and not done:
            done.append(True)
            act()
        return real(path, *args, **kwargs)

    patch.setattr(os, call, first_act)


def refuse(patch: pytest.MonkeyPatch, call: str, name: bytes, number: int) -> None:
    """This call fails for this name: permissions do not bind root."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    on(patch, call, name, fail)


def test_a_file_is_told_with_its_content(tree: Path, looked: Look) -> None:
    found = looked(b"d/f")
    told = os.lstat(tree / "d" / "f")
    entry = file_entry(0o640, 1_600_000_000_123_456_789, 7, content_digest(b"content"))
    assert isinstance(found, Present)
    assert found._replace(fresh_seconds=0) == Present(
        b"d/f", entry, b"content", Identity(told.st_ino, told.st_ctime_ns)
    )


def test_a_directory_and_a_link_are_told_as_they_are(tree: Path, looked: Look) -> None:
    (tree / "d").chmod(0o2750)
    (tree / "link").symlink_to("/nowhere/\udcff")
    found = looked(b"d")
    assert isinstance(found, Present)
    assert (found.entry, found.body) == (Entry(Kind.DIRECTORY, 0o750, 0, 0, b""), None)
    target = b"/nowhere/\xff"
    link = looked(b"link")
    assert isinstance(link, Present)
    assert (link.entry, link.body) == (symlink_entry(len(target), content_digest(target)), target)
    assert looked(b"link", known_of(link)) == link._replace(body=None)


def test_an_empty_file_has_an_empty_body(tree: Path, looked: Look) -> None:
    (tree / "empty").touch()
    found = looked(b"empty")
    assert isinstance(found, Present)
    assert found.body == b""


@pytest.mark.parametrize("path", [b"none", b"d/none", b"none/deeper", b"d/f/below", b"link/f"])
def test_what_is_not_there_is_absent(tree: Path, looked: Look, path: bytes) -> None:
    """Also what could only be reached through a file or a link."""
    (tree / "link").symlink_to("d")
    assert looked(path) == Absent(path)


@pytest.mark.parametrize(
    "path", [b"", b"/etc/passwd", b"../outside/f", b"d/../d/f", b"d//f", b".treecast/x", b"n" * 256]
)
def test_a_path_that_no_tree_may_hold_is_a_problem(looked: Look, path: bytes) -> None:
    assert isinstance(looked(path), Problem)


def test_what_is_known_is_not_read_again(looked: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    known = known_of(looked(b"d/f"))
    refuse(monkeypatch, "open", b"f", errno.EIO)
    assert looked(b"d/f", known) == Present(b"d/f", known.entry, None, known.identity)
    assert isinstance(looked(b"d/f", known, force=True), Problem)


def test_a_change_of_mode_or_time_alone_carries_no_body(tree: Path, looked: Look) -> None:
    known = known_of(looked(b"d/f"))
    (tree / "d" / "f").chmod(0o600)
    os.utime(tree / "d" / "f", ns=(1, 42))
    found = looked(b"d/f", known)
    assert isinstance(found, Present)
    assert found.body is None
    assert found.entry == known.entry._replace(mode=0o600, mtime_ns=42)


def test_same_size_and_time_but_another_inode_is_read(tree: Path, looked: Look) -> None:
    known = known_of(looked(b"d/f"))
    (tree / "d" / "new").write_bytes(b"CONTENT")
    os.utime(tree / "d" / "new", ns=(1, known.entry.mtime_ns))
    (tree / "d" / "new").rename(tree / "d" / "f")
    found = looked(b"d/f", known)
    assert isinstance(found, Present)
    assert found.body == b"CONTENT"


def test_force_finds_what_the_times_hide(tree: Path, looked: Look) -> None:
    """The same size, and times that the index believes."""
    (tree / "d" / "f").write_bytes(b"CONTENT")
    told = os.lstat(tree / "d" / "f")
    entry = file_entry(0o640, told.st_mtime_ns, 7, content_digest(b"content"))
    known = Known(b"d/f", entry, Identity(told.st_ino, told.st_ctime_ns))
    assert looked(b"d/f", known) == Present(b"d/f", entry, None, known.identity)
    found = looked(b"d/f", known, force=True)
    assert isinstance(found, Present)
    assert found.body == b"CONTENT"


def test_too_large_is_a_problem_that_names_size_and_limit(tree: Path, looked: Look) -> None:
    (tree / "large").write_bytes(b"x" * (LIMIT_BYTES + 1))
    found = looked(b"large")
    assert isinstance(found, Problem)
    assert "1,001" in found.why
    assert "1,000" in found.why
    (tree / "large").write_bytes(b"x" * LIMIT_BYTES)
    assert isinstance(looked(b"large"), Present)


def test_a_fifo_or_a_socket_is_a_problem_and_never_opened(
    tree: Path, looked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tree / "fifo")
    with monkeypatch.context() as patch, socket.socket(socket.AF_UNIX) as server:
        patch.chdir(tree)
        server.bind("socket")
    refuse(monkeypatch, "open", b"fifo", errno.EIO)
    assert looked(b"fifo") == Problem(b"fifo", "a fifo is not carried")
    assert looked(b"socket") == Problem(b"socket", "a socket is not carried")


def test_a_file_that_becomes_a_fifo_before_it_is_opened_does_not_block(
    tree: Path, looked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap() -> None:
        (tree / "d" / "f").unlink()
        os.mkfifo(tree / "d" / "f")

    on(monkeypatch, "open", b"f", swap)
    assert isinstance(looked(b"d/f"), Busy)
    assert isinstance(looked(b"d/f"), Problem)


def test_a_file_that_becomes_a_link_before_it_is_opened_is_not_followed(
    tree: Path, looked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap() -> None:
        (tree / "d" / "f").unlink()
        (tree / "d" / "f").symlink_to(tree.parent / "outside" / "f")

    on(monkeypatch, "open", b"f", swap)
    assert isinstance(looked(b"d/f"), Busy)
    found = looked(b"d/f")
    assert isinstance(found, Present)
    assert found.entry.kind is Kind.SYMLINK


@pytest.mark.parametrize("when", ["open", "stat", "read"])
def test_a_directory_that_becomes_a_link_to_outside_never_ships_what_is_there(
    tree: Path, root_fd: int, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """In the middle of a pass that holds the directory open: before its file is looked at, opened, or read."""

    def swap() -> None:
        if not (tree / "d").is_symlink():
            (tree / "d").rename(tree / "moved")
            (tree / "d").symlink_to(tree.parent / "outside")

    (tree / "d" / "other").touch()
    with Looker(root_fd, limit_bytes=LIMIT_BYTES) as looker:
        looker.look(b"d/other", None)
        if when == "read":
            real = os.read

            def swap_and_read(file: int, size: int) -> bytes:
                swap()
                return real(file, size)

            monkeypatch.setattr(os, "read", swap_and_read)
        else:
            on(monkeypatch, when, b"f", swap)
        assert looker.look(b"d/f", None) == Absent(b"d/f")
        assert looker.read_body(b"d/f", file_entry(0o640, 0, 6, content_digest(b"secret"))) is None


def test_a_directory_that_was_moved_is_not_read_at_its_old_name(tree: Path, root_fd: int) -> None:
    """Though the pass still has it open; and what took its place is read instead."""
    with Looker(root_fd, limit_bytes=LIMIT_BYTES) as looker:
        assert isinstance(looker.look(b"d/f", None), Present)
        (tree / "d").rename(tree / "moved")
        assert looker.look(b"d/f", None) == Absent(b"d/f")
        (tree / "d").mkdir()
        (tree / "d" / "f").write_bytes(b"another")
        found = looker.look(b"d/f", None)
        assert isinstance(found, Present)
        assert found.body == b"another"
        (tree / "d").rename(tree / "moved-too")
        (tree / "moved").rename(tree / "d")
        assert looker.read_body(b"d/f", file_entry(0, 0, 7, content_digest(b"another"))) is None
        assert looker.read_body(b"d/f", file_entry(0, 0, 7, content_digest(b"content"))) == b"content"


@pytest.mark.parametrize("content", [b"other!!", b"longer than it was", b""])
def test_a_file_that_changes_while_it_is_read_is_busy(
    tree: Path, looked: Look, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """Also when it is truncated; afterwards it is told as it is then."""
    real = os.read

    def read_and_change(file: int, size: int) -> bytes:
        found = real(file, size)
        (tree / "d" / "f").write_bytes(content)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read_and_change)
        assert isinstance(looked(b"d/f"), Busy)
    found = looked(b"d/f")
    assert isinstance(found, Present)
    assert found.body == content


def test_a_file_that_is_replaced_while_it_is_read_is_busy(
    tree: Path, looked: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "d" / "new").write_bytes(b"CONTENT")
    real = os.read

    def read_and_replace(file: int, size: int) -> bytes:
        found = real(file, size)
        (tree / "d" / "new").rename(tree / "d" / "f")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read_and_replace)
        assert isinstance(looked(b"d/f"), Busy)


def test_only_states_that_a_file_really_had_are_told(tree: Path, root_fd: int) -> None:
    """While a writer rewrites it in place, each content whole in one write or emptied first."""
    contents = {b"", b"content"} | {bytes([letter]) * 900 for letter in b"abcdefgh"}
    stop = threading.Event()

    def write() -> None:
        file = os.open(tree / "d" / "f", os.O_WRONLY)
        while not stop.is_set():
            for content in sorted(contents):
                os.ftruncate(file, 0)
                os.pwrite(file, content, 0)
        os.close(file)

    writer = threading.Thread(target=write)
    writer.start()
    told = []
    try:
        deadline = time.monotonic() + 0.7
        while time.monotonic() < deadline:
            found = look(root_fd, b"d/f", None, limit_bytes=LIMIT_BYTES)
            if isinstance(found, Present):
                told.append(found.body)
    finally:
        stop.set()
        writer.join()
    assert set(told) <= contents


@pytest.mark.parametrize(("call", "name"), [("open", b"d"), ("stat", b"f"), ("open", b"f")])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_what_cannot_be_read_is_a_problem_and_never_absent(
    looked: Look, monkeypatch: pytest.MonkeyPatch, call: str, name: bytes, number: int
) -> None:
    refuse(monkeypatch, call, name, number)
    assert looked(b"d/f") == Problem(b"d/f", os.strerror(number).lower())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_lack_of_descriptors_is_to_be_waited_for(looked: Look, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    refuse(monkeypatch, "open", b"f", number)
    with pytest.raises(NoRoomError):
        looked(b"d/f")


def test_a_young_file_that_only_a_scan_saw_is_waited_for(tree: Path, looked: Look) -> None:
    """By mtime and by ctime; a time in the future is not young; what is known waits for nothing."""
    ctime_ns = os.lstat(tree / "d" / "f").st_ctime_ns
    found = looked(b"d/f", settle_seconds=2.0, now_ns=ctime_ns + SECOND_NS // 2)
    assert found == Busy(b"d/f", 1.5)
    assert isinstance(looked(b"d/f", settle_seconds=2.0, now_ns=ctime_ns + 2 * SECOND_NS), Present)
    future_ns = ctime_ns + 100 * SECOND_NS
    os.utime(tree / "d" / "f", ns=(future_ns, future_ns))
    ctime_ns = os.lstat(tree / "d" / "f").st_ctime_ns
    assert isinstance(looked(b"d/f", settle_seconds=2.0, now_ns=ctime_ns + 3 * SECOND_NS), Present)
    assert looked(b"d/f", settle_seconds=2.0, now_ns=future_ns + SECOND_NS) == Busy(b"d/f", 1.0)
    known = known_of(looked(b"d/f"))
    assert isinstance(looked(b"d/f", known, settle_seconds=2.0, now_ns=ctime_ns), Present)
    assert isinstance(looked(b"d", settle_seconds=2.0), Present)


def test_a_content_that_may_still_change_in_the_same_tick_is_fresh(tree: Path, looked: Look) -> None:
    (tree / "d" / "f").write_bytes(b"now")
    ctime_ns = os.lstat(tree / "d" / "f").st_ctime_ns

    def fresh(later_ns: int) -> float:
        found = looked(b"d/f", now_ns=ctime_ns + later_ns)
        assert isinstance(found, Present)
        return found.fresh_seconds

    assert fresh(5_000_000) == pytest.approx(0.015)
    assert fresh(20_000_000) == 0
    assert fresh(-SECOND_NS) == pytest.approx(1.02)
    assert fresh(-3600 * SECOND_NS) == 0


def test_where_times_are_whole_seconds_a_content_is_fresh_for_two() -> None:
    assert fresh_ns(4 * SECOND_NS, 5 * SECOND_NS, 5 * SECOND_NS + SECOND_NS // 2) == 3 * SECOND_NS // 2


@pytest.mark.parametrize("fate", ["deleted", "replaced", "missing"])
def test_nothing_is_absent_because_the_root_is(tree: Path, fate: str) -> None:
    """A look that finds nothing asks whether the root is still there, and a pass does not begin without it."""
    root_fd = open_root(str(tree))
    try:
        with Looker(root_fd, limit_bytes=LIMIT_BYTES, root_path=str(tree)) as looker:
            assert looker.look(b"none", None) == Absent(b"none")
            tree.rename(tree.parent / "elsewhere")
            if fate == "replaced":
                tree.mkdir()
            if fate == "deleted":
                (tree.parent / "elsewhere" / "d" / "f").unlink()
                (tree.parent / "elsewhere" / "d").rmdir()
                (tree.parent / "elsewhere").rmdir()
            with pytest.raises(RootGoneError):
                looker.look(b"none", None)
        with pytest.raises(RootGoneError), Looker(root_fd, limit_bytes=1, root_path=str(tree)):
            pass
        if fate == "deleted":
            with pytest.raises(RootGoneError):
                check_root(root_fd, None)
    finally:
        os.close(root_fd)


def test_the_root_may_be_given_by_a_link(tree: Path) -> None:
    (tree.parent / "link").symlink_to(tree)
    root_fd = open_root(str(tree.parent / "link"))
    check_root(root_fd, str(tree.parent / "link"))
    assert isinstance(look(root_fd, b"d/f", None, limit_bytes=LIMIT_BYTES), Present)
    os.close(root_fd)


def test_the_guard_is_told_what_the_root_looks_like(tree: Path, tmp_path: Path) -> None:
    told = os.stat(tree)
    identity = RootIdentity(told.st_dev, told.st_ino)
    assert root_state(str(tree)).identity == identity
    assert not root_state(str(tree)).is_empty
    (tree / "d" / "f").unlink()
    (tree / "d").rmdir()
    (tree / "lost+found").mkdir()
    assert root_state(str(tree)).is_empty
    assert root_state(str(tmp_path / "none")).identity is None
    assert root_state(str(tmp_path / "outside" / "f")).why == "not a directory"


def test_a_body_is_given_only_if_it_is_the_wanted_one(tree: Path, root_fd: int) -> None:
    entry = file_entry(0o640, 0, 7, content_digest(b"content"))
    assert read_body(root_fd, b"d/f", entry) == b"content"
    assert read_body(root_fd, b"d/f", entry._replace(digest=content_digest(b"CONTENT"))) is None
    assert read_body(root_fd, b"d/f", entry._replace(size=6)) is None
    assert read_body(root_fd, b"d/none", entry) is None
    assert read_body(root_fd, b"../outside/f", entry) is None
    os.mkfifo(tree / "fifo")
    assert read_body(root_fd, b"fifo", entry._replace(size=0, digest=content_digest(b""))) is None
    (tree / "link").symlink_to("d/f")
    assert read_body(root_fd, b"link", entry) is None
    assert read_body(root_fd, b"link", symlink_entry(3, content_digest(b"d/f"))) == b"d/f"


def test_a_pass_over_many_directories_holds_few_descriptors(
    tree: Path, root_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_module, "HELD_DIRECTORIES", 5)
    for number in range(30):
        (tree / f"{number}" / "deep").mkdir(parents=True)
        (tree / f"{number}" / "deep" / "f").touch()
    before = len(os.listdir("/proc/self/fd"))
    with Looker(root_fd, limit_bytes=LIMIT_BYTES) as looker:
        for number in range(30):
            assert isinstance(looker.look(b"%d/deep/f" % number, None), Present)
            assert len(os.listdir("/proc/self/fd")) <= before + 8
    assert len(os.listdir("/proc/self/fd")) == before


AS_NOBODY = """if True:
    import os, sys
    from producer.look import look, open_root
    from producer.scan import walk
    from common.patterns import Patterns
    root_fd = open_root(sys.argv[1])
    os.setegid(65534)
    os.seteuid(65534)
    for path in (b"closed/f", b"closed/none", b"secret"):
        print(look(root_fd, path, None, limit_bytes=9).why)
    print([type(found).__name__ for found in walk(root_fd, b"closed", Patterns())])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_user_without_permission_sees_problems_and_no_deletions(tree: Path) -> None:
    """With the system's own permission checks, in a process of its own."""
    (tree / "closed").mkdir(mode=0o700)
    (tree / "closed" / "f").write_bytes(b"x")
    (tree / "secret").touch(mode=0o600)
    here = Path(__file__).parents[2]
    told = subprocess.run([sys.executable, "-c", AS_NOBODY, str(tree)], cwd=here, stdout=subprocess.PIPE, check=True)
    assert told.stdout.decode().splitlines() == ["permission denied"] * 3 + ["['Seen', 'Unreadable']"]
