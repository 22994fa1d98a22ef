"""The walk on a real disk, hostile names and directories included."""

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.entries import Kind, directory_entry, file_entry
from common.names import COMPONENTS_LIMIT
from common.patterns import Patterns
from producer import scan
from producer.scan import Difference, Sort, differences, walk
from producer.values import Identity, Known, Problem, Seen, Unreadable

Walk = Callable[..., list[Seen | Unreadable | Problem]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    (root / "a" / "x").write_text("x")
    (root / "a-b").write_text("ab")
    return root


@pytest.fixture
def walked(tree: Path) -> Iterator[Walk]:
    """Walks the tree; fails when a descriptor stays open."""
    descriptor = os.open(tree, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))

    def run(start: bytes = b"", *exclude: str) -> list[Seen | Unreadable | Problem]:
        return list(walk(descriptor, start, Patterns(exclude)))

    yield run
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(descriptor)


def paths(found: list[Seen | Unreadable | Problem]) -> list[bytes]:
    return [one.path for one in found]


def test_tells_what_lstat_tells_in_path_order(tree: Path, walked: Walk) -> None:
    (tree / "link").symlink_to("/etc")
    os.chmod(tree / "a-b", 0o4755)
    found = walked()
    assert paths(found) == [b"a", b"a-b", b"a/x", b"link"]
    kinds = [one.kind for one in found if isinstance(one, Seen)]
    assert kinds == [Kind.DIRECTORY, Kind.FILE, Kind.FILE, Kind.SYMLINK]
    told = os.lstat(tree / "a-b")
    identity = Identity(told.st_ino, told.st_ctime_ns)
    assert found[1] == Seen(b"a-b", Kind.FILE, 0o755, told.st_mtime_ns, 2, identity)


def test_kinds_that_are_not_carried_are_yielded_without_a_kind(tree: Path, walked: Walk) -> None:
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tree)
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
    uncarried = [one.path for one in walked() if isinstance(one, Seen) and one.kind is None]
    assert uncarried == [b"fifo", b"socket"]


def test_a_start_yields_itself_and_what_is_below(walked: Walk) -> None:
    assert paths(walked(b"a")) == [b"a", b"a/x"]
    assert paths(walked(b"a/x")) == [b"a/x"]
    assert walked(b"none") == []
    assert walked(b"none/deeper") == []
    assert walked(b"a-b/deeper") == []


def test_a_link_is_never_walked_through(tree: Path, walked: Walk) -> None:
    (tree / "link").symlink_to("a")
    assert paths(walked(b"link")) == [b"link"]
    assert walked(b"link/x") == []


def test_what_is_excluded_or_nobodys_is_left_out(tree: Path, walked: Walk) -> None:
    for name in (".treecast", "lost+found", "a/lost+found"):
        (tree / name).mkdir()
    assert paths(walked(b"", "a-*")) == [b"a", b"a/lost+found", b"a/x"]
    assert paths(walked(b"", "a/")) == [b"a-b"]
    assert walked(b"a/x", "a/") == []
    assert walked(b".treecast") == []


def test_names_are_bytes_and_hundreds_of_levels_are_walked(tree: Path, walked: Walk) -> None:
    deep = b"/".join([b"d"] * 300)
    _make_directories(os.fsencode(tree), deep + b"/\xff\n")
    assert deep + b"/\xff\n" in paths(walked())


def test_what_no_tree_may_hold_is_a_problem_and_not_entered(tree: Path, walked: Walk) -> None:
    """4,095 bytes are a path; one more is not."""
    longest = b"/".join([b"n" * 255] * 16)
    assert len(longest) == 4095
    _make_directories(os.fsencode(tree), longest)
    assert longest in paths(walked())
    _make_directories(os.fsencode(tree), longest + b"/too/far")
    found = walked()
    assert [one.path for one in found if isinstance(one, Problem)] == [longest + b"/too"]
    assert longest + b"/too/far" not in paths(found)


def test_too_many_levels_are_a_problem(tree: Path, walked: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "COMPONENTS_LIMIT", 3)
    _make_directories(os.fsencode(tree), b"1/2/3/4/5")
    found = [one.path for one in walked() if isinstance(one, Problem)]
    assert found == [b"1/2/3/4"]
    assert COMPONENTS_LIMIT == 1024


def test_nothing_is_gone_below_a_directory_that_cannot_be_listed(
    tree: Path, walked: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for want of permission nor of descriptors nor of a sound disk."""
    index = [_known(one) for one in walked() if isinstance(one, Seen)]
    for number in (errno.EACCES, errno.EMFILE, errno.EIO):
        with monkeypatch.context() as patch:
            _refuse(patch, "open", b"a", number)
            found = walked()
        assert list(differences(found, index)) == [Difference(b"a", Sort.PROBLEM, os.strerror(number).lower())]


def test_a_directory_that_becomes_a_link_is_not_followed(
    tree: Path, walked: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is swapped between lstat and open."""
    (tree.parent / "outside").mkdir()
    (tree.parent / "outside" / "secret").touch()
    real = os.open

    def swap_and_open(path: bytes, *args: int, dir_fd: int | None = None) -> int:
        if path == b"a" and not (tree / "a").is_symlink():
            (tree / "a").rename(tree.parent / "moved")
            (tree / "a").symlink_to(tree.parent / "outside")
        return real(path, *args, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swap_and_open)
    assert paths(walked()) == [b"a", b"a-b"]


def test_a_name_that_vanishes_meanwhile_is_absent(tree: Path, walked: Walk) -> None:
    descriptor = os.open(tree, os.O_RDONLY)
    found = []
    for one in walk(descriptor, b"", Patterns()):
        found.append(one.path)
        if one.path == b"a":
            (tree / "a-b").unlink()
    os.close(descriptor)
    assert found == [b"a", b"a/x"]


def test_a_root_that_cannot_be_read_is_never_an_empty_tree(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(tree, os.O_RDONLY)
    _refuse(monkeypatch, "open", b".", errno.ENOENT)
    assert list(walk(descriptor, b"", Patterns())) == [Unreadable(b"", "no such file or directory")]
    os.close(descriptor)


def test_a_walk_that_is_given_up_closes_what_it_has_open(tree: Path, walked: Walk) -> None:
    descriptor = os.open(tree, os.O_RDONLY)
    steps = walk(descriptor, b"", Patterns())
    next(steps)
    next(steps)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    os.close(descriptor)
    assert walked()


def _known(seen: Seen) -> Known:
    assert seen.kind is not None
    entry = (
        directory_entry(seen.mode)
        if seen.kind is Kind.DIRECTORY
        else file_entry(seen.mode, seen.mtime_ns, seen.size, b"")
    )
    return Known(seen.path, entry, seen.identity)


def _refuse(patch: pytest.MonkeyPatch, call: str, name: bytes, number: int) -> None:
    """This name, and no other, fails with this error: permissions do not bind root."""
    real = getattr(os, call)

    def refuse(path: bytes, *args: object, **kwargs: object) -> object:
        if path == name:
            raise OSError(number, os.strerror(number))
        return real(path, *args, **kwargs)

    patch.setattr(os, call, refuse)


def _make_directories(base: bytes, path: bytes) -> None:
    """By descriptors: the whole path may be too long for one call."""
    above = os.open(base, os.O_RDONLY)
    for name in path.split(b"/"):
        try:
            os.mkdir(name, dir_fd=above)
        except FileExistsError:
            assert stat.S_ISDIR(os.stat(name, dir_fd=above).st_mode)
        below = os.open(name, os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)
