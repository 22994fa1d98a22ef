"""The laws of docs/design as claims about what is seen from outside: a replica's disk, what it says it knows, what was published.

What a replica claims is read from its database by plain SQL; what is true comes from `reference`. Nothing here repairs anything.
"""

import sqlite3
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.machine.consuming import ReplicaProcess
from tests.machine.disk import Node, tree_below
from tests.machine.hold_laws import HeldHere, Holding
from tests.machine.pattern_laws import NobodysHere, Seen
from tests.machine.process import databases
from tests.machine.reference import (
    NOWHERE,
    Place,
    Published,
    Spot,
    Tree,
    check,
    is_below,
    parents,
)
from tests.machine.rules import Rules, excludes, rules_in
from tests.machine.wire import PATTERNS, digest_of

STAGE = b".treecast"
UNREADABLE = bytes(32)
"""What stands in the index for a content that a scan was not allowed to read: equal to no content's digest."""
TRIAL = b".treecast-trial-"
"""How an empty file at the root begins that a start tries its renames with."""


class Claim(NamedTuple):
    """What a replica says of one path: the entry's figures, and the position that told it."""

    kind: int
    mode: int
    mtime_ns: int
    digest: bytes
    told: Place


@dataclass
class Claims:
    """What a replica says it knows, as of its last commit."""

    at: Place
    instance: bytes
    is_forked: bool
    is_proved: bool
    floors: dict[int, Place]
    rows: dict[bytes, Claim]
    tombs: dict[bytes, Place]
    unmet: dict[bytes, str]
    rules: Rules
    """The tree's patterns, as far as it has their text."""

    @property
    def is_agreed(self) -> bool:
        """Nothing stale, nothing unmet, proved here."""
        return self.is_proved and not self.floors and not self.unmet


def claims_of(database: sqlite3.Connection) -> Claims:
    """Read them."""
    epoch, sequence, instance, proved_epoch, proved_sequence, is_forked, patterns = database.execute(
        "SELECT epoch, sequence, instance, proved_epoch, proved_sequence, is_forked, patterns FROM standing"
    ).fetchone()
    rows = {
        path: Claim(kind, mode, mtime_ns, digest, (e, s) if e is not None else (0, 0))
        for path, kind, mode, mtime_ns, digest, e, s in database.execute(
            "SELECT path, kind, mode, mtime_ns, digest, epoch, sequence FROM entries WHERE path <> ?", (PATTERNS,)
        )
    }
    return Claims(
        (epoch, sequence),
        instance,
        bool(is_forked),
        (proved_epoch, proved_sequence) == (epoch, sequence),
        {bucket: (e, s) for bucket, e, s in database.execute("SELECT bucket, epoch, sequence FROM stale")},
        rows,
        {path: (e, s) for path, e, s in database.execute("SELECT path, epoch, sequence FROM tombs")},
        dict(database.execute("SELECT path, reason FROM unmet")),
        rules_in(patterns),
    )


def known_to(state: bytes) -> frozenset[bytes]:
    """What the image of a state takes for the tree's: it may remove that before anybody looks."""
    if not state:
        return frozenset()
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(state)
        is_made = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'standing'").fetchone()[0]
        if not is_made or not database.execute("SELECT count(*) FROM standing").fetchone()[0]:
            return frozenset()
        claims = claims_of(database)
        return frozenset(claims.rows.keys() | claims.unmet.keys())


@dataclass
class Observed:
    """One replica as the world sees it."""

    process: ReplicaProcess
    published: Published
    edited: set[bytes] = field(default_factory=set)
    """Paths that somebody else edited on its disk, and of which it does not know yet."""
    spoiled: set[bytes] = field(default_factory=set)
    """Paths at which a bug has spoiled its index: nothing holds there until a divergence was found."""
    is_sound: bool = True
    """Whether its index was never spoiled."""
    promised: Place = (0, 0)
    """The highest position at which it acked a message."""
    diverged: int = 0
    seen: Tree = field(default_factory=dict)
    """What its disk showed when it was last looked at."""
    _earlier: list[Tree] = field(default_factory=list)
    """What it showed before each death since a process of it lived to do something: some of that may never have been durable."""
    spot: Spot = NOWHERE
    """Where it stood when it was last looked at."""
    _shown: AbstractSet[bytes] = frozenset()
    """Where its disk showed its index then."""
    holds: HeldHere = field(default_factory=HeldHere)
    nobodys: NobodysHere = field(default_factory=NobodysHere)
    _checked: tuple[int, ...] = ()

    def disk(self) -> Tree:
        """What a reader sees now."""
        trials = [name for name in self.process.target.names if name.startswith(TRIAL)]
        return tree_below(self.process.target, but=(STAGE, b"lost+found", *trials))

    # -- after each step of a living replica
    def check(self) -> None:
        """Laws 1, 2, 4, 6 and the invariants of the protocol, as of its last commit."""
        database = self.process.state._database
        now = (id(database), database.total_changes, self.process.disk.changes, len(self.published.history))
        if now == self._checked:
            return
        self._checked = now
        self._earlier.clear()
        claims = claims_of(database)
        disk = self.disk()
        edited = set(self.edited)
        self._check_nobodys(claims, disk)
        self._forget_edits(claims, disk)
        self._check_index(claims, disk)
        if claims.at[0]:
            self._check_readers(disk)
        if claims.at[0]:
            check(claims.at >= self.promised, f"it acked at {self.promised}, and stands at {claims.at}")
            spot = Spot(*claims.at, claims.instance)
            truth = self.published.history.get(spot)
            check(truth is not None, f"{claims.at} is no boundary of the stream")
            self._check_known(claims, truth or {})
            self._check_left_alone(claims, disk)
            self.spot = spot
            self._shown = claims.rows.keys() - claims.unmet.keys() - self.edited - self.spoiled
        self._check_divergence()
        holding = Holding(claims.at, claims.unmet, set(claims.rows), edited)
        self.holds.check(holding, disk, self.seen, self.published.released)
        self.seen = disk

    def note_edited(self, paths: set[bytes]) -> None:
        """Somebody else changed these on its disk. A directory above that only they kept there is nobody's now."""
        disk = self.disk()
        rows = self.nobodys.rows if self.process.is_running else frozenset[bytes]()
        above = {above for path in paths for above in parents(path) if above in disk.keys() - rows}
        paths = paths | above
        self.edited |= paths
        self.holds.edited(paths)
        self.seen = {path: node for path, node in self.seen.items() if path not in paths}
        self.seen |= {path: disk[path] for path in paths & disk.keys()}
        self.nobodys.ever |= paths

    def is_nobodys(self, path: bytes) -> bool:
        """Whether what stands there is not the tree's, and may stay."""
        return path not in self.nobodys.rows and self.nobodys.stays(path, self.disk())

    def unlooked(self) -> set[bytes]:
        """Where its disk may be another than its index says, and with other patterns that will have to be found."""
        paths = self.disk().keys() | self.nobodys.rows
        return self.edited | {path for path in paths if self.nobodys.may_guard(path)}

    def protect(self, rules: Rules) -> None:
        """Its own patterns are these from its next start on."""
        # By what it committed last: a process that died may have done more than was ever looked at.
        rows = known_to(databases.images.get(self.process.state_path, b""))
        self._note_unguarded(self.nobodys.protect, self.disk(), rows)
        self.process.protect = self.nobodys.protect = rules

    def _check_nobodys(self, claims: Claims, disk: Tree) -> None:
        stage = self.process.target.names.get(STAGE)
        aside = stage.names.get(b"aside") if stage is not None else None
        was, rows = self.nobodys.rules, frozenset(claims.rows)
        spot = Spot(*claims.at, claims.instance)
        self._note_left(disk, rows | claims.unmet.keys())
        seen = Seen(disk, rows, claims.unmet, claims.rules, self.spot, spot)
        self.nobodys.check(seen, self.seen, self.published, aside)
        between = {self.published.rules[one] for one in self.published.history if seen.was < one < seen.at}
        for rules in {was, *between} - {claims.rules}:
            self._note_unguarded(rules, disk, rows)

    def _note_left(self, disk: Tree, known: AbstractSet[bytes]) -> None:
        """What somebody put where the tree's own could not stand is foreign once that left as excluded: a scrub will find it."""
        gone = self.nobodys.rows - self._shown - known
        put = {path for path in gone if path in disk and path in self.published.left and path in self.nobodys.ever}
        self.edited |= put
        self.holds.edited(put)

    def _note_unguarded(self, rules: Rules, disk: Tree, rows: AbstractSet[bytes]) -> None:
        """These rules protect no more: what they kept from being looked at, a scrub will find."""
        paths = disk.keys() | rows
        guarded = {path for path in paths if excludes(rules, path, True) or excludes(rules, path, False)}
        foreign = disk.keys() - rows
        self.edited |= guarded | foreign
        self.holds.edited(guarded | foreign)
        self.nobodys.ever |= foreign

    def _check_readers(self, disk: Tree) -> None:
        """Law 2: no reader sees a content that this path never had on the master, whole or in part."""
        for path, node in disk.items():
            if node[0] in ("f", "l") and node != self.seen.get(path) and path not in self.edited | self.spoiled:
                had = {other[-1] for other in self.published.master.states.get(path, ())}
                check(node[-1] in had, f"law 2: {path!r} shows {_short(node)}, and never was that")

    def _forget_edits(self, claims: Claims, disk: Tree) -> None:
        if self.edited:
            same = {p for p in self.edited if p in claims.unmet or self._shows(disk.get(p), claims.rows.get(p))}
            self.edited -= same
            self.edited = {path for path in self.edited if not self.nobodys.guards(path, disk.get(path))}

    def _check_index(self, claims: Claims, disk: Tree) -> None:
        for path, claim in claims.rows.items():
            for above in parents(path):
                check(above in claims.rows and claims.rows[above].kind == 2, f"the index is no tree at {path!r}")
            is_guarded = self.nobodys.guards(path, disk.get(path))
            if path not in claims.unmet and path not in self.edited and path not in self.spoiled and not is_guarded:
                shows = self._shows(disk.get(path), claim)
                what = f"{path!r} is {_short(disk.get(path))} on the disk, {_short(claim)} in the index"
                check(shows, f"{what}, and nobody knows it")
        for path in disk.keys() - claims.rows.keys() - claims.unmet.keys() - self.edited - self.spoiled:
            if self._may_be_excluded(path, claims):
                continue
            check(self.nobodys.stays(path, disk), f"{path!r} stands on the disk, and in no index")

    def _may_be_excluded(self, path: bytes, claims: Claims) -> bool:
        """It left the tree as excluded, perhaps as something of another kind, and which patterns the tree has is not known here:
        what stands there is left until it is."""
        knows = claims.rules == self.published.rules.get(Spot(*claims.at, claims.instance))
        return not knows and any(above in self.published.left for above in (path, *parents(path)))

    def _shows(self, node: Node | None, claim: Claim | None) -> bool:
        if node is None or claim is None:
            return node is None and claim is None
        if claim.kind == 2:
            return node == ("d", claim.mode)
        if claim.digest == UNREADABLE:
            return node[0] == "f"
        if not isinstance(node[-1], bytes) or digest_of(node[-1]) != claim.digest:
            return False
        return node[:-1] == (("f", claim.mode, claim.mtime_ns) if claim.kind == 1 else ("l",))

    def _check_known(self, claims: Claims, truth: Mapping[bytes, Node]) -> None:
        """What is known is exactly T_w: nothing deleted comes back, nothing new is lost, no older version returns."""
        bucket_of = self.process.state.bucket_of
        for path in (claims.rows.keys() | truth.keys() | claims.tombs.keys()) - self.spoiled:
            claim = claims.rows.get(path)
            if claims.floors:
                floor = claims.floors.get(bucket_of(path))
                told = max(claim.told if claim is not None else (0, 0), claims.tombs.get(path, (0, 0)))
                if floor is not None and told <= floor:
                    continue
            true = truth.get(path)
            what = f"{path!r} is 'known' as {_short(claim)} at {claims.at}, but is {_short(true)}"
            check(self._shows(true, claim), what)

    def _check_left_alone(self, claims: Claims, disk: Tree) -> None:
        """What showed the master's, and the master's was not another since that was published, is not touched; unless a higher
        epoch had been announced by then: its batches may come late, and it wins."""
        master, was, now = self.published.master, self.spot, (claims.at[0], claims.instance)
        announced = self.published.epochs[now] if now[0] > was.epoch > 0 else None
        for path in self._shown - self.edited - self.spoiled - claims.unmet.keys():
            node = self.seen.get(path)
            if node is None or disk.get(path) == node or node != master.tree.get(path):
                continue
            since, told = master.same_since[path], self.published.told_by(path, was)
            if announced is not None and announced <= told:
                continue
            what = f"{path!r} showed what the master has, and is {_short(disk.get(path))} now, at {claims.at}"
            check(since > told, what)

    def _check_divergence(self) -> None:
        """Only an index that was spoiled may diverge."""
        diverged = int(self.process.board.figures().get(("divergences_total", ""), 0))
        check(diverged == 0 or self.spoiled, "a false alarm: 'diverged'")

    # -- after a death
    def check_death(self, before: Place) -> None:
        """Law 3: each path is as it was, or as something says that was published at the position or later."""
        disk = self.disk()
        later = [tree for place, tree in self.published.history.items() if place >= before]
        self._earlier.append(self.seen)
        for path in (disk.keys() | self.seen.keys()) - self.spoiled:
            if any(path == edited or is_below(path, edited) or is_below(edited, path) for edited in self.edited):
                continue
            allowed = {tree.get(path) for tree in (*self._earlier, *later)}
            now, was = _short(disk.get(path)), _short(self.seen.get(path))
            what = f"law 3: {path!r} is {now} after a death at {tuple(before)}, was {was}"
            check(may_be(disk.get(path), path, allowed, [*self._earlier, *later]), what)
        self.seen = disk
        self.nobodys.died(disk)

    def check_promise(self) -> None:
        """Law 5: what was acked survives."""
        at = self.process.state.standing().position
        check(at >= self.promised or not at.epoch, f"law 5: it acked at {self.promised}, and stands at {at}")
        if not at.epoch:
            # State and disk were of different age: it begins anew, and may follow what the queue has of earlier epochs.
            self.promised = (0, 0)


def _short(value: object) -> str:
    """For a message."""
    text = str(tuple(value)) if isinstance(value, tuple) else str(value)
    return text if len(text) < 120 else f"{text[:80]}...{text[-30:]}"


def may_be(node: Node | None, path: bytes, allowed: Collection[Node | None], trees: Collection[Tree]) -> bool:
    """Whether a reader may meet this in the middle of a change between the allowed ones."""
    if node in allowed:
        return True
    if node is None:
        # A change between directory and anything else has no atomic form; nor has one above it.
        lines = ({tree.get(p, "?")[0] for tree in trees} for p in [path, *parents(path)])
        return any("d" in kinds and len(kinds) > 1 for kinds in lines)
    if node[0] == "d":
        is_above = any(is_below(other, path) for tree in trees for other in tree)
        return is_above or any(one is not None and one[0] == "d" for one in allowed)
    # Mode and time of a content that stays are set one after the other.
    return node[0] == "f" and any(one is not None and one[0] == "f" and one[3] == node[3] for one in allowed)
