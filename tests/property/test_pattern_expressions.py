"""A rule that never tries twice fits what the library's own fits, however many stars it has."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from common.pattern_expressions import in_components, without_backtracking
from common.patterns import Patterns

PIECES = ["*", "**", "a", "b", "x", "/", "/**/", "?", "[ab]", "[!a]", "[]x]", "\\*", "."]
lines = st.lists(st.sampled_from(PIECES), min_size=1, max_size=10).map("".join)
paths = st.lists(st.text("aabx.*", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join)


def plainly(line: str) -> str:
    """As the library writes it, classes aside."""
    try:
        (pattern,) = GitIgnoreSpec.from_lines([line], backend="simple").patterns
    except (ValueError, re.error):
        pattern = None
    assume(pattern is not None and pattern.regex is not None)
    return in_components(pattern.regex.pattern)  # type: ignore[union-attr]  # assumed


@given(lines, st.lists(paths, max_size=20))
@example("a/**/b*x*a/**/b/**/a", ["a/a/bxxa/a/b/b/a", "a/bxa/b/a", "a/bxab/b/a"])
def test_it_fits_the_same(line: str, some: list[str]) -> None:
    plain = re.compile(plainly(line), re.DOTALL)
    quick = re.compile(without_backtracking(plain.pattern), re.DOTALL)
    for path in (*some, *(f"{path}/" for path in some)):
        assert bool(quick.fullmatch(path)) == bool(plain.fullmatch(path))
        assert bool(quick.match(path)) == bool(plain.match(path))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("*a*a*a*a*a*a*a*b", b"a" * 255),
        ("*-*-*-*-*-*.jpg", b"-" * 255),
        ("a/**/a/**/a/**/a/**/a/**/d", b"a/" * 1000 + b"x"),
        ("**/a/**/a/**/a/**/a*a*a/**/d/**", b"a/" * 1000 + b"x"),
        ("a**a**a**a**a**b", b"a" * 255),
    ],
)
def test_names_that_somebody_chose_take_no_time(line: str, path: bytes) -> None:
    """Hours, days and longer where each star tries what the others leave."""
    assert not Patterns([line]).excludes(path, False)
