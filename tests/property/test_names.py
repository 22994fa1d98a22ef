"""The rule for paths against a second, slower spelling of it; and what is said of relations between paths."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from common import names
from common.errors import PathError

RELAXED = settings(deadline=None)
pieces = st.sampled_from(
    [b".", b"..", b"/", b"\0", b"a", b"\n", b"\xff", b"x" * 255, b".treecast", b"lost+found", b"//"]
)
raw_paths = st.lists(pieces, max_size=8).map(b"".join) | st.binary(max_size=20)
components = st.binary(min_size=1, max_size=4).filter(
    lambda c: b"/" not in c and b"\0" not in c and c not in (b".", b"..")
)
good_paths = st.lists(components, min_size=1, max_size=4).map(b"/".join)


def is_allowed_slowly(path: bytes) -> bool:
    parts = path.split(b"/")
    sound = all(0 < len(part) <= 255 and part not in (b".", b"..") and b"\0" not in part for part in parts)
    return sound and len(path) <= 4095 and len(parts) <= 1024 and parts[0] not in (b".treecast", b"lost+found")


@settings(RELAXED, max_examples=500)
@given(raw_paths)
@example(b"a\n")
@example(b"a/..\n")
@example(b"x" * 256)
def test_a_path_is_allowed_exactly_when_every_component_is(path: bytes) -> None:
    try:
        assert names.check_path(path) == path
    except PathError:
        assert not is_allowed_slowly(path)
    else:
        assert is_allowed_slowly(path)


@RELAXED
@given(good_paths)
def test_a_path_is_its_parent_and_its_last_component(path: bytes) -> None:
    assert names.join(names.parent(path), names.basename(path)) == path
    assert names.depth(path) == names.depth(names.parent(path)) + 1


@RELAXED
@given(good_paths, good_paths)
def test_below_is_being_in_the_range_and_having_it_as_ancestor(path: bytes, directory: bytes) -> None:
    low, high = names.range_below(directory)
    below = names.is_below(path, directory)
    assert below == (low <= path < high) == (directory in names.ancestors(path))
    assert names.is_below(names.join(directory, path), directory)
    assert names.is_below(path, names.ROOT)


@RELAXED
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_an_escaped_path_is_one_printable_line_and_tells_paths_apart(path: bytes, other: bytes) -> None:
    text = names.escape(path)
    text.encode("utf-8")
    assert len(text.splitlines()) <= 1
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text)
    assert (text == names.escape(other)) == (path == other)
