"""What of the master's metadata is carried: symlinks by their setting, owners where asked for."""

import pytest

from producer.carrying import EVERYTHING, Carrying, is_safe
from producer.owners import OWNERS_OF, named_owner


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"l", b"f"),
        (b"l", b"d/f"),
        (b"d/l", b"../f"),
        (b"a/b/l", b"../../f"),
        (b"l", b"./f"),
        (b"l", b"d/../f"),
        (b"d/l", b".."),
    ],
)
def test_a_link_that_stays_in_the_tree_is_safe(path: bytes, target: bytes) -> None:
    assert is_safe(path, target)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"l", b"/etc"),
        (b"l", b".."),
        (b"l", b"../f"),
        (b"d/l", b"../../f"),
        (b"d/l", b"../../d/f"),
        (b"l", b"d/../../x"),
    ],
)
def test_a_link_that_is_absolute_or_climbs_out_on_its_way_is_not(path: bytes, target: bytes) -> None:
    assert not is_safe(path, target)


def test_all_links_are_carried_by_default_and_no_owner() -> None:
    assert EVERYTHING.why_not(b"l", b"/etc/passwd") is None
    assert EVERYTHING.owner(1, 2) == ""


def test_an_unsafe_link_is_told_of_and_a_skipped_one_is_not() -> None:
    assert "leads out of the tree" in (Carrying("safe").why_not(b"l", b"/etc") or "")
    assert Carrying("safe").why_not(b"l", b"f") is None
    assert Carrying("skip").why_not(b"l", b"f") == ""


def test_owners_are_numbers_or_names_and_a_number_where_there_is_no_name() -> None:
    assert Carrying(owner_of=OWNERS_OF["numeric"]).owner(1, 22) == "1:22"
    assert OWNERS_OF["off"] is None
    assert named_owner(0, 0) == "root:root"
    assert named_owner(3_999_999_999, 3_999_999_998) == "3999999999:3999999998"
