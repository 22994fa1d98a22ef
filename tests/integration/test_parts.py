"""One part of a large content, read from a real disk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.digests import content_digest
from common.entries import file_entry
from common.messages import PART_BYTES, AskParts
from producer.look import open_root
from producer.parts import offsets, read_part
from producer.values import Identity, Known

CONTENT = bytes(range(256)) * (2 * PART_BYTES // 256) + b"the end"
PATH = b"d/large"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    (root / "d" / "large").write_bytes(CONTENT)
    return root


@pytest.fixture
def root_fd(tree: Path) -> Iterator[int]:
    descriptor = open_root(str(tree))
    before = len(os.listdir("/proc/self/fd"))
    yield descriptor
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(descriptor)


def known_of(tree: Path) -> Known:
    found = os.lstat(tree / os.fsdecode(PATH))
    entry = file_entry(found.st_mode, found.st_mtime_ns, found.st_size, content_digest(CONTENT))
    return Known(PATH, entry, Identity(found.st_ino, found.st_ctime_ns))


def test_the_parts_are_the_content(tree: Path, root_fd: int) -> None:
    """All parts of a content, put together, are the content; none of them is longer than a part."""
    known = known_of(tree)
    ask = AskParts(PATH, known.entry.digest, 0, 100)
    parts = [read_part(root_fd, known, offset) for offset in offsets(known, ask)]
    assert [len(part or b"") for part in parts] == [PART_BYTES, PART_BYTES, 7]
    assert b"".join(part or b"" for part in parts) == CONTENT


def test_only_what_was_asked_for_and_is_there(tree: Path) -> None:
    """So many parts from there on, none beyond the end, and none of another content."""
    known = known_of(tree)
    assert list(offsets(known, AskParts(PATH, known.entry.digest, PART_BYTES, 1))) == [PART_BYTES]
    assert not list(offsets(known, AskParts(PATH, known.entry.digest, 3 * PART_BYTES, 5)))
    assert not list(offsets(known, AskParts(PATH, bytes(32), 0, 5)))
    assert not list(offsets(None, AskParts(PATH, known.entry.digest, 0, 5)))


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _rewrite(path: Path) -> None:
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the file system may be a coarse one
        path.write_bytes(CONTENT[::-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.write_bytes(CONTENT)


def _link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def _link_above(path: Path) -> None:
    path.parent.rename(path.parent.with_name("other"))
    path.parent.symlink_to("other")


@pytest.mark.parametrize("change", [_append, _rewrite, _replace, _link, _link_above, Path.unlink])
def test_a_file_that_is_another_has_no_parts(tree: Path, root_fd: int, change: Callable[[Path], None]) -> None:
    """What was not hashed is not sent: not after a change with its size and time kept, and never through a link."""
    known = known_of(tree)
    change(tree / "d" / "large")
    assert read_part(root_fd, known, 0) is None
