#!/usr/bin/env python3
# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Agreement: how a replica comes to hold the master's tree, and knows that it does.  An executable specification.

One producer (an index and a log of changes), one replica (an index and a disk with the rules of a real one: a directory
that is not empty cannot be removed, nothing lies below a file), and a hostile world between them: messages are lost,
doubled, delayed, reordered, torn and replayed; the replica dies between any two disk operations; its queue is purged; the
producer starts again from an old copy; somebody edits the replica's disk; a bug spoils its index; its state is lost, or
state and disk are restored from a backup; single paths cannot be changed for a while; nobody vouches for what the
producer deletes, until a person releases it; an impostor publishes in the producer's epoch; the scrub looks now and acts
later; an answer is read now and published later.  After every step the invariants of `World.check` must hold, and when
the faults stop, the replica must agree with the master.  Each rule can be left out (`MUTANTS`): that shows what it is
for, and that the model is able to fail.  Not modelled: signatures, large contents, patterns.

    agreement_model.py [--runs N] [--seed S] [--flat] [--mutant NAME | --all-mutants]
"""
import argparse
import copy
import random
import sys
import time
import zlib
from collections import Counter, namedtuple
from functools import cache

# ---------------------------------------------------------------------------------------------------- 1. Trees and paths
# An entry is a string: "d:<mode>" a directory, "f:<content>" a file.  No entry (None): the path is absent.
DEEP_PATHS = ["a", "b", "c", "a/x", "a/y", "b/x", "a/x/p", "a/x/q", "b/x/p", "c/z"]
FLAT_PATHS = list("abcdefghij")
PATHS = list(DEEP_PATHS)
BUCKETS = range(4)
GUESSED_DIR = "d:?"                     # a directory that must be there; its mode is not known
BUG = "f:bug"                           # what a bug of ours writes into the index; the world knows, the replica does not
BEFORE_ALL = (0, 0)                     # positions are pairs (epoch, sequence), and compare as pairs


@cache
def bucket(path): return zlib.crc32(path.encode()) % len(BUCKETS)
def parent(path): return path.rpartition("/")[0]
@cache
def ancestors(path): return [path[:i] for i, c in enumerate(path) if c == "/"]
@cache
def below(path): return [q for q in PATHS if q.startswith(path + "/")]
def deepest_first(paths): return sorted(paths, key=lambda p: (-p.count("/"), p))
def shallowest_first(paths): return sorted(paths, key=lambda p: (p.count("/"), p))
def is_dir(entry): return entry is not None and entry.startswith("d:")
def digest(tree): return frozenset(tree.items())
def in_bucket(tree, b): return {p: e for p, e in tree.items() if bucket(p) == b}


class Broken(Exception): "An invariant does not hold."
class Contradiction(Broken): "And if two producers publish in one epoch, it may be their doing."
class Crash(Exception): "The replica's process dies here."
class Problem(Exception): "This one path cannot be changed just now."


# ----------------------------------------------------------------------------------------------------------- 2. Messages
# The stream.  A heartbeat at P is a batch of nothing: first = P + 1, last = P, prev = hash, before = after.
# `released`: deletes of this epoch up to this sequence, and of all epochs before, are released.  0: none.
Batch = namedtuple("Batch", "epoch first last prev hash events before after released")
# Questions (kind: digests, bucket, since, body) and answers.  `at` is S, the batch boundary that the answer speaks of.
Question = namedtuple("Question", "kind epoch nonce about")
Same = namedtuple("Same", "epoch nonce at buckets released")
Bucket = namedtuple("Bucket", "epoch nonce at bucket rows bodies digest released")
Since = namedtuple("Since", "epoch nonce at base part parts rows bodies digest released")  # digest: of all parts' rows
TooOld = namedtuple("TooOld", "epoch nonce reach")
Body = namedtuple("Body", "epoch nonce path content")


# ----------------------------------------------------------------------------------------------------------- 3. Producer
class Producer:
    """The master's index.  Tree, sequence and log change in one transaction; an answer is read in one transaction."""
    LOG_LENGTH = 30

    def __init__(self, rng, left_out):
        self.rng, self.left_out = rng, left_out
        self.tree, self.epoch, self.seq, self.hash = {}, 1, 1, "start 1"        # at 0 nothing could be said to be released
        self.vouched = True                 # what it deletes was judged, or a person released it
        self.log, self.log_reach = [], 1    # (sequence, path) of this epoch: every change above log_reach is there
        self.history = {(1, 1): {}}         # position -> tree, at batch boundaries; for the invariants only
        self.released_ever = {}             # epoch -> up to where it ever stated deletes as released; for the invariants only
        self.forged = set()                 # epochs in which an impostor published too; for the invariants only
        self.backups, self.previous_tree, self.contents = [], {}, 0

    def edit(self, tree):
        """One random edit that leaves a tree: remove with all below, make a directory (or its mode), write a file."""
        path, dice = self.rng.choice(PATHS), self.rng.random()
        if dice < .3:
            for p in [path] + below(path): tree.pop(p, None)
            return
        for a in ancestors(path):
            if not is_dir(tree.get(a)): tree[a] = f"d:{self.rng.randrange(2)}"
        if dice < .45:
            tree[path] = f"d:{self.rng.randrange(2)}"
            return
        for p in below(path): tree.pop(p, None)
        self.contents += 1                  # sometimes a content that was there before: A, B, A
        tree[path] = f"f:{self.rng.randrange(3)}" if self.rng.random() < .3 else f"f:{100 + self.contents}"

    def edited(self):
        """A tree that was edited, and which paths changed.  Every path below a removed one is named: replicas need not guess."""
        tree = dict(self.tree)
        for _ in range(self.rng.choice([1, 1, 2, 3])): self.edit(tree)
        changed = [p for p in PATHS if tree.get(p) != self.tree.get(p)]
        if "deletes-by-name" in self.left_out:
            changed = [p for p in changed if p in tree or not any(a in changed for a in ancestors(p))]
        self.rng.shuffle(changed)           # a batch is a set; its order means nothing
        return tree, changed

    def batch(self, tree, changed):
        first, last = self.seq + 1, self.seq + len(changed)
        return Batch(self.epoch, first, last, self.hash, f"{self.epoch}.{last}.{self.rng.random()}",
                     tuple((p, tree.get(p)) for p in changed), digest(self.tree), digest(tree), self.released(last))

    def change(self):
        """Edit the tree and number what changed."""
        tree, changed = self.edited()
        if not changed: return None
        m = self.batch(tree, changed)
        self.log += [(m.first + i, p) for i, p in enumerate(changed)]
        for seq, _ in self.log[:-self.LOG_LENGTH]: self.log_reach = seq
        del self.log[:-self.LOG_LENGTH]
        self.previous_tree, self.tree, self.seq, self.hash = self.tree, tree, m.last, m.hash
        self.history[self.epoch, self.seq] = dict(tree)
        if self.rng.random() < .1: self.backups.append(dict(tree))
        return m

    def impostor(self):
        """A copy of the producer that runs beside it publishes a batch in its epoch, and is gone."""
        tree, changed = self.edited()
        if changed: self.forged.add(self.epoch)
        return self.batch(tree, changed) if changed else None

    def start_epoch(self, backups=True):
        """The producer starts, perhaps from an old copy, perhaps with another counter.  The log starts empty."""
        if backups and self.backups and self.rng.random() < .8: self.tree = dict(self.rng.choice(self.backups))
        self.epoch, self.seq = self.epoch + 1, self.rng.choice([1, self.seq, self.seq])
        self.hash, self.previous_tree = f"start {self.epoch} {self.rng.random()}", self.tree
        self.log, self.log_reach = [], self.seq
        self.history[self.epoch, self.seq] = dict(self.tree)
        return self.heartbeat()

    def released(self, seq):
        """Up to where deletes are released.  It moves on with each batch, unless nobody vouches for this journal."""
        if self.vouched: self.released_ever[self.epoch] = max(seq, self.released_ever.get(self.epoch, 0))
        return seq if self.vouched else 0

    def heartbeat(self):
        return Batch(self.epoch, self.seq + 1, self.seq, self.hash, self.hash, (), digest(self.tree), digest(self.tree),
                     self.released(self.seq))

    def answer(self, q):
        """All of it from one read transaction, at the batch boundary `self.seq`.  It is published later, by another thread."""
        if q.epoch != self.epoch: return [self.heartbeat()]
        tree = self.tree if "one-read" not in self.left_out else self.previous_tree
        released = self.released(self.seq)
        if q.kind == "digests":
            same = [b for b in BUCKETS if digest(in_bucket(tree, b)) == q.about[b]]
            return [Same(q.epoch, q.nonce, self.seq, same, released)]
        if q.kind == "bucket":
            rows = in_bucket(tree, q.about)
            return [Bucket(q.epoch, q.nonce, self.seq, q.about, rows, self.bodies(rows), digest(rows), released)]
        if q.kind == "body":
            path, content = q.about
            return [Body(q.epoch, q.nonce, path, content) if tree.get(path) == content else self.heartbeat()]
        if q.about < self.log_reach and "too-old" not in self.left_out:
            return [TooOld(q.epoch, q.nonce, self.log_reach)]
        changed = sorted({path for seq, path in self.log if seq > q.about})
        n, rows = self.rng.choice([1, 1, 2, 3]), {p: tree.get(p) for p in changed}
        parts = [{p: rows[p] for p in changed[i::n]} for i in range(n)]
        return [Since(q.epoch, q.nonce, self.seq, q.about, i, n, part, self.bodies(part), digest(rows), released)
                for i, part in enumerate(parts)]

    def publish(self, m):
        """An answer that was read a while ago.  What it states is true of when it was read."""
        if "stated-when-read" in self.left_out and isinstance(m, (Same, Bucket, Since)):
            return m._replace(epoch=self.epoch, at=self.seq)
        return m

    def bodies(self, rows):
        """Contents travel with an answer, except those of files that have changed again since they were indexed."""
        return {p for p in sorted(rows) if rows[p] is not None and self.rng.random() < .5}


# ------------------------------------------------------------------------------------------------------------ 4. Replica
Stale = namedtuple("Stale", "floor base")       # floor: a position; base: a sequence of this epoch, or None


class Replica:
    DURABLE = ("disk epoch w head digest_at_w recent entry pos found tomb unmet stale plan commits proved forked "
               "released").split()

    def __init__(self, rng, left_out, count):
        self.rng, self.left_out, self.count, self.disk = rng, left_out, count, {}
        self.since_first = rng.choice([0, .6, 1, 1])                        # which question first: a matter of cost only
        self.hold_limit = rng.choice([None, None, 0, 2])                    # more deletes than this are held; None: all go
        self.broken = set()                                                 # paths that cannot be changed just now
        self.alarms, self.forks, self.entry_at_alarm, self.ahead, self.made = 0, [], {}, {}, set()   # for the invariants only
        self.forget_all()

    def forget_all(self):
        """First start, adoption, lost state: nothing is known, and what the disk holds is the first guess."""
        self.epoch, self.w, self.head, self.digest_at_w, self.recent = 0, 0, None, None, {}
        self.entry, self.pos, self.tomb = dict(self.disk), {}, {}           # what is published, as far as we know
        self.found = set(self.disk)                                         # entries that nobody published, as far as we know
        self.unmet = {}                                                     # the disk does not show entry[p], and why
        self.stale = {b: Stale(BEFORE_ALL, None) for b in BUCKETS}          # no row: level
        self.plan, self.commits, self.proved = None, 0, None                # plan: (number of its commit, paths)
        self.forked, self.released = False, 0                               # both of this epoch
        self.forget_volatile()

    def forget_volatile(self):
        self.open, self.parts, self.parked, self.steps_to_crash, self.suspicions = {}, {}, [], None, []
        self.deletes = {}                                                   # path -> how much longer its delete counts
    def keeps(self, rule): return rule not in self.left_out

    # -- what is known
    @property
    def here(self): return (self.epoch, self.w)
    def told(self, p): return max(self.pos.get(p, BEFORE_ALL), self.tomb.get(p, BEFORE_ALL))
    def known(self, p): return bucket(p) not in self.stale or self.told(p) > self.stale[bucket(p)].floor
    def agreed(self): return not self.stale and not self.unmet and self.proved == self.here and not self.forked
    def held(self): return {p for p, why in self.unmet.items() if why == "held"}

    def mark(self, buckets, last_level):
        """These buckets are not trusted any more, from here on.  `last_level`: the sequence at which those of them that
        were level until now were level; None when the index itself is in doubt, then no base is left."""
        for b in buckets:
            old = self.stale.get(b)         # stale already: it was not level there, its base stays
            base = old.base if old and last_level is not None and self.keeps("base-kept") else last_level
            self.stale[b] = Stale(old.floor if old and not self.keeps("floor-raised") else self.here, base)
        for p in [p for p in self.tomb if bucket(p) in buckets and self.tomb[p] <= self.here]: del self.tomb[p]
        if self.keeps("close-questions"): self.close_questions()

    def no_base(self, rule): return None if self.keeps(rule) else self.w
    def close_questions(self): self.open, self.parts = {}, {}

    def level(self, b):
        """entry[p] is T_w[p] for each p of this bucket, from here on."""
        self.stale.pop(b, None)
        for p in [p for p in self.tomb if bucket(p) == b]: del self.tomb[p]
        self.count["buckets levelled"] += 1

    def compare(self):
        """The proof: the digest that was published for exactly w.  Only while nothing is stale."""
        if self.stale and self.keeps("compare-level"): return
        if digest(self.entry) == self.digest_at_w:
            self.proved = self.here
            return
        self.alarms, self.entry_at_alarm = self.alarms + 1, dict(self.entry)
        self.count["divergences found (a bug was planted)"] += 1
        self.mark(BUCKETS, self.no_base("base-not-after-divergence"))

    # -- the disk
    def step(self, path=None, value=None):
        """One disk operation (None: remove), with the constraints of a real disk; the process may die before it.  What is
        broken cannot be changed, and nothing that is directly in it."""
        if self.steps_to_crash is not None:
            self.steps_to_crash -= 1
            if self.steps_to_crash < 0: raise Crash
        if path is None: return
        if {path, parent(path)} & self.broken & self.disk.keys(): raise Problem
        old = self.disk.get(path)
        if value is None:
            if is_dir(old) and any(q in self.disk for q in below(path)): raise Broken(f"ENOTEMPTY {path}")
            del self.disk[path]
            return
        if parent(path) and not is_dir(self.disk.get(parent(path))): raise Broken(f"ENOTDIR {path}")
        if old is not None and is_dir(old) != is_dir(value): raise Broken(f"another kind is in the way at {path}")
        self.disk[path] = value

    def place(self, want, bodies, position_of=lambda p: None):
        """Bring the disk to `want`: paths known to be true together.  Returns the guesses found wrong, what is held, and
        what could not be done."""
        wrong = self.wrong_guesses(want)
        goal, failed = {**wrong, **want}, set()
        held = self.judge(goal, position_of)
        touched = {*want}.union(*(ancestors(p) + below(p) for p in want))
        self.made = {p for p in goal if goal[p] is not None}
        self.plan = (self.commits + 1, touched)     # durable, with the staged contents, before the first name moves
        for q in wrong:
            if self.known(q): raise Contradiction(f"what is known contradicts itself at {q}")
        skips = wrong if not self.keeps("correct-guesses") else ()
        for p in deepest_first(p for p in goal if not is_dir(goal[p]) and p not in held and p not in skips):
            try: self.clear(p, goal[p], skips)      # not a directory: nothing can be below it
            except Problem: failed.add(p)
        for p in shallowest_first(p for p in goal if goal[p] is not None and p not in held | failed and p not in skips):
            try: self.make(p, goal, skips, at_hand=is_dir(goal[p]) or p in bodies)
            except Problem: failed.add(p)
        self.step()                         # it may die here too: the names have moved, the index has not
        return wrong, held, failed

    def wrong_guesses(self, want):
        """What is indexed below something that is no directory, and what is above something and indexed as no directory."""
        wrong = {q: None for p, e in want.items() if not is_dir(e) for q in below(p) if q in self.entry and q not in want}
        for p in shallowest_first(p for p in want if want[p] is not None):
            for a in ancestors(p):
                if not is_dir(want[a] if a in want else self.entry.get(a)): wrong[a] = GUESSED_DIR
        return wrong

    def clear(self, p, e, skips):
        for q in deepest_first(below(p)):
            if q in self.disk and q not in skips: self.step(q)
        if p in self.disk and (e is None or is_dir(self.disk[p])): self.step(p)

    def make(self, p, goal, skips, at_hand):
        for a in ancestors(p):              # it is there: so are its parents
            if is_dir(self.disk.get(a)) or a in skips: continue
            if a in self.disk: self.step(a)
            self.step(a, goal.get(a) or self.entry.get(a) or GUESSED_DIR)
        if not at_hand: return              # content not at hand: unmet
        if p in self.disk and is_dir(self.disk[p]) != is_dir(goal[p]): self.step(p)
        if self.disk.get(p) != goal[p]: self.step(p, goal[p])

    # -- holds
    def judge(self, goal, position_of):
        """Which of these paths the disk keeps as they are: too many published ones would go, and nobody released that.  How
        many are too many, and what counts, is a matter of judgement: any choice must be right."""
        gone = {p for p, e in goal.items() if e is None and p in self.entry and p not in self.found}
        if not self.keeps("corrections-judged"): gone = {p for p in gone if position_of(p)}
        if not self.keeps("answers-judged"): gone = {p for p in gone if position_of(p) and position_of(p)[1] > self.w}
        gone = {p for p in gone if not self.is_released(position_of(p))}
        held = {p for p in self.held() & goal.keys() if goal[p] is None and not self.is_released(position_of(p))}
        counted = gone | {p for p in self.deletes if p not in self.entry}
        if self.hold_limit is not None and len(counted) > self.hold_limit: held |= gone
        self.deletes = {p: n - 1 for p, n in self.deletes.items() if n > 1} | dict.fromkeys(gone - held, 3)
        stays = held | self.held() - goal.keys()
        for p in goal:                      # what needs a held delete is held with it
            if not is_dir(goal[p]) and self.keeps("needs-held") and any(q in stays for q in below(p)): held.add(p)
        self.count["deletes held"] += sum(goal[p] is None for p in held)
        self.count["files held, where a directory with held paths stands"] += sum(goal[p] is not None for p in held)
        return held

    def is_released(self, position):
        """Is a delete released that was told at this position?  None: it was found out here."""
        return (position or self.here) <= (self.epoch, self.released) and self.keeps("released-covers")

    def learn(self, m):
        """Up to where deletes are released: the highest that this epoch stated."""
        if isinstance(m, (Batch, Same, Bucket, Since)) and m.epoch == self.epoch: self.released = max(self.released, m.released)

    def release(self, why):
        """What is held may go, by a word from the master or of a person here: from now on it is only not done yet."""
        if self.held(): self.count["holds released " + why] += 1
        for p in self.held(): self.unmet[p] = "problem"

    def retry(self, paths):
        """Try again to place what a problem left unmet, as far as it is known; a file waits for its content."""
        want = {p: self.entry.get(p) for p in paths
                if self.unmet.get(p) == "problem" and self.known(p)}
        if want: self.commit(want, self.place(want, ()), self.pos.get, retried=True)

    def commit(self, want, placed, position_of, levelled=(), to=None, retried=False):
        """One transaction: entries, positions, tombstones, unmet, level buckets, w, and the number of the plan."""
        wrong, held, failed = placed
        if to: self.w, self.head, self.digest_at_w = to
        for p, e in {**wrong, **want}.items():
            was_found, at = p in self.found, position_of(p) if p in want else None  # a corrected guess is still one
            for table in (self.entry, self.pos): table.pop(p, None)
            if e is not None: self.entry[p] = e
            self.found.discard(p)
            self.unmet.pop(p, None)
            why = self.why_unmet(p, e, held, failed)
            if why and (e is not None or self.keeps("absent-unmet")): self.unmet[p] = why
            if why and was_found and e is not None: self.found.add(p)       # what stands there is still what was found
            if at or not retried or e is not None: self.tomb.pop(p, None)   # an absence tried again is told by nobody anew
            if e is not None and at: self.pos[p] = at
            if e is None and at and bucket(p) in self.stale and self.keeps("tombstones"): self.tomb[p] = at
        for b in levelled: self.level(b)
        self.count["guesses corrected"] += len(wrong)
        self.count["problems met"] += len(failed)
        self.commits += 1
        self.step()                         # or here: committed, and the plan is still there
        self.plan = None

    def why_unmet(self, p, e, held, failed):
        if p in held: return "held" if self.keeps("held-is-unmet") else None
        if p in failed: return "problem" if self.keeps("problem-is-unmet") else None
        return "body" if e is not None and self.disk.get(p) != e and self.keeps("unmet") else None

    # -- messages
    def receive(self, m):
        """Handle one message.  True: it has to wait.  What is refused is dropped; if it was needed, a gap will show."""
        if m.epoch < self.epoch and self.keeps("fence"): return False
        if m.epoch == self.epoch and self.forked and self.keeps("fork-stops"): return False
        try:
            waits = self.on_stream(m) if isinstance(m, Batch) else self.on_answer(m)
        except Contradiction:               # as a divergence, where the epoch is not one producer's
            if self.epoch not in self.forged: raise
            return self.mark(BUCKETS, None)
        if self.is_released(None) and self.keeps("released-travels"): self.release("by the master")
        return waits

    def on_answer(self, m):
        if m.epoch != self.epoch or self.keeps("nonce") and m.nonce not in self.open: return False
        self.learn(m)
        if isinstance(m, Body): return self.on_body(m)
        if isinstance(m, TooOld): return self.on_too_old(m)
        if m.at > self.w and self.keeps("wait-for-stream"): return True     # never ahead of the stream
        return {Same: self.on_same, Bucket: self.on_bucket, Since: self.on_since}[type(m)](m)

    def on_stream(self, m):
        start = m.first - 1
        if m.epoch > self.epoch: self.follow(m, start)
        if self.forked and self.keeps("fork-stops"): return False
        self.learn(m)
        if m.last < self.w or m.last == self.w and m.events:
            return self.fork() if self.recent.get(m.last, m.hash) != m.hash else False
        if start < self.w: return self.fork()
        if start > self.w:
            if self.rng.random() < .7: return True      # a moment of grace: it may be reordering
            self.jump(m, start)
        if m.prev != self.head: return self.fork()
        if m.events: self.apply(m)
        self.compare()
        return False

    def fork(self):
        """The same position, other bytes: nothing more of this epoch is applied.  The next epoch heals it."""
        self.forked, self.proved = True, None
        self.forks.append(self.epoch)
        self.close_questions()
        self.count["forks seen"] += 1

    def jump(self, m, start):
        """A gap: go on behind it.  What was level was level where we were, not where we are now."""
        was, self.w, self.head, self.digest_at_w = self.w, start, m.prev, m.before
        self.mark(BUCKETS, was if self.keeps("base-before-jump") else start)
        self.count["gaps"] += 1

    def follow(self, m, start):
        """A higher epoch is followed at once.  Positions of the old one mean nothing in it."""
        same = not self.stale and digest(self.entry) == m.before or not self.keeps("epoch-marks")
        self.close_questions()
        self.epoch, self.w, self.head, self.digest_at_w, self.recent = m.epoch, start, m.prev, m.before, {}
        if self.keeps("fork-heals"): self.forked = False
        if self.keeps("released-of-epoch"): self.released = 0
        if not same: self.mark(BUCKETS, self.no_base("base-not-over-epochs"))
        self.count["epochs followed, " + ("nothing stale" if same else "all stale")] += 1

    def apply(self, m):
        want, seq = dict(m.events), {p: (m.epoch, m.first + i) for i, (p, _) in enumerate(m.events)}
        if not self.keeps("wait-for-stream"): want = {p: e for p, e in want.items() if seq[p] > self.told(p)}
        placed = self.place(want, set(want), seq.get)
        self.recent[m.last] = m.hash
        self.commit(want, placed, seq.get, to=(m.last, m.hash, m.after))

    def floor_allows(self, b, at): return (self.epoch, at) >= self.stale[b].floor or not self.keeps("floor")

    def on_same(self, m):
        self.open.pop(m.nonce, None)
        for b in m.buckets:
            if b in self.stale and self.floor_allows(b, m.at): self.level(b)
        self.compare()

    def on_bucket(self, m):
        if digest(m.rows) != m.digest and self.keeps("whole-bucket"): return
        self.open.pop(m.nonce, None)
        if m.bucket not in self.stale and self.keeps("only-stale"): return
        if m.bucket in self.stale and not self.floor_allows(m.bucket, m.at): return
        self.count["buckets levelled by a bucket answer"] += 1
        paths = {*m.rows, *in_bucket(self.entry, m.bucket)}
        self.merge([m.bucket], {p: m.rows.get(p) for p in paths}, m.at, m.bodies)

    def on_since(self, m):
        """A question may be answered twice; parts of two answers do not make one: the rows must hash to what is stated."""
        answer = (m.nonce, m.at, m.digest) if self.keeps("one-answer") else m.nonce
        parts = self.parts.setdefault(answer, {})
        parts[m.part] = m
        rows = {p: e for part in parts.values() for p, e in part.rows.items()}
        whole = digest(rows) == m.digest if self.keeps("one-answer") else len(parts) == m.parts
        if not whole and self.keeps("all-parts"): return
        self.open.pop(m.nonce, None)
        del self.parts[answer]
        ours = [b for b in self.stale if self.covers(m, b) and self.floor_allows(b, m.at)]
        if not ours: return
        self.count["since answers merged"] += 1
        self.count["since answers merged, other buckets left stale"] += len(ours) < len(self.stale)
        self.count["buckets levelled by a since answer"] += len(ours)
        rows = {p: e for p, e in rows.items() if bucket(p) in ours}
        self.merge(ours, rows, m.at, set().union(*(part.bodies for part in parts.values())))

    def covers(self, m, b):
        """Does the answer name every change since this bucket was last level?"""
        base = self.stale[b].base
        return base is not None and base >= m.base or not self.keeps("base-covers")

    def merge(self, buckets, told, at, bodies):
        """`told`: what the master had at the boundary `at`.  What a live event told later stays ours."""
        self.count["tombstones that beat an answer"] += sum(
            self.tomb.get(p, BEFORE_ALL) > (self.epoch, at) and e is not None for p, e in told.items())
        self.count["live entries that beat an answer"] += sum(self.pos.get(p, BEFORE_ALL) > (self.epoch, at) for p in told)
        want = {p: told[p] for p in sorted(told) if self.told(p) <= (self.epoch, at) or not self.keeps("newer-stays")}
        want = {p: e for p, e in want.items() if self.entry.get(p) != e or p in self.unmet}
        def position_of(p): return (self.epoch, at)
        placed = self.place(want, bodies, position_of)
        for b in buckets: self.ahead[b] = (self.epoch, at)
        self.commit(want, placed, position_of, levelled=buckets)
        self.compare()

    def on_too_old(self, m):
        self.open.pop(m.nonce, None)
        self.count["since too old"] += 1
        for b, s in self.stale.items():
            if s.base is not None and s.base < m.reach: self.stale[b] = s._replace(base=None)

    def on_body(self, m):
        self.open.pop(m.nonce, None)
        wanted = m.path in self.unmet and self.entry.get(m.path) == m.content
        if not wanted and (self.keeps("body-checked") or is_dir(self.entry.get(m.path, GUESSED_DIR))): return
        placed = self.place({m.path: m.content}, bodies={m.path})
        self.commit({m.path: self.entry[m.path]}, placed, self.pos.get)
        if not self.keeps("body-checked") and self.disk.get(m.path) == m.content: self.unmet.pop(m.path, None)
        self.count["bodies fetched"] += 1

    # -- questions, start, scrub
    def questions(self, nonces):
        """Ask for what is stale or unmet.  Which question is only a matter of cost; any choice must be right."""
        for n in sorted(self.open):
            if self.rng.random() < .05: del self.open[n]                    # timed out
        out = []
        if self.forked: return out
        if self.epoch and self.stale and sum(kind != "body" for kind in self.open.values()) < 3:
            bases = [s.base for s in self.stale.values() if s.base is not None]
            if bases and self.rng.random() < self.since_first: out.append(("since", min(bases)))
            elif self.rng.random() < .3: out.append(("digests", {b: digest(in_bucket(self.entry, b)) for b in BUCKETS}))
            else: out.append(("bucket", self.rng.choice(sorted(self.stale))))
        wanted = [p for p in sorted(self.unmet) if self.unmet[p] == "body" and self.known(p)]   # a guess may never be answered
        out += [("body", (p, self.entry[p])) for p in wanted if self.rng.random() < .5]
        asked = [Question(kind, self.epoch, next(nonces), about) for kind, about in out]
        self.open.update((q.nonce, q.kind) for q in asked)
        return asked

    def restart(self):
        """A plan that was left, and not committed: the index does not know what the disk has at its paths.  Look."""
        self.forget_volatile()
        self.count["restarts"] += 1
        if self.plan is None: return
        (number, paths), self.plan = self.plan, None
        if number <= self.commits: self.count["restarts with a committed plan left"] += 1
        else: self.count["restarts with a plan left"] += 1
        if number <= self.commits or not self.keeps("plan"): return
        gone = [p for p in paths if not is_dir(self.disk.get(p))]           # what is indexed below cannot be there
        paths = paths | {q for q in self.entry if any(a in gone for a in ancestors(q))}
        for p in shallowest_first(paths):
            if self.stays_absent(p): continue
            self.unmet.pop(p, None)
            for table in (self.entry, self.pos, self.tomb): table.pop(p, None)
            if p in self.disk: self.entry[p] = self.disk[p]
        self.found &= self.entry.keys()
        self.mark({bucket(p) for p in paths}, self.no_base("base-not-after-plan"))

    def stays_absent(self, p):
        """An absence that the disk does not show stays one, with its reason, and so does what is below it."""
        if p in self.entry or p not in self.disk or not self.keeps("absence-stays"): return False
        if any(a not in self.entry and a in self.unmet for a in ancestors(p)): self.unmet.setdefault(p, "problem")
        return p in self.unmet

    def scrub_looks(self, p):
        """Compare index and disk at a path of a level bucket.  It only looks, beside the thread that applies."""
        if self.drifted(p): self.suspicions.append((p, self.entry.get(p)))

    def scrub_acts(self):
        """The thread that applies, some time later.  The index does not change: drift costs no base."""
        if not self.suspicions: return
        p, e = self.suspicions.pop(self.rng.randrange(len(self.suspicions)))
        if self.keeps("act-looks-again"):
            if not self.drifted(p): return
            e = self.entry.get(p)
        self.count["drift found by the scrub"] += 1
        if e is not None and not is_dir(e): self.unmet[p] = "body"
        else: self.commit({p: e}, self.place({p: e}, ()), self.pos.get)

    def drifted(self, p):
        if p in self.unmet and self.keeps("scrub-spares-unmet"): return False
        return bucket(p) not in self.stale and self.disk.get(p) != self.entry.get(p)


# -------------------------------------------------------------------------------------------------- 5. The hostile world
class World:
    STEPS, CALM_STEPS, ROOM_FOR_PARKED = 600, 2000, 8
    ALWAYS = {"change": 12, "heartbeat": 4, "deliver": 36, "ask": 30, "answer": 40, "land": 20, "unpark": 14, "replay": 3,
              "scrub looks": 6, "scrub acts": 5, "back up": .5, "retry": 4}
    CHAOS = {"lose": 6, "swap": 4, "purge": .8, "restart": 1.5, "drift": 3, "bug": .6, "epoch": .2, "state lost": .06,
             "restore": .1}
    PROBLEMS = {"break": 3, "mend": 2}      # each kind in some of the storms only
    DOUBTS, DOUBTFUL = {"release": .4, "release here": .4}, .5
    IMPOSTORS = {"impostor": .4}

    def __init__(self, seed, left_out=(), count=None):
        self.rng, self.count = random.Random(seed), Counter() if count is None else count
        self.producer, self.replica = Producer(self.rng, left_out), Replica(self.rng, left_out, self.count)
        self.queue, self.slow, self.recorded, self.asked = [], [], [], []
        self.nonces = iter(range(1, 1 << 30))
        self.drifted, self.alarms, self.backup = set(), 0, None
        self.replica.forged = self.producer.forged                          # only to tell which contradictions may be
        self.was_held, self.was_epoch, self.before, self.at_fork, self.forks = {}, 0, None, None, 0
        self.has_doubts = self.rng.random() < self.DOUBTFUL
        if self.has_doubts: self.producer.vouched = self.rng.random() < .3
        else: self.replica.hold_limit = None
        for _ in range(self.rng.choice([0, 5, 15])): self.producer.change()     # the replica joins later

    def check(self, what=""):
        """The invariants, after `what` was done."""
        r, truth = self.replica, self.producer.history.get(self.replica.here)
        is_one_producer = r.epoch not in self.producer.forged               # else only what the disk shows is checked
        if r.alarms > self.alarms and is_one_producer and BUG not in r.entry_at_alarm.values():
            raise Broken("a false alarm: 'diverged'")
        if not self.producer.forged.issuperset(r.forks): raise Broken("taken for a fork")
        self.alarms = r.alarms
        if self.drifted:
            entry, disk, unmet = r.entry, r.disk, r.unmet
            self.drifted = {p for p in self.drifted if p not in unmet and disk.get(p) != entry.get(p)}
        self.check_holds(what)
        self.check_fork(what)
        entry, disk, unmet = r.entry, r.disk, r.unmet
        for p in PATHS:
            e = entry.get(p)
            if e is not None and parent(p) and not is_dir(entry.get(parent(p))): raise Broken(f"{p}: index is no tree")
            if e is None and unmet.get(p) == "body": raise Broken(f"{p} waits for the content of nothing")
            if e == BUG: continue
            if p not in self.drifted and p not in unmet and disk.get(p) != e:
                raise Broken(f"{p} is {disk.get(p)} on disk, {e} in the index, and nobody knows it")
            if r.epoch == 0 or not is_one_producer: continue
            if truth is None: raise Broken(f"{r.here} is no boundary of the stream")
            claims = r.ahead.get(bucket(p), BEFORE_ALL) <= r.here           # only a mutant merges ahead
            if r.known(p) and claims and e != truth.get(p): raise Broken(f"{p} is 'known' as {e}, but is {truth.get(p)}")

    def check_holds(self, what):
        """What is held stays as it is until that is released, or the path is there again.  Where every delete is held, no
        published path leaves the disk that nobody released."""
        r, held = self.replica, self.replica.held()
        entry, disk, is_restored = r.entry, r.disk, what == "state lost" or what.startswith("restore")
        ever, followed = self.producer.released_ever, self.was_epoch if self.was_epoch != r.epoch else None
        is_released = what == "release here" or ever.get(r.epoch, 0) >= r.w > 0 or ever.get(followed, 0) > 0
        self.was_epoch = r.epoch
        for p, was in self.was_held.items() if not is_restored else ():
            if p in held and disk.get(p) != was and p not in r.made: raise Broken(f"{p} is held, and changed on disk")
            has_held = p in entry and any(q in held for q in below(p))      # and so it is there
            if was and not (p in held or is_released or p in r.made or has_held): raise Broken(f"the hold of {p} was forgotten")
        for p in held:
            if p in entry and not any(q in held for q in below(p)): raise Broken(f"{p} is held, and nothing below it is")
        self.was_held = {p: disk.get(p) for p in held}
        if r.hold_limit == 0:
            before, may_go = self.before or ({}, set())
            for p in before.keys() - disk.keys() - may_go - entry.keys() - r.made if what != "drift" and not is_restored else ():
                if not is_released: raise Broken(f"{p} went from the disk, and nobody released that")
            self.before = dict(disk), self.drifted | r.found | {p for p, why in r.unmet.items() if why != "held"}
        r.made = set()

    def check_fork(self, what):
        """After a fork nothing more of its epoch is applied."""
        r, was = self.replica, self.at_fork if not what.startswith("restore") else None
        here, is_new, self.forks = (r.epoch, r.w, r.head), len(r.forks) > self.forks, len(r.forks)
        if was and was[0] == r.epoch and was != here: raise Broken("something was applied after a fork")
        self.at_fork = here if r.epoch == (was[0] if was else r.forks[-1] if is_new else None) else None

    def deliver(self, m):
        r = self.replica
        r.steps_to_crash = self.rng.randrange(7) if self.rng.random() < .06 else None
        try:
            if r.receive(m) and len(r.parked) < self.ROOM_FOR_PARKED: r.parked.append(m)
            r.steps_to_crash = None
        except Crash:
            r.restart()
            if self.rng.random() < .6: self.queue.insert(0, m)              # it comes again; or the queue was lost
            elif self.rng.random() < .5: self.queue.clear()

    def drift(self):
        """Somebody edits the replica's disk."""
        p, disk = self.rng.choice(PATHS), self.replica.disk
        if any(q in disk for q in below(p)) or parent(p) and not is_dir(disk.get(parent(p))): return
        self.drifted.add(p)
        self.was_held.pop(p, None)
        if p in disk and self.rng.random() < .5: del disk[p]
        else: disk[p] = "f:foreign"

    def send_answer(self, m):
        if isinstance(m, Bucket) and self.rng.random() < .05:               # a part of it is lost on the way
            m = m._replace(rows={p: e for p, e in m.rows.items() if self.rng.random() < .5})
        self.recorded.append(m)
        if self.rng.random() < .4: self.queue.insert(self.rng.randrange(len(self.queue) + 1), m)
        else: self.slow.append(m)

    def act(self, what):
        rng, r, p, queue = self.rng, self.replica, self.producer, self.queue
        if what == "change":
            m = p.change()
            if m: queue.append(m); self.recorded.append(m)
        elif what == "heartbeat": queue.append(p.heartbeat())
        elif what == "epoch":
            if self.has_doubts: p.vouched = rng.random() < .3
            queue.append(p.start_epoch())
        elif what == "lose" and queue: queue.pop(rng.randrange(len(queue)))
        elif what == "replay" and self.recorded: queue.append(rng.choice(self.recorded))
        elif what == "swap" and len(queue) > 1:
            i = rng.randrange(len(queue) - 1)
            queue[i], queue[i + 1] = queue[i + 1], queue[i]
        elif what == "purge": queue.clear()
        elif what == "restart": r.restart()
        elif what == "drift": self.drift()
        elif what == "bug":
            path = rng.choice(PATHS)
            if path in r.entry and not is_dir(r.entry[path]): r.entry[path] = BUG
        elif what == "scrub looks": r.scrub_looks(rng.choice(PATHS))
        elif what == "scrub acts": r.scrub_acts()
        elif what == "break": r.broken.add(rng.choice(PATHS))
        elif what == "mend" and r.broken: r.broken.remove(rng.choice(sorted(r.broken)))
        elif what == "retry": r.retry(sorted(r.unmet))
        elif what == "release": p.vouched = True
        elif what == "release here": r.release("here")
        elif what == "impostor":
            m = p.impostor()
            if m: queue.append(m); self.recorded.append(m)
        elif what == "state lost": r.forget_all(); self.count["states lost, disk adopted"] += 1
        elif what == "back up": self.backup = copy.deepcopy(({k: getattr(r, k) for k in r.DURABLE}, self.drifted))
        elif what == "restore" and self.backup:                             # state and disk, of one moment
            durable, self.drifted = copy.deepcopy(self.backup)
            vars(r).update(durable)
            r.forget_volatile()
            self.count["restored from a backup"] += 1
        elif what == "ask": self.asked += r.questions(self.nonces)
        elif what == "answer" and self.asked:
            i = rng.randrange(len(self.asked))
            for m in p.answer(self.asked[i] if rng.random() < .1 else self.asked.pop(i)): self.send_answer(m)
        elif what == "land" and self.slow: queue.insert(0, p.publish(self.slow.pop(rng.randrange(len(self.slow)))))
        elif what == "deliver" and queue: self.deliver(queue.pop(0))
        elif what == "unpark":
            waiting, r.parked = r.parked, []
            for m in waiting: self.deliver(m); self.check("deliver")

    def storm(self):
        chaos = self.rng.choice([.1, .3, 1])
        weights = {**self.ALWAYS, **{what: n * chaos for what, n in self.CHAOS.items()}}
        if self.rng.random() < .4: weights |= self.PROBLEMS
        if self.rng.random() < .2: weights |= self.IMPOSTORS
        if self.has_doubts and self.rng.random() < .7: weights |= self.DOUBTS
        for what in self.rng.choices(list(weights), list(weights.values()), k=self.STEPS):
            self.act(what)
            self.check(what)

    def calm(self):
        """Faults stop, the master is idle: the replica must come to agree but for what is held, a person releases that, and
        then it must agree and be right.  A producer whose epoch is not its own starts again."""
        r, p = self.replica, self.producer
        r.broken.clear()
        if p.epoch in p.forged: self.queue.append(p.start_epoch(backups=False))
        for _ in range(self.CALM_STEPS):
            waiting, self.queue, r.parked = r.parked + (self.queue or [p.heartbeat()]), [], []
            for m in waiting:
                if r.receive(m): r.parked.append(m)
                self.check("calm")
            for q in r.questions(self.nonces): self.queue += p.answer(q)
            for path in PATHS: r.scrub_looks(path)
            for _ in PATHS: r.scrub_acts()
            r.retry(sorted(r.unmet))
            self.check("calm")
            if r.here != (p.epoch, p.seq) or r.entry != p.tree: continue
            if r.agreed() and r.disk == p.tree: return
            if r.held() and r.held() == r.unmet.keys() and r.proved == r.here: p.vouched = True
        raise Broken(f"never agrees: at {r.here} of {(p.epoch, p.seq)}, stale {sorted(r.stale)}, unmet {r.unmet}")

    def run(self):
        """None when every invariant held, else what broke."""
        try:
            self.storm()
            self.calm()
        except Broken as e:
            return str(e)
        return None


# ----------------------------------------------------------------------------------- 6. Rules left out, and command line
MUTANTS = {     # rules left out (joined by +): what the replica or the producer does then
    "wait-for-stream": "answers are merged at once, newest wins",
    "nonce": "answers to no open question are taken",
    "nonce+floor": "and answers from before the gap level a bucket",
    "nonce+floor+only-stale": "and level buckets are merged again",
    "close-questions": "questions stay open over a gap",
    "close-questions+floor": "and answers from before the gap level a bucket",
    "close-questions+floor-raised": "questions stay open, and a second gap does not raise the floor",
    "tombstones": "a live delete in a stale bucket leaves nothing",
    "newer-stays": "an answer overwrites what a later live event told",
    "plan": "a plan that is left is ignored",
    "whole-bucket": "a torn bucket answer is taken for a whole one",
    "one-read": "the rows of an answer are older than the position it states",
    "correct-guesses": "what is known does not override what is guessed, on disk",
    "deletes-by-name": "the producer names only the top of what it deletes",
    "unmet": "content not at hand is not remembered",
    "body-checked": "a body is placed whatever the index says by now",
    "compare-level": "the digest is compared while buckets are stale",
    "fence": "messages of lower epochs are taken",
    "epoch-marks": "a new epoch makes nothing stale",
    "base-before-jump": "since: the base is the position behind the gap",
    "base-kept": "since: marked again, the base moves up to where the bucket was not level",
    "base-covers": "since: buckets with an older base, or none, are levelled too",
    "base-not-over-epochs": "since: a base lives on in the next epoch",
    "base-not-after-plan": "since: a plan was left, the base stays",
    "base-not-after-divergence": "since: after a divergence the base is w",
    "too-old": "since: the producer does not notice that its log is too short",
    "all-parts": "since: merged when the first part is there",
    "one-answer": "since: parts are counted, whichever answer to the question they belong to",
    "stated-when-read": "an answer states the position of when it is published",
    "act-looks-again": "the scrub's finding is acted upon as it was found",
    "scrub-spares-unmet": "the scrub repairs what is unmet: problems, and what is held",
    "problem-is-unmet": "a path that could not be changed is not remembered",
    "absent-unmet": "an absence that could not be brought about is not remembered",
    "absence-stays": "a plan that is left makes entries of what should be absent and is not",
    "held-is-unmet": "what is held is not remembered",
    "needs-held": "what needs a held delete is done without it",
    "answers-judged": "only deletes of the stream are held",
    "corrections-judged": "wrong guesses are removed, whatever is held",
    "released-travels": "what the master says is released stays held here",
    "released-of-epoch": "what an epoch released is taken over into the next",
    "fork-stops": "after a fork it goes on with the epoch",
    "fork-heals": "the next epoch does not heal a fork",
}
KINDS = ["known' as", "contradicts", "false alarm", "changed on disk", "on disk", "never agrees", "fork", "boundary", "ENOT",
         "in the way", "no tree", "forgotten", "went from the disk", "nothing below", "content of nothing"]


def survey(name, seeds):
    """Runs broken, (first seed, what broke), what kinds of breaks, what the runs exercised."""
    broken, first, kinds, count = 0, None, Counter(), Counter()
    for seed in seeds:
        why = World(seed, name.split("+"), count).run()
        if why is None: continue
        broken, first = broken + 1, first or (seed, why)
        kinds[next((kind for kind in KINDS if kind in why), why)] += 1
    return broken, first, kinds, count


def main():
    args = argparse.ArgumentParser(description="Randomised check of the rules of agreement.")
    args.add_argument("--runs", type=int, default=500)
    args.add_argument("--seed", type=int, default=0, help="the first seed; --seed S --runs 1 repeats a run")
    args.add_argument("--flat", action="store_true", help="a tree without directories")
    args.add_argument("--mutant", choices=MUTANTS, help="leave rules out")
    args.add_argument("--all-mutants", action="store_true", help="leave each rule out in turn")
    args = args.parse_args()
    if args.flat: PATHS[:] = FLAT_PATHS
    failed = False
    for name in MUTANTS if args.all_mutants else [args.mutant or ""]:
        began = time.process_time()
        broken, first, kinds, count = survey(name, range(args.seed, args.seed + args.runs))
        failed |= (broken > 0) != bool(name)        # the rules must hold; a mutant must break
        text, seconds = MUTANTS.get(name, "all rules kept"), time.process_time() - began
        print(f"{broken:5d} of {args.runs} broken | {name or 'none left out'} | {text} ({seconds:.0f} s)", flush=True)
        if first: print(f"        first seed {first[0]}: {first[1]}\n        {dict(kinds)}")
        if not name: print("\n".join(f"{n:9d}  {what}" for what, n in sorted(count.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
