"""The rules of docs/agreement.md hold on a real disk with a real database, wherever the process dies in between.

`TREECAST_TEST_STORMS` sets how many storms are run (default 30).
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumer import starting
from consumer.starting import Start
from consumer.values import Outcome
from tests.dying_os import DyingOs
from tests.memory_place import memory_place
from tests.property.mutants import MUTANTS
from tests.property.real_replica_under_model import DyingState, RealWorld, install
from tests.property.replica_under_model import survey

STORMS = int(os.environ.get("TREECAST_TEST_STORMS", "30"))
STORMS_FOR_A_MUTANT = 40


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with memory_place(tmp_path) as place:
        yield place


@pytest.fixture
def world(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Counter[str]], RealWorld]:
    dying: DyingOs = install(monkeypatch)
    return lambda seed, count: RealWorld(seed, count, place, dying)


def test_all_invariants_hold_on_a_real_disk_wherever_the_process_dies(
    world: Callable[[int, Counter[str]], RealWorld],
) -> None:
    runs, broken, count = survey(range(STORMS), world=world)
    assert (runs, broken) == (STORMS, [])
    for what in (
        "plans carried out",
        "problems met",
        "deletes held",
        "forks seen",
        "died while starting",
        "restore",
        "restore state",
        "restore target",
        "slices of since answers merged",
    ):
        assert count[what], what


@pytest.mark.parametrize("name", ["newer-stays", "plan", "unmet"])
def test_without_one_rule_a_storm_on_a_real_disk_breaks_an_invariant(
    name: str, world: Callable[[int, Counter[str]], RealWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, attribute, replacement in MUTANTS[name]:
        monkeypatch.setattr(owner, attribute, replacement)
    assert survey(range(STORMS_FOR_A_MUTANT), enough=1, world=world)[1]


def test_a_problem_of_one_path_that_is_forgotten_breaks_an_invariant(
    world: Callable[[int, Counter[str]], RealWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = DyingState.commit
    monkeypatch.setattr(
        DyingState, "commit", lambda self, step, plan, outcome, **rest: commit(self, step, plan, Outcome(), **rest)
    )
    assert survey(range(STORMS_FOR_A_MUTANT), enough=1, world=world)[1]


def test_a_disk_or_a_state_of_another_age_that_goes_unnoticed_breaks_an_invariant(
    world: Callable[[int, Counter[str]], RealWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "_by_age", lambda disk, state: Start.RESOLVE)
    monkeypatch.setattr(RealWorld, "CHAOS", {**RealWorld.CHAOS, "restore state": 3, "restore target": 3})
    monkeypatch.setattr(RealWorld, "ALWAYS", {**RealWorld.ALWAYS, "back up": 5})
    assert survey(range(STORMS_FOR_A_MUTANT), enough=1, world=world)[1]
