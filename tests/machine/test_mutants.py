"""The machine can fail: with one rule left out of the product, a story breaks a law."""

import pytest

from tests.machine import calm
from tests.machine.mutants import MUTANTS, SEEN
from tests.machine.needs import NEEDED, STORIES, Story
from tests.machine.reference import LawBroken
from tests.machine.storms import survey

TOLD_AT_MOST = 60
ROUNDS = 80
"""Until a story told by hand is taken for one that never agrees."""


def leave_out(name: str, patch: pytest.MonkeyPatch) -> None:
    """The product goes without this rule."""
    for owner, attribute, replacement in MUTANTS[name]:
        patch.setattr(owner, attribute, replacement)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_with_all_rules_no_law_breaks(story: Story) -> None:
    story()


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_without_one_rule_a_story_told_by_hand_breaks_a_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calm, "CALM_ROUNDS", ROUNDS)
    leave_out(name, monkeypatch)
    with pytest.raises(LawBroken):
        NEEDED[name]()


@pytest.mark.parametrize("name", SEEN)
def test_without_one_rule_a_story_breaks_a_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(name, monkeypatch)
    _, broken, _ = survey(range(TOLD_AT_MOST), enough=1)
    assert broken, f"leaving out {name!r} went unnoticed"
