"""The plain truth: the master's tree as a dict, and what was published of it, position by position. None of the product's code.

Trees are dicts from path to a node: ("d", mode), ("f", mode, mtime_ns, content), ("l", target).
"""

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.machine.digests import tree_digest
from tests.machine.disk import Disk, Inode, Node, tree_below
from tests.machine.rules import Rules, excludes, rules_in
from tests.machine.wire import BATCH, INLINE_BYTES, PATTERNS, Piece, Read, Row, digest_of, piece_in, read

Tree = dict[bytes, Node]
Place = tuple[int, int]
"""A position: (epoch, sequence)."""


class Spot(NamedTuple):
    """A position, and who published it: two producers may draw the same epoch in one second."""

    epoch: int
    sequence: int
    instance: bytes


NOWHERE = Spot(0, 0, b"")


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

    may_be_rotten: bool = False
    """Whether files may have changed and nothing tells, as a power cut leaves them: all are to be read again."""
    was_rotten: bool = False
    """Whether that ever was so."""

    def rot(self) -> None:
        """Files may be others now, with the size and time that they had."""
        self.may_be_rotten = self.was_rotten = True

    def had(self, piece: Piece) -> bool:
        """Whether a part is of the content that it names; or, where nothing tells what is in a file, of one that a file had."""
        end, named = piece.offset + len(piece.content), self.contents.get(piece.digest, b"")
        contents = self.contents.values() if self.was_rotten else [named]
        return any(content[piece.offset : end] == piece.content for content in contents)

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
    epochs: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """What was announced, each with the instance that drew it; and when, in the time of `Master.looks`."""
    salts: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    """Of each epoch, by which its digests are made."""
    announced: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """When each epoch was announced, in the time of `Master.looks`."""
    rules: dict[Spot, Rules] = field(default_factory=dict)
    """The patterns of each boundary."""
    left: set[bytes] = field(default_factory=set)
    """Paths that ever left the tree because they were excluded."""
    told: dict[bytes, list[tuple[Spot, int]]] = field(default_factory=dict)
    """Where each path was published as one that is there, and when, in the time of `Master.looks`."""
    released: dict[int, int] = field(default_factory=dict)
    """Up to where each epoch ever stated that deletes are released."""

    def begin_epoch(self, told: Read, tree: Tree, rules: Rules = ()) -> None:
        """An epoch is announced, from this tree: what was published before, or a base that nobody was told."""
        latest = self.history[max(self.history)] if self.history else {}
        self.epochs[told.epoch, told.instance] = self.master.looks
        self.salts[told.epoch, told.instance] = told.salt
        self.announced[told.epoch, told.instance] = self.master.looks
        spot = Spot(told.epoch, told.first - 1, told.instance)
        self.tree = self.history[spot] = tree
        self.rules[spot] = rules
        self._check_digest(told, spot)
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

    def hear_answer(self, message: bytes) -> None:
        """The producer answers one replica. A part is one of the content that it names (law 8)."""
        piece = piece_in(message)
        if piece is not None:
            what = f"law 8: a part at {piece.offset} of {piece.digest.hex()} is of another content"
            check(self.master.had(piece), what)

    def note_released(self, message: Read) -> None:
        """What a message says of it, whoever it is for."""
        self.released[message.epoch] = max(message.released, self.released.get(message.epoch, 0))

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
        self._check_digest(batch, last)

    def _check_digest(self, told: Read, spot: Spot) -> None:
        """Law 6: what the producer keeps up is what the whole tree comes to."""
        is_true = told.after == tree_digest(told.salt, self.history[spot], self.rules[spot])
        check(is_true, f"law 6: the digest that is published for {spot[:2]} is not of the tree there")

    def _apply(self, row: Row, spot: Spot) -> None:
        if row.kind == 0:
            check(row.path in self.tree, f"a delete of nothing: {row.path!r}")
            is_excluded = excludes(self.rules[spot], row.path, self.tree[row.path][0] == "d")
            check(row.keep == is_excluded, f"{row.path!r} leaves, kept: {row.keep}, excluded: {is_excluded}")
            if row.keep:
                self.left.add(row.path)
            else:
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
