"""Decides what the stream makes of a replica: the rules of docs/agreement.md as functions. No disk, no database, no clock.

The state is a `Standing` (small, a value) and a `View` (the index, read only). A decision is a `Wait`, a `Drop`, or `Decided`:
one `Step` with its `Plan`. The names of the rules are the document's: follow, jump, apply, mark, level, compare; answers are
merged in `consumer.merging`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from common.digests import BUCKETS
from common.entries import BEFORE_ALL, Entry, Event, Position
from common.messages import Batch, Heartbeat, Lineage
from common.names import PATTERNS_PATH
from consumer.holds import LET_GO, Judge
from consumer.planning import Brake, ContradictionError, make_plan
from consumer.values import LeftPlan, Plan, Row, Stale, Standing, Step, Told, View

ALL_BUCKETS = range(BUCKETS)


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: it may only be reordering, or an answer that is ahead of the stream. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Done with, without effect. `reason` labels a counter; `alarm` says what to tell a person, "" for nothing."""

    reason: str
    alarm: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """Carry this out in one transaction. `again`: then give the same message once more."""

    step: Step
    plan: Plan = field(default_factory=Plan)
    again: bool = False


Decision = Wait | Drop | Decided


@dataclass(frozen=True, slots=True)
class Run:
    """A stream message: a batch, or a heartbeat as a batch of nothing."""

    lineage: Lineage
    first: int
    last: int
    prev: bytes
    hash: bytes
    before: bytes
    after: bytes
    batch: Batch | None
    released: int = 0

    @property
    def start(self) -> int:
        return self.first - 1


def as_run(message: Batch | Heartbeat) -> Run:
    """The same shape for both kinds of stream messages."""
    if isinstance(message, Batch):
        m = message
        return Run(m.lineage, m.first, m.last, m.prev, m.hash, m.before, m.after, m, m.released)
    at, head, digest = message.sequence, message.head, message.digest
    return Run(message.lineage, at + 1, at, head, head, digest, digest, None, message.released)


# ------------------------------------------------------------------------------------------------- level, stale, known


def mark(stale: Mapping[int, Stale], buckets: Iterable[int], at: Position, last_level: int | None) -> dict[int, Stale]:
    """These buckets are not trusted from `at` on. `last_level`: the sequence at which those of them that were level until now
    were level; None when the index itself is in doubt: then no base is left. The floor rises also where it was stale already."""
    marked = dict(stale)
    for bucket in buckets:
        old = stale.get(bucket)
        base = old.base if old is not None and last_level is not None else last_level
        marked[bucket] = Stale(at, base)
    return marked


def distrust_all(standing: Standing, last_level: int | None = None, **moved: object) -> Step:
    """Everything is stale from where `moved` brings the replica."""
    there = replace(standing, **moved)  # type: ignore[arg-type]  # dataclasses.replace has no typed keywords
    stale = mark(standing.stale, ALL_BUCKETS, there.position, last_level)
    return Step(replace(there, stale=stale, proved=None), marked=frozenset(ALL_BUCKETS))


def told(row: Row | None, tomb: Position | None) -> Position:
    """The position that last told us about a path."""
    at = row.at if row is not None else None
    return max(at or BEFORE_ALL, tomb or BEFORE_ALL)


def is_known(standing: Standing, view: View, path: bytes) -> bool:
    """Whether the index holds at this path exactly what the master has at our position."""
    stale = standing.stale.get(view.bucket_of(path))
    if stale is None:
        return True
    return told(view.rows([path]).get(path), view.tombs([path]).get(path)) > stale.floor


def known_ones(standing: Standing, view: View, paths: Collection[bytes]) -> list[bytes]:
    """Those of these indexed paths at which the index knows what the master has; in bulk."""
    rows, tombs = view.rows(paths), view.tombs(paths)
    known = []
    for path in paths:
        stale = standing.stale.get(view.bucket_of(path)) if standing.stale else None
        if stale is None or told(rows.get(path), tombs.get(path)) > stale.floor:
            known.append(path)
    return known


def is_agreed(standing: Standing, unmet_count: int) -> bool:
    """Nothing stale, nothing unmet, and the digest proved at exactly this position, of which there are no two versions."""
    return not standing.stale and not unmet_count and not standing.is_forked and standing.proved == standing.position


def floor_allows(stale: Stale, epoch: int, at: int) -> bool:
    """Whether an answer of this position may level the bucket: it must not be from before the bucket became stale."""
    return Position(epoch, at) >= stale.floor


def is_fenced(standing: Standing, lineage: Lineage) -> bool:
    """A lower epoch has nothing to say any more."""
    return lineage.epoch < standing.epoch


def may_compare(standing: Standing) -> bool:
    """Digests mean something only while nothing is stale."""
    return not standing.stale


# ------------------------------------------------------------------------------------------------------------ messages


def is_of_another_lineage(standing: Standing, lineage: Lineage) -> bool:
    """Same epoch, but drawn by another instance, or with another salt."""
    if lineage.epoch != standing.epoch:
        return False
    return lineage.instance != standing.instance or lineage.salt != standing.salt


def on_stream(
    standing: Standing, view: View, message: Batch | Heartbeat, *, patient: bool, judge: Judge = LET_GO
) -> Decision:
    """What a stream message makes of the replica. `patient`: a hole before it may still be filled by reordering. `judge`: who
    says how many deletes are too many."""
    run = as_run(message)
    if is_fenced(standing, run.lineage):
        return Drop("fenced")
    if run.lineage.epoch > standing.epoch:
        return Decided(follow(standing, view, run), again=True)
    if is_of_another_lineage(standing, run.lineage):
        return Drop("other-instance", f"another producer publishes epoch {run.lineage.epoch}")
    if standing.is_forked:
        return Drop("fork")
    return _in_epoch(standing, view, run, patient, judge)


def _in_epoch(standing: Standing, view: View, run: Run, patient: bool, judge: Judge) -> Decision:
    at = standing.sequence
    if run.last < at or (run.last == at and run.batch is not None):
        return Drop("duplicate") if view.recent(run.last) in {None, run.hash} else _fork(standing, run)
    if run.start > at:
        if patient:
            return Wait()
        return Decided(jump(standing, run), again=True)
    if run.start < at or run.prev != standing.head:
        return _fork(standing, run)
    if run.batch is not None:
        return apply(standing, view, [run.batch], judge)
    return _heard(standing, view, run)


def _fork(standing: Standing, run: Run) -> Decided:
    """The same position with other bytes. Nothing more of this epoch is applied; the next epoch heals it."""
    return Decided(Step(replace(standing, is_forked=True, proved=None), alarm="fork"))


def follow(standing: Standing, view: View, run: Run) -> Step:
    """A higher epoch is followed at once. Nothing becomes stale if our tree is the one that it starts from."""
    lineage = run.lineage
    start = replace(
        standing,
        epoch=lineage.epoch,
        instance=lineage.instance,
        salt=lineage.salt,
        sequence=run.start,
        head=run.prev,
        digest=run.before,
        proved=None,
        is_forked=False,
        released=0,
    )
    if starts_from_ours(standing, view, run):
        return Step(replace(start, proved=start.position), forget_recent=True)
    return replace(distrust_all(start), forget_recent=True)


def starts_from_ours(standing: Standing, view: View, run: Run) -> bool:
    """Whether the epoch starts from exactly the tree that we hold."""
    return not standing.stale and standing.salt == run.lineage.salt and view.tree_digest() == run.before


def jump(standing: Standing, run: Run) -> Step:
    """A gap: go on behind it. What was level was level where we were, not where we are now."""
    was = standing.sequence
    return distrust_all(standing, was, sequence=run.start, head=run.prev, digest=run.before)


def skip(standing: Standing, run: Run) -> Step:
    """Give a batch up that has no room on the disk: a gap on purpose. The sync that follows removes before it adds."""
    return distrust_all(standing, standing.sequence, sequence=run.last, head=run.hash, digest=run.after)


def is_next(standing: Standing, batch: Batch) -> bool:
    """Whether this batch is the one that comes after our position, in our lineage."""
    is_ours = batch.lineage.epoch == standing.epoch and not is_of_another_lineage(standing, batch.lineage)
    return is_ours and not standing.is_forked and batch.first - 1 == standing.sequence and batch.prev == standing.head


def continues(before: Batch, batch: Batch) -> bool:
    """Whether a batch comes right after another, so that both may be applied as one set.

    Not one that changes the patterns: what an earlier one deletes may be protected by the later one.
    """
    is_next_one = batch.lineage == before.lineage and batch.first == before.last + 1 and batch.prev == before.hash
    return is_next_one and all(event.path != PATTERNS_PATH for event in batch.events)


def apply(standing: Standing, view: View, batches: Sequence[Batch], judge: Judge = LET_GO) -> Decision:
    """The next batch, or several that continue one another, as one set: what a later one says of a path is what counts.

    Checked before anything is touched: the digest that the last one states must come of it.
    """
    want: dict[bytes, Told] = {}
    for batch in batches:
        for sequence, event in enumerate(batch.events, batch.first):
            at = Position(batch.lineage.epoch, sequence)
            want[event.path] = Told(event.entry, at, _body_of(event, want.get(event.path)), event.keep)
    last = batches[-1]
    after = replace(standing, sequence=last.last, head=last.hash, digest=last.after, proved=None)
    after = learned(after, max(batch.released for batch in batches))
    step = Step(after, want=want, recent=tuple((batch.last, batch.hash) for batch in batches))
    return conclude(standing, view, step, judge)


def learned(standing: Standing, released: int) -> Standing:
    """Up to where deletes are released: the highest that this epoch stated."""
    return replace(standing, released=released) if released > standing.released else standing


def _body_of(event: Event, earlier: Told | None) -> bytes | None:
    """The event's content; where it changes mode or time alone, that of the earlier event of the same set."""
    if (
        event.body is None
        and event.entry is not None
        and earlier is not None
        and event.entry.same_content(earlier.entry)
    ):
        return earlier.body
    return event.body


def _heard(standing: Standing, view: View, run: Run) -> Decision:
    """A heartbeat for exactly our position: a batch of nothing. It states the digest anew; compare it. Nothing to write where
    that was proved before, and still holds."""
    before, standing = standing, learned(standing, run.released)
    if run.after != standing.digest:
        standing = replace(standing, digest=run.after, proved=None)
    elif standing is before and (not may_compare(standing) or _is_proved(standing, view)):
        return Drop("heard")
    return conclude(standing, view, Step(standing))


def _is_proved(standing: Standing, view: View) -> bool:
    return standing.proved == standing.position and view.tree_digest() == standing.digest


# --------------------------------------------------------------------------------------------------------------- start


def is_unfinished(left: LeftPlan, standing: Standing) -> bool:
    """Whether a plan that a crash left was never committed: then the index does not know what the disk has at its paths."""
    return left.number > standing.commits


def in_doubt(left: LeftPlan, view: View, is_directory_on_disk: Callable[[bytes], bool]) -> set[bytes]:
    """The paths of a left plan, and what is indexed below those of them that are no directory on the disk."""
    paths = set(left.paths)
    for path in left.paths:
        if not is_directory_on_disk(path):
            paths.update(view.below(path))
    return paths


def after_left_plan(standing: Standing, buckets: Iterable[int]) -> Standing:
    """These buckets hold what the disk was found to have: guesses, without a base."""
    stale = mark(standing.stale, buckets, standing.position, None)
    return replace(standing, stale=stale, proved=None)


# ------------------------------------------------------------------------------------------------------------- compare


def conclude(before: Standing, view: View, step: Step, judge: Judge = LET_GO) -> Decision:
    """Plan the step, and compare if nothing is stale after it: the proof is the digest that was published for exactly here."""
    try:
        plan = make_plan(
            step.want, view, lambda path: is_known(before, view, path), step.drift, Brake(step.standing, judge)
        )
    except ContradictionError:
        return Decided(diverged(step))
    standing = step.standing
    if may_compare(standing):
        if _digest_after(view, step, plan) != standing.digest:
            return Decided(diverged(step))
        standing = replace(standing, proved=standing.position)
    if not plan.is_empty:
        standing = replace(standing, commits=standing.commits + 1)
    return Decided(replace(step, standing=standing), plan)


def _digest_after(view: View, step: Step, plan: Plan) -> bytes:
    changes: dict[bytes, Entry | None] = dict(plan.corrections)
    changes.update((path, told.entry) for path, told in step.want.items())
    return view.tree_digest_with(changes) if changes else view.tree_digest()


def diverged(step: Step) -> Step:
    """What was known was wrong. Nothing of the step is applied, the position moves on, everything is stale without a base."""
    marked = distrust_all(step.standing)
    return replace(marked, recent=step.recent, alarm="diverged")
