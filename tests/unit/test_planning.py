"""Planning: what must happen on the disk for what is wanted, and in which order."""

import pytest

from common.digests import content_digest
from common.entries import Entry, Position, directory_entry, file_entry, symlink_entry
from common.names import PATTERNS_PATH
from consumer.planning import ContradictionError, make_plan
from consumer.values import MakeDirectory, Plan, Put, Reason, Row, Told, Touch, Unmet
from tests.memory_state import MemoryState

HERE = Position(1, 7)
BODY = b"hello"
FILE = file_entry(0o644, 5, len(BODY), content_digest(BODY))
DIRECTORY = directory_entry(0o755)


def planned(index: dict[bytes, Entry], want: dict[bytes, Told], known: bool = True, found: bool = False) -> Plan:
    return make_plan(want, state_with(index, found), lambda _: known)


def state_with(index: dict[bytes, Entry], found: bool = False) -> MemoryState:
    state = MemoryState()
    state._index = {path: Row(entry, None if found else HERE, found) for path, entry in index.items()}
    return state


def gone() -> Told:
    return Told(None, HERE)


def there(entry: Entry, body: bytes | None = None) -> Told:
    return Told(entry, HERE, body)


def test_a_new_tree_is_made_shallow_first_with_its_files_after() -> None:
    plan = planned({}, {b"a/b/f": there(FILE, BODY), b"a/b": there(DIRECTORY), b"a": there(DIRECTORY)})
    assert plan.directories == (MakeDirectory(b"a", 0o755), MakeDirectory(b"a/b", 0o755))
    assert plan.contents == (Put(b"a/b/f", FILE, BODY),)
    assert plan.touched == {b"a", b"a/b", b"a/b/f"}


def test_removals_come_last_and_deepest_first() -> None:
    plan = planned({b"a": DIRECTORY, b"a/f": FILE}, {b"a": gone(), b"a/f": gone()})
    assert plan.remove == (b"a/f", b"a")
    assert plan.clear == ()


def test_what_stands_where_a_file_must_go_is_cleared_first() -> None:
    index = {b"a": DIRECTORY, b"a/d": DIRECTORY, b"a/d/f": FILE, b"z": FILE}
    want = {b"a": there(FILE, BODY), b"a/d": gone(), b"a/d/f": gone(), b"z": gone()}
    plan = planned(index, want)
    assert plan.clear == (b"a/d/f", b"a/d", b"a")
    assert plan.remove == (b"z",)
    assert plan.contents == (Put(b"a", FILE, BODY),)


def test_mode_or_time_alone_touches_and_needs_no_body() -> None:
    other = file_entry(0o600, 9, FILE.size, FILE.digest)
    assert planned({b"f": FILE}, {b"f": there(other)}).contents == (Touch(b"f", other),)


def test_a_directory_whose_mode_changes_is_made_again() -> None:
    plan = planned({b"d": DIRECTORY}, {b"d": there(directory_entry(0o700))})
    assert plan.directories == (MakeDirectory(b"d", 0o700),)


def test_what_is_so_already_costs_nothing() -> None:
    assert planned({b"f": FILE, b"d": DIRECTORY}, {b"f": there(FILE, BODY), b"d": there(DIRECTORY)}).is_empty


def test_a_content_that_is_not_at_hand_is_unmet() -> None:
    plan = planned({}, {b"f": there(FILE)})
    assert plan.is_empty
    assert plan.unmet == {b"f": Unmet(Reason.BODY)}


def test_a_body_that_does_not_match_its_digest_is_never_staged() -> None:
    plan = planned({}, {b"f": there(FILE, b"HELLO")})
    assert plan.is_empty
    assert plan.mismatched == (b"f",)
    assert plan.unmet[b"f"].reason is Reason.BODY


def test_a_content_that_is_indexed_but_unmet_is_put_when_it_comes() -> None:
    state = state_with({b"f": FILE})
    state._unmet[b"f"] = Unmet(Reason.BODY)
    plan = make_plan({b"f": there(FILE, BODY)}, state, lambda _: True)
    assert plan.contents == (Put(b"f", FILE, BODY),)


def test_a_symlink_is_put_with_its_target() -> None:
    link = symlink_entry(3, content_digest(b"../"))
    assert planned({}, {b"l": there(link, b"../")}).contents == (Put(b"l", link, b"../"),)


def test_what_is_guessed_below_a_known_absence_is_corrected_and_removed() -> None:
    plan = planned({b"a": DIRECTORY, b"a/f": FILE}, {b"a": gone()}, known=False)
    assert plan.corrections == {b"a/f": None}
    assert plan.remove == (b"a/f", b"a")
    assert b"a/f" in plan.touched


@pytest.mark.parametrize("are_known", [False, True])
def test_what_is_guessed_below_a_known_absence_goes_aside_while_the_patterns_are_not_known(are_known: bool) -> None:
    """They may protect it by now: then it left the tree and should have stayed."""
    state = state_with({b"a": DIRECTORY, b"a/f": FILE})
    plan = make_plan({b"a": gone()}, state, lambda path: are_known and path == PATTERNS_PATH)
    assert plan.remove == (b"a/f", b"a")
    assert plan.foreign == (frozenset() if are_known else {b"a/f"})


def test_a_guessed_ancestor_that_is_no_directory_is_corrected_into_one() -> None:
    plan = planned({b"a": FILE}, {b"a/f": there(FILE, BODY)}, known=False)
    assert plan.corrections == {b"a": directory_entry(0o755)}
    assert plan.directories == (MakeDirectory(b"a", 0o755),)


def test_a_known_child_below_a_known_absence_is_a_contradiction() -> None:
    with pytest.raises(ContradictionError):
        planned({b"a": DIRECTORY, b"a/f": FILE}, {b"a": gone()})


def test_a_file_wanted_below_something_wanted_away_is_a_contradiction() -> None:
    with pytest.raises(ContradictionError):
        planned({b"a": DIRECTORY}, {b"a": gone(), b"a/f": there(FILE, BODY)}, known=False)


def test_a_delete_that_keeps_leaves_the_disk_alone() -> None:
    plan = planned(
        {b"a": DIRECTORY, b"a/f": FILE}, {b"a": Told(None, HERE, keep=True), b"a/f": Told(None, HERE, keep=True)}
    )
    assert plan.is_empty
    assert plan.touched == frozenset()


def test_what_is_guessed_below_a_directory_that_leaves_and_is_kept_leaves_the_index_with_it() -> None:
    plan = planned({b"a": DIRECTORY, b"a/f": FILE}, {b"a": Told(None, HERE, keep=True)}, known=False)
    assert plan.corrections == {b"a/f": None}
    assert plan.is_empty
    assert plan.touched == frozenset()
    with pytest.raises(ContradictionError):
        planned({b"a": DIRECTORY, b"a/f": FILE}, {b"a": Told(None, HERE, keep=True)})


@pytest.mark.parametrize(("here", "goes"), [(DIRECTORY, False), (FILE, True)])
def test_of_what_leaves_and_is_kept_only_what_the_patterns_exclude_stays(here: Entry, goes: bool) -> None:
    """The master had an excluded directory; a guess of another kind is protected by nobody."""
    lines = b"a/\n"
    patterns = Told(file_entry(0, 0, len(lines), content_digest(lines)), HERE, lines)
    want = {PATTERNS_PATH: patterns, b"a": Told(None, HERE, keep=True)}
    assert planned({b"a": here}, want, known=False).remove == ((b"a",) if goes else ())


def test_what_was_found_and_must_give_way_is_foreign() -> None:
    other = file_entry(0o644, 5, 1, content_digest(b"x"))
    index = {b"gone": FILE, b"other": other, b"same": FILE, b"dir": FILE}
    want = {b"gone": gone(), b"other": there(FILE, BODY), b"same": there(FILE, BODY), b"dir": there(DIRECTORY)}
    assert planned(index, want, known=False, found=True).foreign == {b"gone", b"other", b"dir"}


def test_what_was_published_and_is_deleted_is_not_foreign() -> None:
    assert planned({b"gone": FILE}, {b"gone": gone()}).foreign == frozenset()


def test_what_is_above_an_absence_may_be_touched_too() -> None:
    """A crash leaves the plan: what the disk has at its paths is taken into the index, and the index is a tree."""
    plan = planned({}, {b"d/x": gone()}, known=False)
    assert plan.touched == {b"d", b"d/x"}


def test_directories_above_come_with_the_mode_to_make_them_again() -> None:
    plan = planned({b"a": directory_entry(0o711)}, {b"a/f": there(FILE, BODY)})
    assert plan.above == {b"a": MakeDirectory(b"a", 0o711)}


def test_what_came_and_went_in_one_set_was_never_ours_on_this_disk() -> None:
    assert planned({}, {b"passing": gone()}).foreign == {b"passing"}
