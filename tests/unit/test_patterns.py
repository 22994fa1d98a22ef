"""What is excluded: git's rules, on bytes, the same on both sides."""

import pytest

from common.errors import SettingError
from common.patterns import Patterns


@pytest.mark.parametrize(
    ("lines", "path", "is_directory", "excluded"),
    [
        ([], b"a", False, False),
        (["*.tmp"], b"a.tmp", False, True),
        (["*.tmp"], b"deep/down/a.tmp", False, True),
        (["*.tmp"], b"a.tmp.m3u", False, False),
        (["*.tmp", "!keep.tmp"], b"x/keep.tmp", False, False),
        (["/cache/"], b"cache", True, True),
        (["/cache/"], b"cache", False, False),
        (["/cache/"], b"sub/cache", True, False),
        (["/cache/"], b"cache/deep/file", False, True),
        (["/cache/"], b"cached", True, False),
        (["cache/", "!cache/keep"], b"cache/keep", False, True),
        (["foo/*", "!foo/bar"], b"foo/bar", True, False),
        (["foo/*", "!foo/bar"], b"foo/bar/x", False, False),
        (["foo/*", "!foo/bar"], b"foo/other/x", False, True),
        (["a/**/z"], b"a/b/c/z", False, True),
        (["# a comment", "", "x"], b"x", False, True),
        (["\\#x"], b"#x", False, True),
        (["*.tmp"], b"a\nb/c.tmp", False, True),
        (["*"], b"\xff\xfe", False, True),
        (["\udcff*"], b"\xff-raw", False, True),
        (["\udcff*"], b"\xfe-raw", False, False),
        (["é"], "é".encode(), False, True),
        (["*"], b"", True, False),
        (["*", "!a"], b"a", True, False),
        (["*", "!a"], b"a/x", False, True),
        (["x", "!a"], b"a/x", False, True),
        (["x/", "!a/"], b"a/x/y", False, True),
        (["a/**"], b"a", True, False),
        (["a/**"], b"a/x/y", False, True),
        (["d/**/"], b"d", True, False),
        (["d/**/"], b"d/n/x", True, True),
    ],
)
def test_excludes_as_git_does(lines: list[str], path: bytes, is_directory: bool, excluded: bool) -> None:
    assert Patterns(lines).excludes(path, is_directory) is excluded


@pytest.mark.parametrize("line", ["!", "[z-a]", "a\nb", "\\"])
def test_a_bad_pattern_names_the_setting(line: str) -> None:
    with pytest.raises(SettingError, match="TREECAST_EXCLUDE") as caught:
        Patterns(["*.tmp", line])
    assert caught.value.setting == "TREECAST_EXCLUDE"


def test_a_later_answer_does_not_depend_on_earlier_ones() -> None:
    """The cache of directories is only a cache."""
    patterns = Patterns(["cache/", "*.tmp"])
    for path in (b"x/cache/a", b"x", b"x/cache", b"x/a", b"x/cache/a"):
        assert patterns.excludes(path, False) is Patterns(["cache/", "*.tmp"]).excludes(path, False)


def test_a_path_of_a_thousand_components_is_no_danger() -> None:
    path = b"/".join([b"d"] * 1024)
    assert not Patterns(["*.tmp"]).excludes(path, False)
    assert Patterns(["/d/d/"]).excludes(path, False)


@pytest.mark.parametrize(
    ("lines", "any_rule"), [([], False), (["# only talk", ""], False), (["!x"], False), (["x"], True)]
)
def test_is_false_when_nothing_can_be_excluded(lines: list[str], any_rule: bool) -> None:
    assert bool(Patterns(lines)) is any_rule


def test_the_line_that_excludes_is_named() -> None:
    """The one of the directory above first; a line that takes back in names none."""
    patterns = Patterns(["# what nobody needs", "", "*.tmp", "!keep.tmp", "/cache/"])
    assert patterns.line_for(b"a/x.tmp", False) == "*.tmp"
    assert patterns.line_for(b"cache/x.tmp", False) == "/cache/"
    assert patterns.line_for(b"cache", True) == "/cache/"
    assert patterns.line_for(b"cache", False) is None
    assert patterns.line_for(b"a/keep.tmp", False) is None
    assert Patterns().line_for(b"a", False) is None


@pytest.mark.parametrize("line", ["[[:alpha:]]x", "[a\\]]", "x[!\\-]"])
def test_a_class_that_would_mean_something_else_than_in_git_is_refused(line: str) -> None:
    with pytest.raises(SettingError, match="between"):
        Patterns([line])


def test_a_bracket_that_is_said_to_be_one_is_no_class() -> None:
    assert Patterns(["\\[:x\\]"]).excludes(b"[:x]", False)
