"""How an epoch reads for a person."""

from typing import Any

from treecast.epoch_page import page

TOLD: dict[str, Any] = {
    "tree": "music", "epoch": 1_760_000_000, "instance": "ab", "sequence": 12_345, "released": 12_345, "announced": True,
    "vouched": True, "doubt": None, "wish": "", "standing": "leads", "leader": "", "forked": [], "highest_epoch": 7,
}  # fmt: skip


def test_who_leads_is_shown_with_its_epoch_and_sequence() -> None:
    text = page(TOLD, "2026-01-01T00:00:00+00:00")
    assert text.startswith("tree music: leads\n")
    assert "1760000000" in text
    assert "up to 12,345" in text


def test_who_waits_behind_another_names_it() -> None:
    text = page({**TOLD, "standing": "waits", "announced": False, "leader": "there:42"}, "not yet")
    assert "waits behind another producer" in text
    assert "there:42" in text


def test_a_doubt_is_told_with_its_counts_and_what_to_type() -> None:
    doubt = {"replica": "paris", "creates": 1, "modifies": 2, "deletes": 30_000, "limit": 5000}
    text = page({**TOLD, "vouched": False, "announced": False, "doubt": doubt}, "not yet")
    assert "30,000 deletes, more than 5,000" in text
    assert "treecast epoch start" in text


def test_a_fork_is_told_with_who_reports_it_and_what_to_type() -> None:
    text = page({**TOLD, "forked": ["paris", "rome"]}, "now")
    assert "paris, rome" in text
    assert "treecast epoch start" in text


def test_a_journal_without_a_producer_says_so_and_what_the_next_will_do() -> None:
    resting = {key: value for key, value in TOLD.items() if key not in ("standing", "leader", "forked", "announced")}
    text = page({**resting, "wish": "take over"}, "now")
    assert "no producer runs here" in text
    assert "to take over, with the next start" in text
