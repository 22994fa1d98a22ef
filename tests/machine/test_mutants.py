"""The machine can fail: with one rule left out of the product, a story breaks a law."""

import pytest

from tests.machine.mutants import MUTANTS, SEEN_FROM
from tests.machine.storms import survey

TOLD_AT_MOST = 60


@pytest.mark.parametrize("name", sorted(SEEN_FROM))
def test_without_one_rule_a_story_breaks_a_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, attribute, replacement in MUTANTS[name]:
        monkeypatch.setattr(owner, attribute, replacement)
    first = SEEN_FROM[name]
    _, broken, _ = survey(range(first, first + TOLD_AT_MOST), enough=1)
    assert broken, f"leaving out {name!r} went unnoticed"
