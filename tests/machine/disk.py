"""A file system in memory with two truths: what processes see, and what a power cut would leave. Knows no process and no tree.

The rules are the weakest that a journaling file system gives. A change of names (create, unlink, rename, mkdir, rmdir, link) is
atomic. It is durable once a directory that it touches was synced, together with every earlier change of the same names; of the
others a power cut keeps any subset in which no name skips one of its changes, and in which a directory is gone only after all
that happened in it. Content, mode and time of a file are durable once the file was synced; else a power cut leaves the old or
the new mode, the old or the new time, and a content that is old, new, cut, zeroed, or partly zeroed.
"""

import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import NamedTuple

FILE, DIRECTORY, SYMLINK, FIFO = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO

PAGE_BYTES = 256
"""What is written again becomes durable by whole pages."""
Node = tuple[object, ...]
"""What stands at a path, as a plain tuple: ("d", mode), ("f", mode, mtime_ns, content), ("l", target) or ("o",)."""


class Saved(NamedTuple):
    """What of an inode survives a power cut."""

    mode: int
    mtime_ns: int
    ctime_ns: int
    content: bytes


class Inode:
    """A file, directory, symlink or fifo. `names`: what a directory holds, as seen; `kept`: as a power cut leaves it."""

    __slots__ = (
        "content",
        "ctime_ns",
        "kept",
        "kind",
        "links",
        "lost",
        "mode",
        "mtime_ns",
        "names",
        "number",
        "saved",
    )

    def __init__(self, number: int, kind: int, mode: int, now_ns: int, content: bytes = b"") -> None:
        self.number = number
        self.kind = kind
        self.mode = mode
        self.mtime_ns = self.ctime_ns = now_ns
        self.content = content
        self.names: dict[bytes, Inode] = {}
        self.kept: dict[bytes, Inode] = {}
        self.links = 0
        self.lost: set[int] = set()
        """Pages of its content of which a sync failed: the next one says "done", and they are not."""
        # A symlink's target comes with its name; a file comes empty.
        self.saved = Saved(mode, now_ns, now_ns, content if kind == SYMLINK else b"")

    def save(self) -> None:
        """Content, mode and time are durable."""
        self.saved = Saved(self.mode, self.mtime_ns, self.ctime_ns, self._written())

    def _written(self) -> bytes:
        content = bytearray(self.content)
        for page in self.lost:
            here = slice(page * PAGE_BYTES, min((page + 1) * PAGE_BYTES, len(content)))
            content[here] = self.saved.content[here].ljust(len(content[here]), b"\0")
        return bytes(content)

    def node(self) -> Node:
        """What a plain reader sees of it."""
        if self.kind == DIRECTORY:
            return ("d", self.mode & 0o777)
        if self.kind == FILE:
            return ("f", self.mode & 0o777, self.mtime_ns, self.content)
        return ("l", self.content) if self.kind == SYMLINK else ("o",)


Touch = tuple[Inode, bytes, Inode | None]
"""A name in a directory, and what it leads to from now on."""


def _page(content: bytes, page: int) -> bytes:
    return content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of names, atomic; `removed`: the directory that goes with it, if one does."""

    touches: tuple[Touch, ...]
    removed: Inode | None = None


@dataclass
class Disk:
    """One machine's disk. `step` is called before each change and may raise; `glance` before every call at all."""

    name: bytes
    now_ns: Callable[[], int]
    step: Callable[[str], None] = lambda what: None
    glance: Callable[[], None] = lambda: None
    fault: Callable[[str], None] = lambda what: None
    """Called before each call with its kind; raises OSError where the disk fails."""
    is_root_user: bool = True
    """Whether the processes of this machine are above permissions."""
    umask: int = 0o022
    room: int | None = None
    """How many more bytes and names fit; None: any."""
    pending: list[Change] = field(default_factory=list)
    changes: int = 0
    """Counts changes of any kind: a reader sees whether it must look again."""

    def __post_init__(self) -> None:
        self._numbers = count(2)
        self.root = self.new(DIRECTORY, 0o755)
        self.root.links = 2

    def mend(self) -> None:
        """It fails no more."""
        self.fault = _sound

    # -- changes, as processes make them
    def new(self, kind: int, mode: int, content: bytes = b"") -> Inode:
        """An inode without a name."""
        return Inode(next(self._numbers), kind, mode, self.now_ns(), content)

    def change(self, *touches: Touch, removed: Inode | None = None) -> None:
        """Names lead elsewhere from now on; seen at once, durable when synced."""
        now_ns = self.now_ns()
        for directory, name, inode in touches:
            old = directory.names.pop(name, None)
            if old is not None:
                old.links -= 2 if old.kind == DIRECTORY else 1
                old.ctime_ns = now_ns
            if inode is not None:
                directory.names[name] = inode
                inode.links += 2 if inode.kind == DIRECTORY else 1
                inode.ctime_ns = now_ns
            directory.mtime_ns = directory.ctime_ns = now_ns
        self.pending.append(Change(touches, removed))
        self.changes += 1

    def altered(self, inode: Inode) -> None:
        """Content, mode or time of this one were set."""
        inode.ctime_ns = self.now_ns()
        self.changes += 1

    # -- syncs
    def fail_sync(self, inodes: Iterable[Inode]) -> None:
        """A sync of these failed: what of their content was not durable will never be."""
        for inode in inodes:
            content, saved = inode.content, inode.saved.content
            pages = range(-(-len(content) // PAGE_BYTES))
            inode.lost |= {page for page in pages if _page(content, page) != _page(saved, page)}

    def sync(self, inode: Inode) -> None:
        """fsync of one file or directory."""
        inode.save()
        if inode.kind == DIRECTORY:
            self._keep(lambda change: any(directory is inode for directory, _, _ in change.touches))

    def sync_all(self) -> None:
        """syncfs."""
        for inode in self.inodes():
            inode.save()
        self._keep(lambda change: True)

    def sync_last(self) -> None:
        """The last change, by somebody who shall not be bothered with power cuts, is durable."""
        last = self.pending[-1]
        for _, _, inode in last.touches:
            if inode is not None:
                inode.save()
        self._keep(lambda change: change is last)

    def _keep(self, is_synced: Callable[[Change], bool]) -> None:
        """These changes are durable, and all that come before them at the same names."""
        names: set[tuple[int, bytes]] = set()
        directories: set[int] = set()
        kept, left = [], []
        for change in reversed(self.pending):
            is_needed = any((d.number, n) in names or d.number in directories for d, n, _ in change.touches)
            if is_needed or is_synced(change):
                names.update((d.number, n) for d, n, _ in change.touches)
                if change.removed is not None:
                    directories.add(change.removed.number)
                kept.append(change)
            else:
                left.append(change)
        self.pending = left[::-1]
        for change in reversed(kept):
            _write(change)

    # -- the power cut
    def cut_power(self, rng: Random, keep: float) -> None:
        """What was not synced is lost in one of the allowed ways. `keep`: how likely each change of names is kept."""
        lost: set[tuple[int, bytes]] = set()
        lost_in: set[int] = set()
        for change in self.pending:
            skips = any((d.number, n) in lost for d, n, _ in change.touches)
            skips = skips or (change.removed is not None and change.removed.number in lost_in)
            if not skips and rng.random() < keep:
                _write(change)
                continue
            lost.update((d.number, n) for d, n, _ in change.touches)
            lost_in.update(d.number for d, _, _ in change.touches)
        self.pending = []
        for inode in self.inodes(kept=True):
            inode.names = dict(inode.kept)
            inode.links = 0
            _lose(inode, rng, keep)
        self.root.links = 2
        for inode in self.inodes():
            for below in inode.names.values():
                below.links += 2 if below.kind == DIRECTORY else 1
        self.changes += 1

    # -- copies
    def copy(self, inode: Inode) -> Inode:
        """A copy of it and of all below, for a backup."""
        twin = Inode(next(self._numbers), inode.kind, inode.mode, inode.mtime_ns, inode.content)
        for name, below in inode.names.items():
            twin.names[name] = twin.kept[name] = self.copy(below)
            twin.names[name].links = 2 if below.kind == DIRECTORY else 1
        twin.save()
        return twin

    def put_copy(self, name: bytes, copy: Inode) -> None:
        """A backup is put in the place of what is there, durable."""
        old = self.root.names.get(name)
        twin = self.copy(copy)
        self.change((self.root, name, twin), removed=old)
        self.sync_last()

    # -- looking
    def inodes(self, kept: bool = False) -> Iterator[Inode]:
        """Every inode that a name leads to."""
        seen, waiting = {self.root.number}, [self.root]
        while waiting:
            inode = waiting.pop()
            yield inode
            for below in (inode.kept if kept else inode.names).values():
                if below.number not in seen:
                    seen.add(below.number)
                    waiting.append(below)

    def find(self, *names: bytes) -> Inode | None:
        """What stands there, without following a link."""
        inode: Inode | None = self.root
        for name in names:
            inode = inode.names.get(name) if inode is not None else None
        return inode


def tree_below(top: Inode, but: Iterable[bytes] = ()) -> dict[bytes, Node]:
    """Everything below a directory by its path; `but`: names at the top that are left out."""
    found: dict[bytes, Node] = {}
    waiting = [(name, inode) for name, inode in top.names.items() if name not in but]
    while waiting:
        path, inode = waiting.pop()
        found[path] = inode.node()
        if inode.names:
            waiting += [(path + b"/" + name, below) for name, below in inode.names.items()]
    return found


def _sound(what: str) -> None:
    """Nothing fails."""


def _write(change: Change) -> None:
    for directory, name, inode in change.touches:
        directory.kept.pop(name, None)
        if inode is not None:
            directory.kept[name] = inode


def _lose(inode: Inode, rng: Random, keep: float) -> None:
    """What of the inode itself was not synced."""
    saved = inode.saved
    if rng.random() >= keep:
        inode.mode = saved.mode
    if rng.random() >= keep:
        inode.mtime_ns = saved.mtime_ns
    if (inode.mode, inode.mtime_ns) == saved[:2]:
        inode.ctime_ns = saved.ctime_ns
    if inode.kind == FILE and inode.content != saved.content and (inode.lost or rng.random() >= keep):
        size, cut = len(inode.content), rng.randrange(len(inode.content) + 1)
        ways = [saved.content, inode.content[:cut], bytes(size), inode.content[:cut] + bytes(size - cut)]
        inode.content = rng.choice(ways)
    inode.lost.clear()
    inode.save()
