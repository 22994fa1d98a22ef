"""The rules of docs/agreement.md hold in our code under the model's random storms, and each of them is needed.

`TREECAST_TEST_STORMS` sets how many storms are run with all rules kept (default 120).
"""

import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable

import pytest

from common.digests import EMPTY_BUCKET, content_digest, rows_digest
from common.entries import Entry, Event, Position
from common.messages import Ask, AskBuckets, AskDigests, AskSince, Batch, BodyAnswer, BucketRows, Heartbeat, Same, Since
from consumer import agreement, gathering
from consumer.asking import OpenQuestion, Wants
from consumer.values import LeftPlan, Stale
from tests.memory_state import MemoryState
from tests.model import agreement_model as model
from tests.property.mutants import MUTANTS
from tests.property.replica_under_model import (
    SALT,
    DoubtfulWorld,
    OurReplica,
    OurWorld,
    entry_of,
    hash_of,
    lineage_of,
    survey,
)

STORMS = int(os.environ.get("TREECAST_TEST_STORMS", "120"))
STORMS_FOR_A_MUTANT = 120
RARE = {
    *("nonce", "close-questions", "body-checked", "fence"),
    *("base-not-after-plan", "base-not-after-divergence", "one-answer", "absence-stays"),
}
"""Random storms find these seldom: each has a scenario below."""
OF_HOLDS = {
    *("held-is-unmet", "needs-held", "answers-judged", "corrections-judged", "released-travels", "released-of-epoch"),
}
"""Storms with a producer that nobody vouches for find these soon."""


@pytest.fixture(autouse=True)
def four_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "ALL_BUCKETS", model.BUCKETS)
    monkeypatch.setattr(gathering, "SLICE_ROWS", 1)


def leave_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, attribute, replacement in MUTANTS[name]:
        monkeypatch.setattr(owner, attribute, replacement)


def test_all_invariants_hold_in_every_storm_and_the_replica_agrees_in_the_calm() -> None:
    runs, broken, count = survey(range(STORMS))
    assert (runs, broken) == (STORMS, [])
    assert count["plans resolved"]
    assert count["answers merged together"]
    assert count["states lost, disk adopted"]
    assert count["slices of since answers merged"]
    assert count["since too old"]
    assert count["drift found by the scrub"]
    assert count["problems met"]
    assert count["forks seen"]


def test_what_nobody_released_stays_in_every_storm_over_a_journal_that_nobody_vouches_for() -> None:
    storms = STORMS // 2
    runs, broken, count = survey(range(storms), world=DoubtfulWorld)
    assert (runs, broken) == (storms, [])
    assert count["deletes held"]
    assert count["absences that outlive a plan"]
    assert count["holds released by the master"]
    assert count["holds released here"]


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - RARE))
def test_without_one_rule_a_storm_breaks_an_invariant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(name, monkeypatch)
    world = DoubtfulWorld if name in OF_HOLDS else OurWorld
    _, broken, _ = survey(range(STORMS_FOR_A_MUTANT), enough=1, world=world)
    assert broken, f"leaving {name} out went unnoticed in {STORMS_FOR_A_MUTANT} storms"


# ------------------------------------------------------------------------------------- scenarios for the rare ones

PATH = b"c"
OLD, NEW = b"old", b"new"


Tree = dict[bytes, Entry]


def entry(content: bytes) -> Entry:
    return entry_of("f:" + content.decode())


class Scenario:
    """One replica and the few messages of one story."""

    def __init__(self) -> None:
        self.replica = OurReplica(random.Random(1), Counter())
        self.replica.nonces = iter(range(1, 100))

    @property
    def state(self) -> MemoryState:
        return self.replica.state

    def heartbeat(self, epoch: int, sequence: int, tree: Tree) -> None:
        digest = self.state.digest_of(tree)
        while self.replica.on_stream(Heartbeat(lineage_of(epoch), sequence, hash_of((epoch, sequence)), digest, 0, 0)):
            """A hole before it: patience ends by chance."""

    def batch(self, epoch: int, first: int, event: Event, before: Tree, after: Tree) -> None:
        of = self.state.digest_of
        chain = hash_of((epoch, first - 1)), of(before), of(after), hash_of((epoch, first))
        while self.replica.on_stream(Batch(lineage_of(epoch), first, (event,), *chain)):
            """A hole before it: patience ends by chance."""
        self.replica.apply_together()

    def ask(self) -> tuple[bytes, Ask]:
        """Open the question that comes first; its nonce, and what it asks."""
        ((nonce, ask),) = self.replica.asking.next(agreement_wants(self.replica), 0.0)
        return nonce, ask

    def ask_digests(self) -> bytes:
        """Open a question over all buckets; its nonce."""
        nonce, ask = self.ask()
        assert isinstance(ask, AskDigests)
        return nonce

    def level_at(self, epoch: int, sequence: int) -> None:
        """It holds an empty tree, and knows it."""
        self.heartbeat(epoch, sequence, {})
        self.same(epoch, sequence, self.ask_digests())

    def since(self, answer: Since) -> None:
        """A part of an answer comes; what is whole is merged to its end."""
        self.replica.on_answer(answer)
        while self.replica.gathering.is_merging:
            self.replica.merge_slice()

    def same(self, epoch: int, at: int, nonce: bytes) -> None:
        self.replica.on_answer(Same(lineage_of(epoch), "r", nonce, at, tuple(model.BUCKETS)))
        self.replica.flush()


def agreement_wants(replica: OurReplica) -> Wants:
    return Wants(replica.state.standing().stale, replica.state.bucket_digest, lambda limit, after: {})


def known_wrong(replica: OurReplica, truth: Tree) -> list[bytes]:
    """Paths that the replica takes for known and that are not the master's, also where the second net, compare, caught it."""
    standing, state = replica.state.standing(), replica.state
    ours = state.entries()
    if replica.alarms:
        return sorted(ours)
    return [p for p in {*ours, *truth} if agreement.is_known(standing, state, p) and ours.get(p) != truth.get(p)]


def late_same() -> list[bytes]:
    """A "same" that was answered twice: between the two, a gap hid a change."""
    s = Scenario()
    s.heartbeat(1, 5, {})
    nonce = s.ask_digests()
    s.same(1, 5, nonce)
    other = {b"a": entry(OLD), PATH: entry(NEW)}
    s.batch(1, 8, Event(b"a", entry(OLD), OLD), {PATH: entry(NEW)}, other)
    s.same(1, 8, nonce)
    return known_wrong(s.replica, other)


def same_over_a_gap() -> list[bytes]:
    """The digests that were asked about are from before a gap; by now our index is another one."""
    s = Scenario()
    s.heartbeat(1, 5, {})
    nonce = s.ask_digests()
    s.batch(1, 8, Event(PATH, entry(NEW), NEW), {}, {PATH: entry(NEW)})
    s.batch(1, 11, Event(b"a", entry(OLD), OLD), {}, {b"a": entry(OLD)})
    s.same(1, 11, nonce)
    return known_wrong(s.replica, {b"a": entry(OLD)})


def body_of_another_version() -> list[bytes]:
    """A body that was asked for arrives when the index has a newer entry whose content is still missing."""
    s = Scenario()
    s.heartbeat(1, 5, {})
    s.same(1, 5, s.ask_digests())
    s.batch(1, 6, Event(PATH, entry(OLD)), {}, {PATH: entry(OLD)})
    bodies = {PATH: s.state.entries()[PATH]}
    ((nonce, _),) = s.replica.asking.next(Wants({}, s.state.bucket_digest, lambda limit, after: bodies), 0.0)
    s.batch(1, 7, Event(PATH, entry(NEW)), {PATH: entry(OLD)}, {PATH: entry(NEW)})
    assert set(s.state.unmet_paths(9)) == {PATH}
    s.replica.on_answer(BodyAnswer(lineage_of(1), "r", nonce, 0, PATH, content_digest(OLD), OLD))
    s.replica.flush()
    return [PATH] if s.replica.disk.get("c") == "f:old" and PATH not in s.state.unmet_paths(9) else []


def lower_epoch() -> list[bytes]:
    """A stream of an epoch that is over must not move the position."""
    s = Scenario()
    s.heartbeat(2, 5, {})
    s.heartbeat(1, 9, {})
    s.heartbeat(1, 7, {})
    return [] if s.replica.here == (2, 5) and not s.state.standing().is_forked else [PATH]


def since(nonce: bytes, at: int, base: int, *parts: Tree) -> list[Since]:
    """The parts of one answer."""
    digest = rows_digest(SALT, [row for part in parts for row in part.items()])
    return [
        Since(
            lineage_of(1), "r", nonce, at, base, n, len(parts), digest, tuple(Event(p, e, b"") for p, e in part.items())
        )
        for n, part in enumerate(parts)
    ]


def plan_of_what_drifted() -> list[bytes]:
    """A plan that a crash left took what somebody had put there into the index; on the master nothing changed there."""
    s = Scenario()
    s.level_at(1, 5)
    s.batch(1, 6, Event(PATH, entry(OLD), OLD), {}, {PATH: entry(OLD)})
    s.replica.disk[PATH.decode()] = "f:foreign"
    s.replica.plan = LeftPlan(s.state.standing().commits + 1, frozenset({PATH}))
    s.replica.restart()
    nonce, ask = s.ask()
    if isinstance(ask, AskSince):
        s.since(since(nonce, 6, ask.base, {})[0])
    return known_wrong(s.replica, {PATH: entry(OLD)})


def diverged_index() -> list[bytes]:
    """A bug spoiled the index: what changed since then on the master heals nothing, and it would diverge for ever."""
    s = Scenario()
    s.level_at(1, 5)
    s.batch(1, 6, Event(PATH, entry(OLD), OLD), {}, {PATH: entry(OLD)})
    s.replica.plant(PATH, entry(NEW))
    after = {PATH: entry(OLD), b"a": entry(OLD)}
    s.batch(1, 7, Event(b"a", entry(OLD), OLD), {PATH: entry(OLD)}, after)
    assert s.replica.alarms == 1
    nonce, ask = s.ask()
    if isinstance(ask, AskSince):
        s.since(since(nonce, 7, ask.base, {})[0])
    return [PATH] if s.replica.alarms > 1 else []


def parts_of_two_answers() -> list[bytes]:
    """A question was answered twice, and a part of each was lost."""
    s = Scenario()
    s.level_at(1, 5)
    a, b, new = {b"a": entry(OLD)}, {b"b": entry(OLD)}, {PATH: entry(NEW)}
    s.batch(1, 8, Event(b"a", entry(OLD), OLD), new, new | a)
    nonce, ask = s.ask()
    assert ask == AskSince(5)
    s.batch(1, 9, Event(b"b", entry(OLD), OLD), new | a, new | a | b)
    s.since(since(nonce, 8, 5, a, new)[0])
    s.since(since(nonce, 9, 5, a | new, b)[1])
    return known_wrong(s.replica, new | a | b)


def held_over_a_crash() -> list[bytes]:
    """A path is held; the master makes it again; the replica dies in the middle of that, its queue is lost, and an answer says
    that the path is absent. Nobody released that, and it was not a new delete."""
    s = Scenario()
    s.replica.hold_limit = 0
    s.level_at(1, 5)
    s.batch(1, 6, Event(PATH, entry(OLD), OLD), {}, {PATH: entry(OLD)})
    s.batch(1, 7, Event(PATH, None), {PATH: entry(OLD)}, {})
    s.replica.apply_together()
    assert s.replica.held() == {PATH.decode()}
    s.replica.hold_limit, s.replica.steps_to_crash = 2, 0
    with contextlib.suppress(model.Crash):
        s.batch(1, 8, Event(PATH, entry(NEW), NEW), {}, {PATH: entry(NEW)})
        s.replica.apply_together()
    s.replica.restart()
    bucket = s.state.bucket_of(PATH)
    s.heartbeat(1, 10, {})
    others = [other for other in model.BUCKETS if other != bucket]
    s.replica.asking.open = {b"s": OpenQuestion(AskDigests(()), {None}, 0.0)}
    s.replica.on_answer(Same(lineage_of(1), "r", b"s", 10, tuple(others)))
    s.replica.flush()
    s.replica.asking.open = {b"b": OpenQuestion(AskBuckets((bucket,), True), {bucket}, 0.0)}
    s.replica.on_answer(BucketRows(lineage_of(1), "r", b"b", 10, bucket, EMPTY_BUCKET, ()))
    s.replica.flush()
    return [] if PATH.decode() in s.replica.disk else [PATH]


SCENARIOS = {
    "absence-stays": held_over_a_crash,
    "base-not-after-plan": plan_of_what_drifted,
    "base-not-after-divergence": diverged_index,
    "one-answer": parts_of_two_answers,
    "nonce": late_same,
    "close-questions": same_over_a_gap,
    "body-checked": body_of_another_version,
    "fence": lower_epoch,
}


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_rare_story_ends_well_with_every_rule_kept(name: str) -> None:
    assert SCENARIOS[name]() == []


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_rare_story_goes_wrong_without_its_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(name, monkeypatch)
    assert broke(SCENARIOS[name])


def broke(story: Callable[[], list[bytes]]) -> bool:
    try:
        return bool(story())
    except model.Broken:
        return True


def test_every_mutant_is_held_by_a_storm_or_by_a_scenario() -> None:
    assert set(SCENARIOS) == RARE


def test_a_bucket_that_is_marked_again_raises_its_floor_and_keeps_its_base() -> None:
    once = agreement.mark({}, [1], Position(1, 5), 4)
    assert agreement.mark(once, [1], Position(1, 9), 8) == {1: Stale(Position(1, 9), 4)}
    assert agreement.mark(once, [1], Position(1, 9), None) == {1: Stale(Position(1, 9), None)}
