"""The laws hold in every story, whatever happens in it, and in the calm everything becomes equal.

`--seeds N`, or `TREECAST_TEST_SEEDS`, sets how many stories are told. A story that breaks a law is told again, act by act, by
`python -m tests.machine --seed N`. When acts or their odds change, a seed is another story: what was found is told by hand in
`test_found`.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.machine.acts import ALWAYS, CHAOS, TO_A_REPLICA, perform
from tests.machine.calm import calm
from tests.machine.setting import REPLICAS, Setting
from tests.machine.storms import survey
from tests.machine.world import World

SEEDS = int(os.environ.get("TREECAST_TEST_SEEDS", "240"))
PORTIONS = 12


@pytest.mark.timeout(0)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_every_law_holds_in_every_story(portion: int, request: pytest.FixtureRequest) -> None:
    seeds = request.config.getoption("--seeds") or SEEDS
    _, broken, _ = survey(range(portion, seeds, PORTIONS))
    assert broken == {}


def test_a_seed_is_always_the_same_story() -> None:
    _, _, once = survey(range(5))
    _, _, again = survey(range(5))
    assert once == again


def test_everything_that_can_happen_does() -> None:
    _, _, count = survey(range(120))
    for what in ("replica deaths", "producer deaths", "power cuts", "died while starting", "drift", "replays",
                 "edits in the middle of a look", "states lost", "journals lost"):  # fmt: skip
        assert count[what], what


WHATS = [
    f"{what.__name__} {name}" if what.__name__ in TO_A_REPLICA else what.__name__
    for what in {**ALWAYS, **CHAOS}
    for name in REPLICAS
]


class Machine(RuleBasedStateMachine):
    """The same acts, chosen and shortened by Hypothesis."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Setting())

    @rule(luck=st.integers(0, 1 << 32))
    def go_on(self, luck: int) -> None:
        """What moves a change along, in a row."""
        for what in ("edit", "produce", "turn one", "turn two"):
            perform(self.world, what, luck)

    @rule(what=st.sampled_from(WHATS), luck=st.integers(0, 1 << 32))
    def happen(self, what: str, luck: int) -> None:
        """Anything."""
        perform(self.world, what, luck)

    @precondition(lambda self: self.world.ear.heard)
    @rule(what=st.sampled_from([f"cut_power {name}" for name in REPLICAS]), luck=st.integers(0, 1 << 32))
    def die(self, what: str, luck: int) -> None:
        """A death, once something is under way."""
        perform(self.world, what, luck)

    def teardown(self) -> None:
        calm(self.world)


def test_no_story_that_is_looked_for_breaks_a_law() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )
