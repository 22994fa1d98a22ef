"""What `treecast verify` sees: every way in which two directories can differ, and nothing else."""

import os
import socket
from pathlib import Path

import pytest

from common.patterns import Patterns
from treecast.comparing import CHUNK_BYTES, Tally, What, compare_trees, count_paths
from treecast.metadata import AS_BY_DEFAULT, Metadata

STAMP_NS = 1_700_000_000_123_456_789


def make(root: Path) -> Path:
    """A tree with files, directories (an empty one too) and links; the same each time."""
    (root / "sub/empty").mkdir(parents=True)
    for name, content in (("a", b"alpha"), ("sub/b", b"beta"), ("sub/big", b"x" * (CHUNK_BYTES + 7))):
        (root / name).write_bytes(content)
        os.utime(root / name, ns=(0, STAMP_NS))
    (root / "link").symlink_to("nowhere")
    (root / "dirlink").symlink_to("/etc")
    return root


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return make(tmp_path / "source"), make(tmp_path / "replica")


def differences(
    pair: tuple[Path, Path], *patterns: str, metadata: Metadata = AS_BY_DEFAULT
) -> dict[bytes, tuple[What, ...]]:
    found = list(compare_trees(os.fsencode(pair[0]), os.fsencode(pair[1]), Patterns(patterns), metadata=metadata))
    assert len({one.path for one in found}) == len(found), "a path is listed once"
    assert all("\n" not in one.line() for one in found)
    return {one.path: one.what for one in found}


def test_equal_trees_are_equal(pair: tuple[Path, Path]) -> None:
    tally = Tally()
    assert list(compare_trees(os.fsencode(pair[0]), os.fsencode(pair[1]), None, tally)) == []
    assert tally == Tally(paths=7, compared_bytes=5 + 4 + CHUNK_BYTES + 7)
    assert count_paths(os.fsencode(pair[0])) == 7


def test_content_is_read_to_the_last_byte(pair: tuple[Path, Path]) -> None:
    """Same size, same time: only reading finds it, beyond the first chunk too."""
    (pair[1] / "a").write_bytes(b"alphA")
    with (pair[1] / "sub/big").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"y")
    for name in ("a", "sub/big"):
        os.utime(pair[1] / name, ns=(0, STAMP_NS))
    assert differences(pair) == {b"a": (What.CONTENT,), b"sub/big": (What.CONTENT,)}


def test_mode_and_time_are_compared(pair: tuple[Path, Path]) -> None:
    """Modes of files and directories, times of files to the nanosecond; times of directories are nobody's business."""
    (pair[1] / "a").chmod(0o600)
    (pair[1] / "sub").chmod(0o700)
    os.utime(pair[1] / "sub/b", ns=(0, STAMP_NS + 1))
    os.utime(pair[1] / "sub", ns=(0, 5))
    assert differences(pair) == {b"a": (What.MODE,), b"sub": (What.MODE,), b"sub/b": (What.MTIME,)}


def test_modes_that_are_told_are_held_against_the_replica_alone(pair: tuple[Path, Path]) -> None:
    """Whatever the source has."""
    told = Metadata(dir_mode=0o711, file_mode=0o600)
    (pair[1] / "sub").chmod(0o711)
    (pair[1] / "a").chmod(0o600)
    modes = dict.fromkeys((b"sub/b", b"sub/big", b"sub/empty"), (What.MODE,))
    assert differences(pair, metadata=told) == modes
    assert differences(pair) == {b"a": (What.MODE,), b"sub": (What.MODE,)}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_owners_are_compared_of_every_kind_where_that_is_asked_for(pair: tuple[Path, Path]) -> None:
    """A group that is told is held against the replica alone."""
    for name, uid, gid in (("a", 12, 0), ("sub", 0, 34), ("link", 12, 34)):
        os.chown(pair[1] / name, uid, gid, follow_symlinks=False)
    assert differences(pair) == {}
    user, group = (What.OWNER,), (What.GROUP,)
    assert differences(pair, metadata=Metadata(owner="name")) == {b"a": user, b"sub": group, b"link": user + group}
    others = dict.fromkeys((b"a", b"dirlink", b"sub/b", b"sub/big", b"sub/empty"), group)
    assert differences(pair, metadata=Metadata(group=34)) == others


def test_a_link_that_is_not_carried_is_none_of_the_source(pair: tuple[Path, Path]) -> None:
    """A copy that has it has too much; one that has not is equal, and it is told of where that is a problem."""
    assert differences(pair, metadata=Metadata(symlinks="safe")) == {b"dirlink": (What.EXTRA,)}
    assert differences(pair, metadata=Metadata(symlinks="skip")) == dict.fromkeys((b"dirlink", b"link"), (What.EXTRA,))
    (pair[1] / "dirlink").unlink()
    tally = Tally()
    roots = os.fsencode(pair[0]), os.fsencode(pair[1])
    (found,) = compare_trees(*roots, None, tally, Metadata(symlinks="safe"))
    assert (found.path, found.what, found.differs) == (b"dirlink", (What.NOT_CARRIED,), False)
    assert "leads out of the tree" in found.detail
    assert tally.paths == 6
    (pair[1] / "link").unlink()
    assert differences(pair, metadata=Metadata(symlinks="skip")) == {}


def test_a_path_with_several_differences_is_one_line(pair: tuple[Path, Path]) -> None:
    (pair[1] / "a").write_bytes(b"other size")
    (pair[1] / "a").chmod(0o600)
    assert differences(pair) == {b"a": (What.CONTENT, What.MODE, What.MTIME)}


def test_links_are_compared_by_target_and_never_followed(pair: tuple[Path, Path]) -> None:
    (pair[1] / "link").unlink()
    (pair[1] / "link").symlink_to("elsewhere")
    os.utime(pair[1] / "dirlink", ns=(0, 1), follow_symlinks=False)
    assert differences(pair) == {b"link": (What.TARGET,)}


def test_what_is_missing_or_extra_is_listed_path_by_path(pair: tuple[Path, Path]) -> None:
    """With everything below it."""
    (pair[0] / "only/deep").mkdir(parents=True)
    (pair[0] / "only/deep/file").touch()
    (pair[1] / "more").touch()
    assert differences(pair) == {
        b"more": (What.EXTRA,),
        b"only": (What.MISSING,),
        b"only/deep": (What.MISSING,),
        b"only/deep/file": (What.MISSING,),
    }


def test_another_kind_is_a_difference_and_so_is_what_is_below(pair: tuple[Path, Path]) -> None:
    (pair[1] / "a").unlink()
    (pair[1] / "a").mkdir()
    (pair[1] / "a/below").touch()
    assert differences(pair) == {b"a": (What.KIND,), b"a/below": (What.EXTRA,)}


def test_what_is_no_file_is_compared_by_kind_and_never_opened(pair: tuple[Path, Path]) -> None:
    for root in pair:
        os.mkfifo(root / "pipe")
    os.mkfifo(pair[0] / "mixed")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(pair[1] / "mixed"))
    assert differences(pair) == {b"mixed": (What.KIND,)}


def test_what_is_nobodys_at_the_root_is_left_out_there_only(pair: tuple[Path, Path]) -> None:
    for name in (".treecast", "lost+found"):
        (pair[1] / name / "x").mkdir(parents=True)
        (pair[1] / "sub" / name).mkdir()
    assert differences(pair) == {b"sub/.treecast": (What.EXTRA,), b"sub/lost+found": (What.EXTRA,)}


def test_excluded_paths_are_left_out_on_both_sides(pair: tuple[Path, Path]) -> None:
    (pair[0] / "x.tmp").touch()
    (pair[1] / "sub/y.tmp").touch()
    (pair[1] / "cache/deep").mkdir(parents=True)
    assert differences(pair, "*.tmp", "/cache/") == {}


def test_odd_names_are_compared_like_any_other(pair: tuple[Path, Path]) -> None:
    names = (b"\xff\xfe", b"new\nline", b"-rf", b"%s", b"x" * 255)
    for name in names:
        with open(os.fsencode(pair[0]) + b"/" + name, "wb"):
            pass
    assert differences(pair) == dict.fromkeys(names, (What.MISSING,))


def test_paths_over_4095_bytes_are_reached(pair: tuple[Path, Path]) -> None:
    """A tree may hold paths that no system call takes in one piece."""
    for number, root in enumerate(pair):
        here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        for _ in range(20):
            os.mkdir("d" * 250, dir_fd=here)
            below = os.open("d" * 250, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        os.mkdir(f"leaf{number}", dir_fd=here)
        os.close(here)
    deep = b"/".join([b"d" * 250] * 20)
    assert differences(pair) == {deep + b"/leaf0": (What.MISSING,), deep + b"/leaf1": (What.EXTRA,)}


def test_what_cannot_be_read_is_a_difference(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a directory; the rest is compared nevertheless."""
    really_open = os.open

    def refuse(path: object, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if path in (b"b", "b", b"other"):
            raise PermissionError(13, "Permission denied")
        return really_open(path, flags, *rest, dir_fd=dir_fd)  # type: ignore[arg-type]

    for root in pair:
        (root / "other").mkdir()
    (pair[1] / "a").chmod(0o600)
    monkeypatch.setattr("os.open", refuse)
    assert differences(pair) == {
        b"a": (What.MODE,),
        b"other": (What.UNREADABLE,),
        b"sub/b": (What.UNREADABLE,),
    }
