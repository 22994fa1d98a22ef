"""The laws of what is nobody's: what is protected is not touched, what is foreign goes by its policy, and is never lost.

`rules` are the tree's patterns, `protect` a replica's own: both by `tests.machine.rules`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.machine.disk import DIRECTORY, Inode, Node, tree_below
from tests.machine.reference import Published, Spot, Tree, check, is_below, parents
from tests.machine.rules import Rules, excludes


@dataclass
class NobodysHere:
    """What of one replica's disk is not the tree's, as it was when it was last looked at."""

    protect: Rules = ()
    foreign: str = "aside"
    rules: Rules = ()
    """The tree's, as far as the replica's state knows them."""
    published: Rules = ()
    """The tree's at the replica's position: what left by them was told to stay, whether they are known or not."""
    ever: set[bytes] = field(default_factory=set)
    """Paths that somebody else changed at any time."""
    rows: frozenset[bytes] = frozenset()
    """What the index had."""
    ours: frozenset[bytes] = frozenset()
    """What may have been the tree's: indexed, held, or brought by a process that died."""

    def forget(self, rows: frozenset[bytes] = frozenset()) -> None:
        """State or disk are others."""
        self.rules, self.rows, self.ours = (), rows, rows

    def died(self, disk: Tree) -> None:
        """What a process that died had brought may be nobody's or the tree's."""
        self.ours |= disk.keys()

    def guards(self, path: bytes, node: Node | None, rules: Rules | None = None) -> bool:
        """Whether what stands there is protected."""
        is_directory = node is not None and node[0] == "d"
        here = self.rules if rules is None else rules
        return excludes(self.protect, path, is_directory) or excludes(here, path, is_directory)

    def may_guard(self, path: bytes) -> bool:
        """Whether something of one kind or the other would be protected there."""
        return self.guards(path, None) or self.guards(path, ("d",))

    def stays(self, path: bytes, disk: Tree) -> bool:
        """Whether this may stand on the disk although the tree has no such thing."""
        return any(self._may_stand(other, node) for other, node in disk.items() if path in (other, *parents(other)))

    def _may_stand(self, path: bytes, node: Node) -> bool:
        if self.guards(path, node) or self.guards(path, node, self.published):
            return True
        return self.foreign == "keep" and any(above in self.ever for above in (path, *parents(path)))

    def is_in_the_way(self, path: bytes, disk: Tree) -> bool:
        """Whether something protected keeps the tree's own from standing there."""
        if excludes(self.protect, path, False) or excludes(self.protect, path, True):
            return True
        line = [path, *parents(path)]
        return any(self.guards(other, node) for other, node in disk.items() if other in line or is_below(other, path))

    def is_left_below(self, path: bytes, disk: Tree, tree: Tree) -> bool:
        """Whether the tree has no directory above it, and what it has there cannot be put there: then nobody looks below."""
        return any(
            tree.get(above, "d")[0] != "d" and self.is_in_the_way(above, disk)
            for above in parents(path)
            if above in tree
        )

    # -- after each step
    def check(self, now: "Seen", before: Tree, published: Published, aside: Inode | None) -> None:
        """`before`: the disk as it was when it was last looked at; `aside`: what the stage keeps."""
        kept = _kept_in(aside)
        between = {published.rules[spot] for spot in published.history if now.was <= spot <= now.at}
        all_rules = {self.rules, now.rules, *between}
        changed = [path for path, node in before.items() if now.disk.get(path) != node]
        for path in changed:
            node = before[path]
            is_guarded = all(self.guards(path, node, rules) for rules in all_rules)
            check(not is_guarded, f"{path!r} is protected, and was touched")
            if path in now.disk or node[0] == "d":
                continue
            if published.left_by_rules(path, node, now.was, now.at) and path in self.rows:
                check(kept(path, node), f"{path!r} was excluded later, and went")
            if self.foreign == "delete" or path in self.ours or path in now.unmet:
                continue
            check(kept(path, node), f"{path!r} was somebody's, and is nowhere")
        for path in now.disk.keys() - before.keys():
            node = now.disk[path]
            is_guarded = all(self.guards(path, node, rules) for rules in all_rules)
            check(not is_guarded, f"{path!r} is protected, and something was put there")
        self.rules, self.rows, self.ours = now.rules, now.rows, now.rows | now.unmet.keys()
        self.published = published.rules.get(now.at, ())


@dataclass(frozen=True)
class Seen:
    """What a replica says and shows. `was`, `at`: where it stood before, and stands now."""

    disk: Tree
    rows: frozenset[bytes]
    unmet: Mapping[bytes, str]
    rules: Rules
    was: Spot
    at: Spot


def _kept_in(aside: Inode | None) -> Callable[[bytes, Node], bool]:
    """Whether something stands aside, as it was."""
    labels = [inode for inode in aside.names.values() if inode.kind == DIRECTORY] if aside is not None else []

    def kept(path: bytes, node: Node) -> bool:
        return any(tree_below(label).get(path) == node for label in labels)

    return kept
