"""Does: compares two directories as they are on disk, without any state, index or digest of ours: an independent judge.

Compared are kind, content, mode (masked to 0o777; not of symlinks), mtime of files, and link targets; owner and group, and which
symlinks, as the metadata that is given says. No link is followed below the roots; a fifo, a device or a socket is never opened.
`.treecast` and `lost+found` at a root are nobody's.

RACE: a directory that is swapped for a link while it is compared may be read through it. The answer is then about a tree
that was changing, and nothing is written.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from common.names import NOBODYS_AT_ROOT, ROOT, escape, join
from common.patterns import Patterns
from treecast.metadata import AS_BY_DEFAULT, MODE_MASK, Metadata

CHUNK_BYTES = 1 << 20
_HOP_LIMIT_BYTES = 4000
"""A path that one system call takes is at most 4,095 bytes; a tree may hold longer ones below its root."""
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_FILE_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class What(StrEnum):
    """In what a path differs."""

    MISSING = "missing"
    """It is in the source only."""
    EXTRA = "extra"
    """It is in the replica only."""
    KIND = "kind"
    CONTENT = "content"
    TARGET = "link target"
    MODE = "mode"
    MTIME = "mtime"
    OWNER = "owner"
    GROUP = "group"
    NOT_CARRIED = "not carried"
    """It is a symlink of the source that no copy has, and that is a problem. Alone it is no difference."""
    UNREADABLE = "unreadable"
    """It could not be compared."""


class Difference(NamedTuple):
    """One path that differs. `detail`: what is where, for a person. `is_directory`: on the side that has it."""

    path: bytes
    what: tuple[What, ...]
    detail: str
    is_directory: bool = False

    @property
    def differs(self) -> bool:
        """Whether the two sides are not as they should be; otherwise it is only worth telling."""
        return self.what != (What.NOT_CARRIED,)

    def line(self) -> str:
        """One printable line."""
        return f"{escape(self.path)}: {self.detail}"


@dataclass(slots=True)
class Tally:
    """How far a comparison is: paths of either side, and bytes of contents that were compared. Grows while it runs."""

    paths: int = 0
    compared_bytes: int = 0


class _Side(NamedTuple):
    """One directory's names, or why they could not be listed."""

    names: dict[bytes, os.stat_result]
    why: str = ""


def compare_trees(
    source: bytes,
    replica: bytes,
    patterns: Patterns | None = None,
    tally: Tally | None = None,
    metadata: Metadata = AS_BY_DEFAULT,
) -> Iterator[Difference]:
    """Every path that differs, parents before what is below them, once each; what is not carried among them, see `differs`.
    Excluded paths are not looked at.

    Both roots must be directories: OSError otherwise. What cannot be read below them is a difference; a directory that
    cannot be listed has a line of its own for that.
    """
    patterns = patterns if patterns is not None else Patterns()
    tally = tally if tally is not None else Tally()
    with ExitStack() as stack:
        roots = []
        for root in (source, replica):
            roots.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            stack.callback(os.close, roots[-1])
        yield from _Comparison((roots[0], roots[1]), patterns, tally, metadata).differences()


class _Comparison:
    """One run. Directories wait on a stack as (path, is in the source, is in the replica), so depth costs no descriptors."""

    def __init__(self, roots: tuple[int, int], patterns: Patterns, tally: Tally, metadata: Metadata) -> None:
        self._roots = roots
        self._patterns = patterns
        self._tally = tally
        self._metadata = metadata
        self._waiting: list[tuple[bytes, bool, bool]] = [(ROOT, True, True)]

    def differences(self) -> Iterator[Difference]:
        while self._waiting:
            path, *present = self._waiting.pop()
            with ExitStack() as stack:
                descriptors = [-1, -1]
                sides = [_Side({}), _Side({})]
                for side in (0, 1):
                    if present[side]:
                        descriptors[side], sides[side] = self._list(stack, side, path)
                whys = [
                    f"{name}: {side.why}" for name, side in zip(("source", "replica"), sides, strict=True) if side.why
                ]
                if whys:
                    yield Difference(path or b".", (What.UNREADABLE,), f"cannot be listed ({'; '.join(whys)})", True)
                else:
                    yield from self._names(path, descriptors, sides)

    def _list(self, stack: ExitStack, side: int, path: bytes) -> tuple[int, _Side]:
        try:
            descriptor = open_below(self._roots[side], path)
            stack.callback(os.close, descriptor)
            return descriptor, _Side(_names_in(descriptor))
        except OSError as error:
            return -1, _Side({}, error.strerror or str(error))

    def _names(self, directory: bytes, descriptors: list[int], sides: list[_Side]) -> Iterator[Difference]:
        ours, theirs = sides[0].names, sides[1].names
        below = []
        for name in sorted(ours.keys() | theirs.keys()):
            if directory == ROOT and name in NOBODYS_AT_ROOT:
                continue
            path, left, right = join(directory, name), ours.get(name), theirs.get(name)
            goes_down = (path, _is_directory(left), _is_directory(right))
            is_directory = goes_down[1] or goes_down[2]
            if self._patterns and self._patterns.excludes(path, is_directory):
                continue
            why_not = self._why_not(path, name, descriptors[0], left)
            if why_not is not None:
                left = None
            if left is not None or right is not None:
                self._tally.paths += 1
            if is_directory:
                below.append(goes_down)
            found = self._one(path, name, descriptors, left, right, why_not or "")
            if found is not None:
                yield found
        self._waiting.extend(reversed(below))

    def _why_not(self, path: bytes, name: bytes, above: int, left: os.stat_result | None) -> str | None:
        """Why this symlink of the source is none that is carried, "" where that is no problem. None: it is, or is no symlink."""
        if left is None or self._metadata.symlinks == "all" or not stat.S_ISLNK(left.st_mode):
            return None
        try:
            return self._metadata.why_not(path, os.readlink(name, dir_fd=above))
        except OSError:
            return None

    def _one(
        self,
        path: bytes,
        name: bytes,
        descriptors: list[int],
        left: os.stat_result | None,
        right: os.stat_result | None,
        why_not: str,
    ) -> Difference | None:
        """`why_not`: what was left out of the source there is a problem."""
        if right is None:
            if left is None:
                return Difference(path, (What.NOT_CARRIED,), why_not) if why_not else None
            return Difference(path, (What.MISSING,), f"missing {kind_of(left)}", stat.S_ISDIR(left.st_mode))
        if left is None:
            return Difference(path, (What.EXTRA,), f"extra {kind_of(right)}", stat.S_ISDIR(right.st_mode))
        if kind_of(left) != kind_of(right):
            detail = f"{kind_of(left)} in the source, {kind_of(right)} in the replica"
            return Difference(path, (What.KIND,), detail, stat.S_ISDIR(left.st_mode))
        found = [*self._content(name, descriptors, left, right), *_attributes(left, right, self._metadata)]
        if not found:
            return None
        return Difference(
            path, tuple(what for what, _ in found), ", ".join(text for _, text in found), stat.S_ISDIR(left.st_mode)
        )

    def _content(
        self, name: bytes, descriptors: list[int], left: os.stat_result, right: os.stat_result
    ) -> Iterator[tuple[What, str]]:
        try:
            if stat.S_ISLNK(left.st_mode):
                targets = [os.readlink(name, dir_fd=descriptor) for descriptor in descriptors]
                if targets[0] != targets[1]:
                    yield What.TARGET, f"link to {escape(targets[0])}, in the replica to {escape(targets[1])}"
            elif stat.S_ISREG(left.st_mode):
                if left.st_size != right.st_size:
                    yield What.CONTENT, f"content ({left.st_size} bytes, in the replica {right.st_size})"
                elif not self._same_bytes(name, descriptors):
                    yield What.CONTENT, "content"
        except OSError as error:
            yield What.UNREADABLE, f"unreadable ({error.strerror or error})"

    def _same_bytes(self, name: bytes, descriptors: list[int]) -> bool:
        with ExitStack() as stack:
            files = []
            for descriptor in descriptors:
                files.append(os.open(name, _FILE_FLAGS, dir_fd=descriptor))
                stack.callback(os.close, files[-1])
            for one in files:
                if not stat.S_ISREG(os.fstat(one).st_mode):
                    raise OSError(errno.EBUSY, "changed while it was compared")
            while True:
                mine, theirs = (_read(one) for one in files)
                if mine != theirs:
                    return False
                self._tally.compared_bytes += len(mine)
                if len(mine) < CHUNK_BYTES:
                    return True


def _read(descriptor: int) -> bytes:
    """A whole chunk, less only at the end: a short read must not look like a difference."""
    chunk = os.read(descriptor, CHUNK_BYTES)
    while 0 < len(chunk) < CHUNK_BYTES:
        more = os.read(descriptor, CHUNK_BYTES - len(chunk))
        if not more:
            break
        chunk += more
    return chunk


def _is_directory(found: os.stat_result | None) -> bool:
    return found is not None and stat.S_ISDIR(found.st_mode)


def _attributes(left: os.stat_result, right: os.stat_result, metadata: Metadata) -> Iterator[tuple[What, str]]:
    shown = metadata.expected(left.st_mode, left.st_uid, left.st_gid, is_directory=_is_directory(left))
    mode = right.st_mode & MODE_MASK
    if shown.mode != mode and kind_of(left) in ("file", "directory"):
        yield What.MODE, f"mode {shown.mode:04o}, in the replica {mode:04o}"
    if stat.S_ISREG(left.st_mode) and left.st_mtime_ns != right.st_mtime_ns:
        yield What.MTIME, f"mtime {_seconds(left.st_mtime_ns)}, in the replica {_seconds(right.st_mtime_ns)}"
    if shown.uid not in (None, right.st_uid):
        yield What.OWNER, f"user {shown.uid}, in the replica {right.st_uid}"
    if shown.gid not in (None, right.st_gid):
        yield What.GROUP, f"group {shown.gid}, in the replica {right.st_gid}"


def _seconds(nanoseconds: int) -> str:
    whole, rest = divmod(nanoseconds, 10**9)
    return f"{whole}.{rest:09d}"


def kind_of(found: os.stat_result) -> str:
    """The kind of what stands at a path, in a word."""
    names = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}
    return names.get(stat.S_IFMT(found.st_mode), "socket" if stat.S_ISSOCK(found.st_mode) else "device")


def open_below(root: int, path: bytes) -> int:
    """A descriptor of a directory below a root, in hops that a system call takes. The caller closes it. OSError comes through."""
    here, rest = os.dup(root), path
    try:
        while rest:
            cut = len(rest) if len(rest) <= _HOP_LIMIT_BYTES else rest.rindex(b"/", 0, _HOP_LIMIT_BYTES)
            there = os.open(rest[:cut], _DIRECTORY_FLAGS, dir_fd=here)
            os.close(here)
            here, rest = there, rest[cut + 1 :]
    except OSError:
        os.close(here)
        raise
    return here


def _names_in(descriptor: int) -> dict[bytes, os.stat_result]:
    """What a directory holds. Names that vanish while it is listed are left out."""
    found = {}
    with os.scandir(descriptor) as entries:
        for entry in entries:
            try:
                found[os.fsencode(entry.name)] = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
    return found


def count_paths(root: bytes) -> int:
    """How many paths a tree holds, roughly and quickly: for "time left". What cannot be listed counts as nothing."""
    total, waiting = 0, [root]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total
