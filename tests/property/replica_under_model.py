"""The consumer's rooms in the model's hostile world: an adapter with the model's words on one side, ours on the other.

`ReplicaUnderModel` has the face of the model's replica; inside are `consumer.agreement`, `planning`, `asking`, `drifting`. What
it stands on is left open: `OurReplica` has the in-memory twin of the state, and a disk that is a dict with the constraints of a
real one; `real_replica_under_model` has the real ones.
"""

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from hashlib import blake2b
from typing import Any, ClassVar, TypeVar

from common.departures import Departed, Difference
from common.digests import content_digest, rows_digest
from common.entries import Entry, Event, directory_entry, file_entry
from common.messages import (
    AskBodies,
    AskBuckets,
    AskDigests,
    AskSince,
    Batch,
    BodyAnswer,
    BucketRows,
    Heartbeat,
    Lineage,
    Same,
    Since,
    TooOld,
)
from common.names import ROOT, ancestors
from consumer import agreement, drifting, excluding, holds, merging
from consumer.asking import SINCE_TIMEOUT_SECONDS, Asking, Wants
from consumer.drifting import Seen
from consumer.gathering import Came, Gathering, Spool
from consumer.state import State
from consumer.values import Drift, Found, LeftPlan, Outcome, Plan, Put, Reason, Step, Unmet
from tests.memory_spool import MemorySpool
from tests.memory_state import MemoryState
from tests.model import agreement_model

model: Any = agreement_model
Tree = Mapping[bytes, Entry]
SALT = bytes(32)
MODES = {"0": 0o750, "1": 0o751, "?": 0o755, "unfinished": 0o700}
NAMES = {mode: name for name, mode in MODES.items()}
CONTENTS: dict[bytes, str] = {}


@cache
def entry_of(text: str) -> Entry:
    """The model's "d:<mode>" or "f:<content>" as an entry of ours."""
    kind, _, value = text.partition(":")
    if kind == "d":
        return directory_entry(MODES[value])
    digest = content_digest(value.encode())
    CONTENTS[digest] = value
    return file_entry(0o644, 0, len(value), digest)


def text_of(entry: Entry) -> str:
    """And back."""
    return f"d:{NAMES[entry.mode]}" if entry.is_directory else f"f:{CONTENTS[entry.digest]}"


def body_of(text: str | None) -> bytes | None:
    """The content of the model's file."""
    return text[2:].encode() if text is not None and text.startswith("f:") else None


def tree_of(tree: dict[str, str]) -> dict[bytes, Entry]:
    """The model's tree as a tree of ours."""
    return {path.encode(): entry_of(text) for path, text in tree.items()}


def hash_of(name: object) -> bytes:
    """32 bytes for the model's name of a batch."""
    return blake2b(str(name).encode(), digest_size=32).digest()


def nonce_of(number: int) -> bytes:
    """16 bytes for the model's nonce."""
    return number.to_bytes(16, "big")


def lineage_of(epoch: int) -> Lineage:
    """One instance for each epoch."""
    return Lineage("model", epoch, epoch.to_bytes(16, "big"), SALT)


def small_bucket(path: bytes) -> int:
    """The model's bucket."""
    return int(model.bucket(path.decode()))


class IndexView(dict[str, str]):
    """The index in the model's words; assigning to it plants a bug."""

    def __init__(self, entries: Mapping[bytes, Entry], plant: Callable[[bytes, Entry], None]) -> None:
        super().__init__({path.decode(): text_of(entry) for path, entry in entries.items()})
        self._plant = plant

    def __setitem__(self, path: str, text: str) -> None:
        super().__setitem__(path, text)
        self._plant(path.encode(), entry_of(text))


class ReplicaUnderModel(ABC):
    """A replica made of our rooms, with the face of the model's."""

    state: MemoryState | State
    disk: dict[str, str]
    """What stands on the disk, in the model's words; the world edits it."""

    def __init__(self, rng: random.Random, count: Counter[str]) -> None:
        self.rng, self.count = rng, count
        self.alarms = 0
        self.forks: list[int] = []
        self.broken: set[str] = set()
        self.made: set[str] = set()
        self.hold_limit: int | None = None
        self.forged: set[int] = set()
        self.entry_at_alarm: dict[str, str] = {}
        self.ahead: dict[int, tuple[int, int]] = {}
        self.nonces: Iterator[int] = iter(())
        self.since_first = rng.choice([0, 0.6, 1, 1])
        """How often since is asked where it can be: a matter of cost only."""
        self.forget_volatile()

    # -- what it stands on
    @abstractmethod
    def forget_all(self) -> None:
        """The state is lost: the disk is adopted."""

    @abstractmethod
    def restart(self) -> None:
        """The process starts anew, by the start's rules."""

    @abstractmethod
    def carry_out_step(self, decided: agreement.Decided) -> None:
        """Content and plan, names, index."""

    @abstractmethod
    def digest_of(self, tree: Tree) -> bytes:
        """The digest of any tree, as our replica computes it."""

    @abstractmethod
    def bucket_digest_of(self, tree: Tree, bucket: int) -> bytes:
        """The digest of one bucket of any tree."""

    @abstractmethod
    def plant(self, path: bytes, entry: Entry) -> None:
        """A bug writes this into the index."""

    def new_spool(self) -> Spool:
        """Where the rows of since answers wait."""
        return MemorySpool()

    # -- the model's face
    @property
    def here(self) -> tuple[int, int]:
        return self.state.standing().position

    @property
    def epoch(self) -> int:
        return self.state.standing().epoch

    @property
    def w(self) -> int:
        return self.state.standing().sequence

    @property
    def stale(self) -> Any:
        return self.state.standing().stale

    @property
    def entry(self) -> IndexView:
        rows = self.state.rows(self.state.below(ROOT))
        return IndexView({path: row.entry for path, row in rows.items()}, self.plant)

    @property
    def unmet(self) -> dict[str, str]:
        return {path.decode(): str(why.reason) for path, why in self.state.unmet_paths(1000).items()}

    @property
    def found(self) -> set[str]:
        rows = self.state.rows(self.state.below(ROOT))
        return {path.decode() for path, row in rows.items() if row.found}

    @property
    def forked(self) -> bool:
        return self.state.standing().is_forked

    @property
    def proved(self) -> tuple[int, int] | None:
        return self.state.standing().proved

    @property
    def head(self) -> bytes:
        return self.state.standing().head

    def held(self) -> set[str]:
        return {path for path, why in self.unmet.items() if why == "held"}

    def known(self, path: str) -> bool:
        return agreement.is_known(self.state.standing(), self.state, path.encode())

    def agreed(self) -> bool:
        return agreement.is_agreed(self.state.standing(), len(self.unmet))

    def forget_volatile(self) -> None:
        self.asking = Asking(lambda: nonce_of(next(self.nonces)))
        self.gathering = Gathering(self.new_spool())
        self.gathered: list[merging.Merged] = []
        self.together: list[Batch] = []
        self.parked: list[Any] = []
        self.suspicions: list[str] = []
        self.deletes: dict[bytes, int] = {}
        self.steps_to_crash: int | None = None

    def retry(self, _: list[str]) -> None:
        """Try again to place what a problem left unmet, and what is released."""
        released: list[bytes] = self.state.parked.released(self.rng.choice([1, 2, 1000]))
        for paths in (self.state.unmet_paths(1000, Reason.PROBLEM), released):
            if paths:
                self.carry_out(merging.retry(self.state.standing(), self.state, paths))

    # -- holds
    def too_many(self, going: Sequence[Departed], coming: Iterable[Difference]) -> Collection[bytes]:
        """The judge, by the model's limit: all of them, or none."""
        index = self.state.rows(self.deletes)
        counted = {departed.path for departed in going} | {path for path in self.deletes if path not in index}
        if self.hold_limit is None or len(counted) <= self.hold_limit:
            return []
        self.count["deletes held"] += len(going)
        return [departed.path for departed in going]

    def release(self, why: str) -> None:
        """What is held may go."""
        if self.state.parked.release():
            self.count["holds released " + why] += 1

    def after_holds(self, plan: Plan) -> None:
        """What went counts for a while; and what the master says is released is released here."""
        if plan.let_go:
            self.deletes = {path: n - 1 for path, n in self.deletes.items() if n > 1} | dict.fromkeys(plan.let_go, 3)
        if holds.is_all_released(self.state.standing()):
            self.release("by the master")

    def scrub_looks(self, path: str) -> None:
        """One look of the scrub, beside the thread that applies."""
        self.suspicions += [name.decode() for name in self.drift_at([path.encode()])]

    def scrub_acts(self) -> None:
        """The thread that applies, some time later: it looks again, at some of what is suspected, and has it put right."""
        self.rng.shuffle(self.suspicions)
        count = self.rng.randrange(1, 4)
        paths, self.suspicions = self.suspicions[:count], self.suspicions[count:]
        drift = self.drift_at({path.encode() for path in paths})
        self.count["drift found by the scrub"] += len(drift)
        self.carry_out(drifting.put_right(self.state.standing(), self.state, drift))

    def drift_at(self, paths: Collection[bytes]) -> dict[bytes, Drift]:
        """Which of these paths the disk shows as they should not be, as our scrub judges it."""
        asked = drifting.in_question(self.state.standing(), self.state, paths)
        rows = self.state.rows(asked)
        found = {}
        for path in asked:
            wanted = rows[path].entry if path in rows else None
            drift = drifting.drift_at(wanted, self.look(path, wanted))
            if drift is not None:
                found[path] = drift
        return found

    def look(self, path: bytes, expected: Entry | None) -> Seen:
        """What stands on the disk there now."""
        text = self.disk.get(path.decode())
        return Seen(entry_of(text)) if text is not None else drifting.ABSENT

    # -- messages
    def receive(self, m: Any) -> bool:
        """One message of the model. True: it has to wait."""
        message = translated(m, self)
        if isinstance(message, Batch | Heartbeat):
            self.flush()
            return self.on_stream(message)
        self.apply_together()
        return self.on_answer(message)

    def on_stream(self, message: Batch | Heartbeat) -> bool:
        """A batch that comes next may wait for those that continue it; all of them are then one set."""
        if isinstance(message, Batch) and self.joins(message):
            self.together.append(message)
            if self.rng.random() < 0.6:
                self.apply_together()
            return False
        self.apply_together()
        while True:
            patient = self.rng.random() < 0.7
            decision = agreement.on_stream(self.state.standing(), self.state, message, patient=patient, judge=self)
            if isinstance(decision, agreement.Wait):
                return True
            if not self.carry_out(decision):
                return False

    def joins(self, batch: Batch) -> bool:
        """Whether it is next, or continues what waits."""
        if self.together:
            return agreement.continues(self.together[-1], batch)
        return agreement.is_next(self.state.standing(), batch)

    def apply_together(self) -> None:
        """Apply what waits, as one set."""
        together, self.together = self.together, []
        if together:
            self.count["batches applied together"] += len(together) > 1
            self.carry_out(agreement.apply(self.state.standing(), self.state, together, self))

    def on_answer(self, answer: merging.Answer) -> bool:
        if not self.asking.expects(answer):
            return False
        refused = merging.refuses(self.state.standing(), answer)
        if isinstance(refused, agreement.Wait):
            return True
        if refused is None:
            self.take(answer)
        if self.rng.random() < 0.6:
            self.flush()
        return False

    def take(self, answer: merging.Answer) -> None:
        """An answer that is not refused."""
        if isinstance(answer, TooOld):
            self.asking.answered(answer, 0.0)
            self.count["since too old"] += 1
            self.carry_out(merging.forget_bases(self.state.standing(), answer.reach))
        elif isinstance(answer, Since):
            self.asking.heard(answer, 0.0)
            self.gathering.keep(self.asking.open)
            if self.gathering.gather(answer, self.state.bucket_of) is Came.WHOLE:
                self.asking.answered(answer, 0.0)
        else:
            self.gathered.append(answer)

    def flush(self) -> None:
        """Merge what was gathered, in one step, and some slices of a since answer, each in one."""
        self.merge_gathered()
        while self.gathering.is_merging and self.rng.random() < 0.7:
            self.merge_slice()

    def merge_slice(self) -> None:
        part = self.gathering.next_slice(self.state.standing().stale)
        if part is None:
            return
        decision = merging.merge_slice(self.state.standing(), self.state, part, self)
        if isinstance(decision, agreement.Decided):
            self.count["slices of since answers merged"] += 1
            self.ahead.update(dict.fromkeys(decision.step.levelled, (self.epoch, part.at)))
        self.carry_out(decision)

    def merge_gathered(self) -> None:
        gathered, self.gathered = [a for a in self.gathered if self.asking.expects(a)], []
        if not gathered:
            return
        for answer in gathered:
            self.asking.answered(answer, 0.0)
            if isinstance(answer, BucketRows):
                self.ahead[answer.bucket] = (answer.lineage.epoch, answer.at)
            if isinstance(answer, Same):
                self.ahead.update(dict.fromkeys(answer.buckets, (answer.lineage.epoch, answer.at)))
        self.count["answers merged together"] += len(gathered) > 1
        self.carry_out(merging.merge(self.state.standing(), self.state, gathered, self))

    def carry_out(self, decision: agreement.Decision) -> bool:
        """One step. Returns whether the same message must be given again."""
        if not isinstance(decision, agreement.Decided):
            return False
        self.note(decision.step)
        present = {path for path, told in decision.step.want.items() if told.entry is not None}
        present |= {path for path, entry in decision.plan.corrections.items() if entry is not None}
        self.made |= {path.decode() for path in present}
        self.carry_out_step(decision)
        self.after_holds(decision.plan)
        return decision.again

    def after_commit(self, step: Step) -> None:
        """What a durable step closes."""
        if step.closes_questions:
            self.asking.close_all()
            self.gathering.forget()
            self.gathered = []

    def note(self, step: Step) -> None:
        if step.alarm == "fork":
            self.forks.append(step.standing.epoch)
            self.count["forks seen"] += 1
        elif step.alarm:
            self.alarms += 1
            self.entry_at_alarm = dict(self.entry)
        self.count["steps"] += 1

    def questions(self, nonces: Iterator[int]) -> list[Any]:
        """What our asking asks, in the model's words."""
        self.nonces = nonces
        self.apply_together()
        self.flush()
        for nonce in [n for n in self.asking.open if self.rng.random() < 0.05]:
            del self.asking.open[nonce]
        standing = self.state.standing()
        if not standing.epoch or standing.is_forked:
            return []
        missing = self.state.unmet_paths(1000, Reason.BODY)
        unmet = [path for path in missing if agreement.is_known(standing, self.state, path)]
        bodies = {path: row.entry for path, row in self.state.rows(unmet).items()}
        self.asking.since_tries = 0 if self.rng.random() < self.since_first else len(SINCE_TIMEOUT_SECONDS)
        is_merging = self.gathering.is_merging
        first = excluding.first_bucket(standing, self.state)
        wants = Wants(
            standing.stale, self.state.bucket_digest, lambda limit, after: bodies, is_merging=is_merging, first=first
        )
        entry = dict(self.entry)
        asked = []
        for nonce, ask in self.asking.next(wants, 0.0):
            number = int.from_bytes(nonce, "big")
            if isinstance(ask, AskDigests):
                about = {b: model.digest(model.in_bucket(entry, b)) for b in model.BUCKETS}
                asked.append(model.Question("digests", standing.epoch, number, about))
            elif isinstance(ask, AskBuckets):
                asked += [model.Question("bucket", standing.epoch, number, b) for b in ask.buckets]
            elif isinstance(ask, AskSince):
                asked.append(model.Question("since", standing.epoch, number, ask.base))
            elif isinstance(ask, AskBodies):
                asked += [
                    model.Question("body", standing.epoch, number, (p.decode(), f"f:{CONTENTS[d]}"))
                    for p, d in ask.wanted
                ]
        return asked


class OurReplica(ReplicaUnderModel):
    """Pure rooms over the state's twin, and a disk that is a dict."""

    DURABLE = ("disk", "state", "plan")

    def __init__(self, rng: random.Random, count: Counter[str]) -> None:
        self.disk: dict[str, str] = {}
        self.state: MemoryState = MemoryState(SALT, small_bucket, len(model.BUCKETS))
        self.plan: LeftPlan | None = None
        super().__init__(rng, count)

    def digest_of(self, tree: Tree) -> bytes:
        return self.state.digest_of(tree)

    def bucket_digest_of(self, tree: Tree, bucket: int) -> bytes:
        return self.state.bucket_digest_of(tree, bucket)

    def plant(self, path: bytes, entry: Entry) -> None:
        self.state._index[path] = self.state._index[path]._replace(entry=entry)

    def forget_all(self) -> None:
        self.state = MemoryState(SALT, small_bucket, len(model.BUCKETS))
        self.state.adopt(
            [Found(path.encode(), entry_of(text)) for path, text in self.disk.items()], first_copy_complete=False
        )
        self.plan = None
        self.forget_volatile()

    def restart(self) -> None:
        """A plan that was left is resolved first."""
        self.forget_volatile()
        left, self.plan = self.plan, None
        standing = self.state.standing()
        if left is None or not agreement.is_unfinished(left, standing):
            return
        self.count["plans resolved"] += 1
        paths = agreement.in_doubt(left, self.state, lambda p: self.disk.get(p.decode(), "").startswith("d:"))
        on_disk = {path: entry_of(self.disk[path.decode()]) for path in paths if path.decode() in self.disk}
        buckets = {self.state.bucket_of(path) for path in paths}
        absent = holds.absences(paths, on_disk.keys(), self.state)
        self.count["absences that outlive a plan"] += len(absent)
        marked = agreement.after_left_plan(standing, buckets)
        self.state.take_from_disk(paths, on_disk, marked, token=b"", absent=absent)

    def carry_out_step(self, decided: agreement.Decided) -> None:
        step, plan = decided.step, decided.plan
        outcome = Outcome()
        if not plan.is_empty:
            self.plan = LeftPlan(step.standing.commits, plan.touched)
            outcome = self.swap(plan)
            self.crash_point()
        self.state.commit(step, plan, outcome)
        self.after_commit(step)
        self.crash_point()
        self.plan = None

    # -- the disk
    def crash_point(self) -> None:
        if self.steps_to_crash is not None:
            self.steps_to_crash -= 1
            if self.steps_to_crash < 0:
                raise model.Crash

    def put(self, path: str, text: str | None) -> None:
        """One disk operation. What is broken cannot be changed, and nothing that is directly in it."""
        self.crash_point()
        if {path, path.rpartition("/")[0]} & self.broken & self.disk.keys():
            raise model.Problem
        if text is None:
            self.disk.pop(path, None)
            return
        above = path.rpartition("/")[0]
        if above and not self.disk.get(above, "").startswith("d:"):
            raise model.Broken(f"ENOTDIR {path}")
        self.disk[path] = text

    def remove(self, path: str) -> None:
        """A path with everything below it, deepest first."""
        for other in sorted(
            (q for q in self.disk if q == path or q.startswith(path + "/")), key=lambda q: -q.count("/")
        ):
            self.put(other, None)

    def make_directory(self, path: str, mode: int) -> None:
        if not self.disk.get(path, "").startswith("d:"):
            self.remove(path)
            self.put(path, f"d:{NAMES[mode]}")

    def reach(self, path: bytes, plan: Plan) -> None:
        """Every directory above, made again where it is not there."""
        for above in ancestors(path):
            self.make_directory(above.decode(), plan.above[above].mode)

    def swap(self, plan: Plan) -> Outcome:
        """In the plan's order; what fails at one path stops nothing else."""
        failed: dict[bytes, Unmet] = {}
        self.each(plan.clear, self.clear, failed)
        self.each([made.path for made in plan.directories], partial(self.make, plan), failed)
        self.each([content.path for content in plan.contents], partial(self.place, plan), failed)
        self.each(plan.remove, self.clear, failed)
        self.each([made.path for made in plan.directories], partial(self.set_mode, plan), failed)
        self.count["problems met"] += len(failed)
        return Outcome(failed)

    def each(self, paths: Collection[bytes], do: Callable[[bytes], None], failed: dict[bytes, Unmet]) -> None:
        for path in paths:
            if path not in failed:
                try:
                    do(path)
                except model.Problem:
                    failed[path] = Unmet(Reason.PROBLEM, "broken")

    def clear(self, path: bytes) -> None:
        self.remove(path.decode())

    def make(self, plan: Plan, path: bytes) -> None:
        (made,) = [made for made in plan.directories if made.path == path]
        self.reach(path, plan)
        self.make_directory(path.decode(), made.mode)

    def set_mode(self, plan: Plan, path: bytes) -> None:
        (made,) = [made for made in plan.directories if made.path == path]
        self.put(path.decode(), f"d:{NAMES[made.mode]}")

    def place(self, plan: Plan, path: bytes) -> None:
        (content,) = [content for content in plan.contents if content.path == path]
        target = path.decode()
        self.reach(path, plan)
        if self.disk.get(target, "").startswith("d:"):
            self.remove(target)
        if isinstance(content, Put) and content.body is not None:
            self.put(target, f"f:{content.body.decode()}")


def event_of(path: str, text: str | None, with_body: bool) -> Event:
    """The model's (path, entry) as an event."""
    if text is None:
        return Event(path.encode(), None)
    return Event(path.encode(), entry_of(text), body_of(text) if with_body else None)


def translated(m: Any, replica: ReplicaUnderModel) -> Batch | Heartbeat | merging.Answer:
    """A message of the model as one of ours."""
    lineage = lineage_of(m.epoch)
    if isinstance(m, model.Batch):
        before, after = replica.digest_of(tree_of(dict(m.before))), replica.digest_of(tree_of(dict(m.after)))
        if not m.events:
            return Heartbeat(lineage, m.last, hash_of(m.hash), after, 0, 0, released=m.released)
        events = tuple(event_of(path, text, True) for path, text in m.events)
        return Batch(lineage, m.first, events, hash_of(m.prev), before, after, hash_of(m.hash), m.released)
    nonce = nonce_of(m.nonce)
    if isinstance(m, model.Same):
        return Same(lineage, "r", nonce, m.at, tuple(m.buckets), m.released)
    if isinstance(m, model.Bucket):
        rows = tuple(event_of(path, text, path in m.bodies) for path, text in m.rows.items())
        digest = replica.bucket_digest_of(tree_of(dict(m.digest)), m.bucket)
        return BucketRows(lineage, "r", nonce, m.at, m.bucket, digest, rows, m.released)
    if isinstance(m, model.Since):
        rows = tuple(event_of(path, text, path in m.bodies) for path, text in m.rows.items())
        whole = ((path.encode(), entry_of(text) if text is not None else None) for path, text in m.digest)
        return Since(lineage, "r", nonce, m.at, m.base, m.part, m.parts, rows_digest(SALT, whole), rows, m.released)
    if isinstance(m, model.TooOld):
        return TooOld(lineage, "r", nonce, 0, m.reach)
    content = body_of(m.content)
    assert content is not None
    return BodyAnswer(lineage, "r", nonce, 0, m.path.encode(), content_digest(content), content)


AnyReplica = TypeVar("AnyReplica", bound=ReplicaUnderModel)


class OurWorld(model.World):  # type: ignore[misc]  # the model is untyped
    """The model's world with our replica in it."""

    def __init__(self, seed: int, count: Counter[str] | None = None) -> None:
        super().__init__(seed, (), count)
        self.hold_limit = self.replica.hold_limit
        self.replica: Any = self.with_limit(OurReplica(self.rng, self.count))

    def with_limit(self, replica: "AnyReplica") -> "AnyReplica":
        """This replica, with the limit of deletes that the storm drew."""
        replica.hold_limit, replica.forged = self.hold_limit, self.producer.forged
        return replica


class DoubtfulWorld(OurWorld):
    """Nobody vouches for the producer, few deletes are too many, and processes die often."""

    DOUBTFUL = 1
    CHAOS: ClassVar[dict[str, float]] = {**model.World.CHAOS, "epoch": 0.6}

    def with_limit(self, replica: "AnyReplica") -> "AnyReplica":
        self.hold_limit = self.rng.choice([0, 2])
        return super().with_limit(replica)


def survey(
    seeds: range, enough: int = 0, world: Callable[[int, Counter[str]], Any] = OurWorld
) -> tuple[int, list[tuple[int, str]], Counter[str]]:
    """Runs made, what broke by seed, what the runs exercised. Ends early once `enough` have broken."""
    broken: list[tuple[int, str]] = []
    count: Counter[str] = Counter()
    runs = 0
    for seed in seeds:
        runs += 1
        try:
            why = world(seed, count).run()
        except (model.Broken, KeyError, AssertionError) as error:
            why = repr(error)
        if why is not None:
            broken.append((seed, why))
            if enough and len(broken) >= enough:
                break
    return runs, broken, count
