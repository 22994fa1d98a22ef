"""Names of paths, trees and replicas: which are allowed, with which reason the others are refused, how they are shown."""

import pytest

from common import names
from common.errors import PathError


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"", "path-empty"),
        (b"x" * 4096, "path-too-long"),
        (b"/", "path-malformed"),
        (b"/a", "path-malformed"),
        (b"a/", "path-malformed"),
        (b"a//b", "path-malformed"),
        (b".", "path-malformed"),
        (b"..", "path-malformed"),
        (b"a/../b", "path-malformed"),
        (b"a\0", "path-malformed"),
        (b"x" * 256, "path-malformed"),
        (b"/".join([b"a"] * 1025), "path-too-deep"),
        (b".treecast", "path-reserved"),
        (b".treecast/stage", "path-reserved"),
        (b"lost+found/x", "path-reserved"),
    ],
)
def test_a_path_that_no_tree_may_hold_has_a_stable_reason(path: bytes, reason: str) -> None:
    with pytest.raises(PathError) as caught:
        names.check_path(path)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "path", [b"a", b"...", b".a", b"a/lost+found", b"\xff", b"a\n", b"x" * 255, b"-rf", b"a/b/..c"]
)
def test_an_odd_path_is_allowed(path: bytes) -> None:
    assert names.check_path(path) == path


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63, "eu-west-1"])
def test_a_name_of_small_letters_digits_and_inner_dashes_is_allowed(name: str) -> None:
    assert names.is_name(name)


@pytest.mark.parametrize("name", ["", "-", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", "a\n", "a" * 64, "٣"])
def test_any_other_name_is_none(name: str) -> None:
    assert not names.is_name(name)


def test_parents_and_ancestors_stop_below_the_root() -> None:
    assert names.parent(b"a") == names.ROOT
    assert names.parent(b"a/b/c") == b"a/b"
    assert names.basename(b"a/b/c") == b"c"
    assert names.ancestors(b"a/b/c") == [b"a", b"a/b"]
    assert names.ancestors(b"a") == []
    assert names.join(names.ROOT, b"a") == b"a"
    assert (names.depth(names.ROOT), names.depth(b"a"), names.depth(b"a/b")) == (0, 1, 2)


def test_a_neighbour_whose_name_begins_alike_is_not_below() -> None:
    assert not names.is_below(b"ab", b"a")
    assert not names.is_below(b"a-b/c", b"a")
    assert not names.is_below(b"a", b"a")
    assert not names.is_below(names.ROOT, names.ROOT)
    assert names.is_below(b"a/b", b"a")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"plain/path", "plain/path"),
        ("é/中".encode(), "é/中"),
        (b"a\nb\x1b[31m", "a\\x0ab\\x1b[31m"),
        (b"\xff", "\\xff"),
        (b"back\\slash", "back\\\\slash"),
        ("\u202egnp".encode(), "\\xe2\\x80\\xaegnp"),
        ("\x9b".encode(), "\\xc2\\x9b"),
    ],
)
def test_a_path_is_shown_to_people_without_what_a_terminal_would_obey(path: bytes, shown: str) -> None:
    assert names.escape(path) == shown
