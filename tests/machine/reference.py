"""The plain truth: the master's tree as a dict, and what was published of it, position by position. None of the product's code.

Batches are read by docs/wire.md. Trees are dicts from path to a node: ("d", mode), ("f", mode, mtime_ns, content), ("l", target).
"""

import json
import sys
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple

from tests.machine.disk import DIRECTORY, FILE, SYMLINK, Disk, Inode, Node, tree_below
from tests.machine.rules import Rules, excludes, rules_in

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Tree = dict[bytes, Node]
Place = tuple[int, int]
"""A position: (epoch, sequence)."""


class Spot(NamedTuple):
    """A position, and who published it: two producers may draw the same epoch in one second."""

    epoch: int
    sequence: int
    instance: bytes


NOWHERE = Spot(0, 0, b"")

_HEADER = Struct(">4sHB64sQ16sQI32s32s32s32sBBII32sQ64s16sQQII32sQqQ")
_FRAME_OFFSET = 445 + 32 + 8 + 64
BATCH, HEARTBEAT, PART, COMMAND = 1, 2, 9, 10
INLINE_BYTES = 2048
"""A larger content travels in parts; outside of the machine it is 512 times as much."""
PATTERNS = b".treecast"
"""The reserved path at which the patterns are published: in the index, on no disk."""


class LawBroken(Exception):
    """A law of the design does not hold."""


def check(holds: object, what: str) -> None:
    """Raise LawBroken unless it holds."""
    if not holds:
        raise LawBroken(what)


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether it lies in the directory, however deep."""
    return path.startswith(directory + b"/")


def parents(path: bytes) -> list[bytes]:
    """The directories above, the nearest last."""
    names = path.split(b"/")
    return [b"/".join(names[:depth]) for depth in range(1, len(names))]


@lru_cache(4096)
def digest_of(content: bytes) -> bytes:
    """What names a content."""
    return blake2b(content, digest_size=32).digest()


class Row(NamedTuple):
    """One event as it is written on the wire; kind 0: absent."""

    path: bytes
    kind: int
    mode: int
    mtime_ns: int
    size: int
    digest: bytes
    body: bytes | None
    keep: bool


class Read(NamedTuple):
    """A message as far as it matters here."""

    kind: int
    epoch: int
    instance: bytes
    first: int
    rows: tuple[Row, ...]


def read(message: bytes) -> Read:
    """By docs/wire.md. Rows of batches only."""
    fields = _HEADER.unpack_from(message)
    kind, epoch, instance, first, count = fields[2], *fields[4:8]
    if kind != BATCH:
        return Read(kind, epoch, instance, first, ())
    document, sections = _frame(message)
    return Read(kind, epoch, instance, first, tuple(_rows(document, sections, count)))


def _frame(message: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    raw = zstd.decompress(message[_FRAME_OFFSET:])
    length = int.from_bytes(raw[:4], "big")
    document = json.loads(raw[4 : 4 + length])
    sections, at = {}, 4 + length
    for name, size in document["sections"]:
        sections[name], at = raw[at : at + size], at + size
    return document, sections


def _rows(document: dict[str, Any], sections: dict[str, bytes], count: int) -> list[Row]:
    paths, digests, bodies = _Cut(sections["paths"]), _Cut(sections["digests"]), _Cut(sections["bodies"])
    rows = []
    for n in range(count):
        kind, size = document["kinds"][n], document["bodies"][n]
        path = paths.take(document["paths"][n])
        digest = digests.take(32 if kind in (1, 3) else 0)
        body = bodies.take(size) if size >= 0 else None
        mode, mtime_ns = document["modes"][n], document["mtimes"][n]
        rows.append(Row(path, kind, mode, mtime_ns, document["sizes"][n], digest, body, n in document.get("keep", ())))
    return rows


class _Cut:
    """Takes bytes off the front."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, length: int) -> bytes:
        self._at += length
        return self._data[self._at - length : self._at]


@dataclass
class Hand:
    """Somebody who edits a tree on a disk, without regard for anybody. What it does is durable at once, or when it is synced."""

    disk: Disk
    top: Inode
    is_durable: bool = True

    def find(self, path: bytes) -> Inode | None:
        """What stands there."""
        inode: Inode | None = self.top
        for name in path.split(b"/"):
            inode = inode.names.get(name) if inode is not None else None
        return inode

    def above(self, path: bytes) -> Inode | None:
        """The directory that it lies in, if that is one."""
        directory = path.rpartition(b"/")[0]
        inode = self.find(directory) if directory else self.top
        return inode if inode is not None and inode.kind == DIRECTORY else None

    def put(self, path: bytes, kind: int, mode: int, content: bytes = b"") -> None:
        """A new thing at a name, in the place of what is there, as a rename does it."""
        above = self.above(path)
        if above is None:
            return
        self.remove(path)
        inode = self.disk.new(kind, mode, content)
        self._link(above, path, inode)

    def write(self, path: bytes, content: bytes) -> None:
        """Into the file that is there."""
        inode = self.find(path)
        if inode is not None and inode.kind == FILE:
            inode.content = content
            inode.mtime_ns = self.disk.now_ns()
            self._altered(inode)

    def set(self, path: bytes, *, mode: int | None = None, mtime_ns: int | None = None) -> None:
        """Mode or time of what is there; nothing of a symlink."""
        inode = self.find(path)
        if inode is not None and inode.kind != SYMLINK:
            inode.mode = mode if mode is not None else inode.mode
            inode.mtime_ns = mtime_ns if mtime_ns is not None else inode.mtime_ns
            self._altered(inode)

    def rot(self, path: bytes) -> None:
        """One byte is another, and nothing tells."""
        inode = self.find(path)
        if inode is not None and inode.kind == FILE and inode.content:
            inode.content = bytes([inode.content[0] ^ 1]) + inode.content[1:]
            inode.save()
            self.disk.changes += 1

    def remove(self, path: bytes) -> None:
        """With all that is in it."""
        above, inode = self.above(path), self.find(path)
        if above is None or inode is None:
            return
        for name in list(inode.names):
            self.remove(path + b"/" + name)
        removed = inode if inode.kind == DIRECTORY else None
        self.disk.change((above, path.rpartition(b"/")[2], None), removed=removed)
        self._sync()

    def rename(self, path: bytes, to: bytes) -> None:
        """With all that is in it; what stands at the other name goes."""
        above, inode = self.above(path), self.find(path)
        if above is None or inode is None or path == to or is_below(to, path) or is_below(path, to):
            return
        to_above = self.above(to)
        if to_above is None:
            return
        self.remove(to)
        self.disk.change((above, path.rpartition(b"/")[2], None), (to_above, to.rpartition(b"/")[2], inode))
        self._sync()

    def _link(self, above: Inode, path: bytes, inode: Inode) -> None:
        self.disk.change((above, path.rpartition(b"/")[2], inode))
        self._sync()

    def _altered(self, inode: Inode) -> None:
        self.disk.altered(inode)
        if self.is_durable:
            inode.save()

    def _sync(self) -> None:
        if self.is_durable:
            self.disk.sync_last()


@dataclass
class Master:
    """The master's tree: a dict, and every state that any of its paths ever had."""

    disk: Disk
    top: Inode
    tree: Tree = field(default_factory=dict)
    states: dict[bytes, set[Node]] = field(default_factory=dict)
    contents: dict[bytes, bytes] = field(default_factory=dict)
    looks: int = 0
    """The time here: how often it was looked at."""
    since: dict[bytes, int] = field(default_factory=dict)
    """From when on each path is there, without a gap."""
    same_since: dict[bytes, int] = field(default_factory=dict)
    """From when on each path is what it is now."""

    def look(self) -> None:
        """It may have changed: the dict is what a plain reader sees now."""
        before, self.tree = self.tree, tree_below(self.top, but=(b".treecast", b"lost+found"))
        self.looks += 1
        self.since = {path: self.since[path] if path in before else self.looks for path in self.tree}
        same = self.same_since
        self.same_since = {p: same[p] if before.get(p) == node else self.looks for p, node in self.tree.items()}
        for path, node in self.tree.items():
            states = self.states.setdefault(path, set())
            if node not in states:
                states.add(node)
                content = node[-1]
                if isinstance(content, bytes):
                    self.contents[digest_of(content)] = content


@dataclass
class Published:
    """What was published: T_k for every boundary k."""

    master: Master
    tree: Tree = field(default_factory=dict)
    """As after the last batch that was heard."""
    history: dict[Spot, Tree] = field(default_factory=dict)
    messages: dict[Spot, bytes] = field(default_factory=dict)
    epochs: set[tuple[int, bytes]] = field(default_factory=set)
    """What was announced, each with the instance that drew it."""
    rules: dict[Spot, Rules] = field(default_factory=dict)
    """The patterns of each boundary."""
    told: dict[bytes, list[tuple[Spot, int]]] = field(default_factory=dict)
    """Where each path was published as one that is there, and when, in the time of `Master.looks`."""
    released: dict[int, int] = field(default_factory=dict)
    """Up to where each epoch ever stated that deletes are released."""

    def begin_epoch(self, told: Read, tree: Tree, rules: Rules = ()) -> None:
        """An epoch is announced, from this tree: what was published before, or a base that nobody was told."""
        latest = self.history[max(self.history)] if self.history else {}
        self.epochs.add((told.epoch, told.instance))
        spot = Spot(told.epoch, told.first - 1, told.instance)
        self.tree = self.history[spot] = tree
        self.rules[spot] = rules
        for path, node in tree.items():
            if latest.get(path) != node:
                self._tell(path, spot)

    def _tell(self, path: bytes, spot: Spot) -> None:
        insort(self.told.setdefault(path, []), (spot, self.master.looks))

    def told_by(self, path: bytes, spot: Spot) -> int:
        """When what stands there as of this position was published, in the time of `Master.looks`."""
        told = self.told.get(path, [])
        place = bisect_right(told, spot, key=lambda one: one[0])
        return told[place - 1][1] if place else 0

    def left_by_rules(self, path: bytes, node: Node, was: Spot, now: Spot) -> bool:
        """Whether the path was this until it was excluded, and is excluded since."""
        if self.history.get(was, {}).get(path) != node:
            return False
        is_directory, is_out = node[0] == "d", False
        for spot in sorted(spot for spot in self.history if was < spot <= now):
            is_excluded = excludes(self.rules[spot], path, is_directory)
            here = self.history[spot].get(path)
            if (is_out and not is_excluded) or (here is None and not is_excluded) or here not in (None, node):
                return False
            is_out = is_out or here is None
        return is_out

    def _check_gone(self, path: bytes, spot: Spot) -> None:
        """Law 8 for deletes: since it was published, there was a moment without it."""
        since, node = self.master.since.get(path), self.master.tree.get(path)
        if node is not None and excludes(self.rules[spot], path, node[0] == "d"):
            return
        was_there = since is not None and since <= self.told_by(path, spot)
        check(not was_there, f"{path!r} was there all the time, and a delete of it was published")

    def note_released(self, message: bytes) -> None:
        """What a message says of it, whoever it is for."""
        fields = _HEADER.unpack_from(message)
        epoch, released = fields[4], fields[-1]
        self.released[epoch] = max(released, self.released.get(epoch, 0))

    def hear_answer(self, message: bytes) -> None:
        """The producer answers one replica. A part is one of the content that it names (law 8)."""
        fields = _HEADER.unpack_from(message)
        if fields[2] == PART:
            offset, digest = fields[21], fields[24]
            content, part = self.master.contents.get(digest), _frame(message)[1]["bodies"]
            is_of_it = content is not None and content[offset : offset + len(part)] == part
            check(is_of_it, f"law 8: a part at {offset} of {digest.hex()} is of another content")

    def hear(self, message: bytes) -> None:
        """The producer hands a message over."""
        batch = read(message)
        if batch.kind != BATCH:
            return
        before = Spot(batch.epoch, batch.first - 1, batch.instance)
        last = before._replace(sequence=before.sequence + len(batch.rows))
        check(self.messages.setdefault(last, message) == message, f"a pair means two things: {last}")
        if last in self.history:
            return
        check(before in self.history, f"batch {last} follows nothing that was published")
        self.tree, self.rules[last] = dict(self.history[before]), self.rules[before]
        for row in batch.rows:
            if row.path != PATTERNS:
                self._apply(row, last)
            else:
                self.rules[last] = rules_in(row.body) if row.body is not None else ()
        for path in self.tree:
            check(all(self.tree.get(above, "?")[0] == "d" for above in parents(path)), f"{last}: no tree at {path!r}")
        self.history[last] = self.tree

    def _apply(self, row: Row, spot: Spot) -> None:
        if row.kind == 0:
            check(row.path in self.tree, f"a delete of nothing: {row.path!r}")
            is_excluded = excludes(self.rules[spot], row.path, self.tree[row.path][0] == "d")
            check(row.keep == is_excluded, f"{row.path!r} leaves, kept: {row.keep}, excluded: {is_excluded}")
            if not row.keep:
                self._check_gone(row.path, spot)
            del self.tree[row.path]
            return
        check(not excludes(self.rules[spot], row.path, row.kind == 2), f"{row.path!r} is excluded, and published")
        node = self.node_of(row.path, row.kind, row.mode, row.mtime_ns, row.digest)
        if row.body is not None:
            check(digest_of(row.body) == row.digest, f"law 8: {row.path!r} came with another content")
            check(len(row.body) <= INLINE_BYTES, f"a large content in a batch: {row.path!r}")
        elif row.kind != 2 and row.size <= INLINE_BYTES:
            before = self.tree.get(row.path)
            check(before is not None and before[-1] == node[-1], f"a content that nobody was told: {row.path!r}")
        self.tree[row.path] = node
        self._tell(row.path, spot)

    def node_of(self, path: bytes, kind: int, mode: int, mtime_ns: int, digest: bytes) -> Node:
        """What an entry says, as a node that the master's path really had (law 8)."""
        content = self.master.contents.get(digest, b"")
        node: Node = {1: ("f", mode, mtime_ns, content), 2: ("d", mode), 3: ("l", content)}[kind]
        check(node in self.master.states.get(path, ()), f"law 8: {path!r} never was {str(node)[:200]}")
        return node
