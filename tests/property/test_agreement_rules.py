"""The rules of docs/agreement.md hold in our code under the model's random storms, and each of them is needed.

`TREECAST_TEST_STORMS` sets how many storms are run with all rules kept (default 120).
"""

import os
import random
from collections import Counter
from collections.abc import Callable

import pytest

from common.digests import content_digest
from common.entries import Entry, Event, Position
from common.messages import AskDigests, Batch, BodyAnswer, Heartbeat, Same
from consumer import agreement
from consumer.asking import Wants
from consumer.values import Stale
from tests.memory_state import MemoryState
from tests.model import agreement_model as model
from tests.property.mutants import MUTANTS
from tests.property.replica_under_model import OurReplica, entry_of, hash_of, lineage_of, survey

STORMS = int(os.environ.get("TREECAST_TEST_STORMS", "120"))
STORMS_FOR_A_MUTANT = 120
RARE = {"nonce", "close-questions", "body-checked", "fence"}
"""Random storms find these seldom: each has a scenario below."""


@pytest.fixture(autouse=True)
def four_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "ALL_BUCKETS", model.BUCKETS)


def leave_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, attribute, replacement in MUTANTS[name]:
        monkeypatch.setattr(owner, attribute, replacement)


def test_all_invariants_hold_in_every_storm_and_the_replica_agrees_in_the_calm() -> None:
    runs, broken, count = survey(range(STORMS))
    assert (runs, broken) == (STORMS, [])
    assert count["plans resolved"]
    assert count["answers merged together"]
    assert count["states lost, disk adopted"]


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - RARE))
def test_without_one_rule_a_storm_breaks_an_invariant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(name, monkeypatch)
    _, broken, _ = survey(range(STORMS_FOR_A_MUTANT), enough=1)
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
        self.replica.on_stream(Heartbeat(lineage_of(epoch), sequence, hash_of((epoch, sequence)), digest, 0, 0))

    def batch(self, epoch: int, first: int, event: Event, before: Tree, after: Tree) -> None:
        of = self.state.digest_of
        chain = hash_of((epoch, first - 1)), of(before), of(after), hash_of((epoch, first))
        while self.replica.on_stream(Batch(lineage_of(epoch), first, (event,), *chain)):
            """A hole before it: patience ends by chance."""

    def ask_digests(self) -> bytes:
        """Open a question over all buckets; its nonce."""
        standing = self.state.standing()
        wants = agreement_wants(self.replica)
        ((nonce, ask),) = self.replica.asking.next(wants, 0.0)
        assert isinstance(ask, AskDigests)
        assert standing.stale
        return nonce

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


SCENARIOS = {
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
