"""Which deletes a replica keeps on its disk, and what goes with them."""

from collections.abc import Collection, Iterable, Sequence

from common.departures import Departed, Difference
from common.digests import content_digest
from common.entries import Entry, Position, directory_entry, file_entry
from common.holds import HoldLimit
from consumer.holds import Holds, Size, absences, is_all_released
from consumer.planning import Brake, make_plan
from consumer.values import Plan, Reason, Row, Standing, Told, Unmet
from tests.memory_state import MemoryState

BODY = b"hello"
FILE = file_entry(0o644, 5, len(BODY), content_digest(BODY))
DIRECTORY = directory_entry(0o755)
TREE = {b"a": DIRECTORY, b"a/one": FILE, b"a/two": FILE, b"z": FILE}
ALL_OF_A = (b"a", b"a/one", b"a/two")


class Everything:
    """A judge for whom each delete is too many."""

    def too_many(self, going: Sequence[Departed], coming: Iterable[Difference]) -> Collection[bytes]:
        return [departed.path for departed in going]


def at(sequence: int, released: int = 0) -> Standing:
    return Standing(2, b"i", bytes(32), sequence, b"", b"", {}, None, 0, released=released)


def state_with(
    index: dict[bytes, Entry], unmet: dict[bytes, Reason] | None = None, found: Collection[bytes] = ()
) -> MemoryState:
    state = MemoryState()
    state._index = {path: Row(entry, Position(2, 1), path in found) for path, entry in index.items()}
    state._unmet = {path: Unmet(reason) for path, reason in (unmet or {}).items()}
    return state


def planned(state: MemoryState, want: dict[bytes, Told], *, released: int = 0) -> Plan:
    return make_plan(want, state, lambda _: False, brake=Brake(at(9, released), Everything()))


def gone(*paths: bytes, sequence: int = 9) -> dict[bytes, Told]:
    return {path: Told(None, Position(2, sequence)) for path in paths}


def reasons(plan: Plan) -> dict[bytes, Reason]:
    return {path: why.reason for path, why in plan.unmet.items()}


def test_what_is_too_many_stays_on_the_disk_and_is_unmet() -> None:
    plan = planned(state_with(TREE), gone(*ALL_OF_A))
    assert plan.is_empty
    assert reasons(plan) == dict.fromkeys(ALL_OF_A, Reason.HELD)


def test_a_delete_that_a_release_covers_is_never_held() -> None:
    plan = planned(state_with(TREE), gone(*ALL_OF_A), released=9)
    assert plan.remove == (b"a/one", b"a/two", b"a")
    assert not plan.unmet


def test_what_nobody_released_and_goes_is_told_with_what_it_was() -> None:
    lets = make_plan(gone(b"z"), state_with(TREE), lambda _: True, brake=Brake(at(9), _nothing_is_too_many()))
    assert lets.let_go == {b"z": FILE}
    assert lets.remove == (b"z",)


def test_what_was_only_found_here_is_not_held() -> None:
    plan = planned(state_with(TREE, found=[b"z"]), gone(b"z"))
    assert plan.remove == (b"z",)
    assert plan.foreign == {b"z"}


def test_a_file_where_a_directory_with_held_paths_stands_is_held_with_them() -> None:
    want = {**gone(b"a/one", b"a/two"), b"a": Told(FILE, Position(2, 9), BODY)}
    plan = planned(state_with(TREE), want)
    assert plan.is_empty
    assert reasons(plan) == dict.fromkeys(ALL_OF_A, Reason.HELD)


def test_a_directory_stays_while_something_held_is_in_it_whatever_is_released() -> None:
    state = state_with({b"a": DIRECTORY}, {b"a/one": Reason.HELD})
    plan = planned(state, gone(b"a"), released=9)
    assert reasons(plan) == {b"a": Reason.HELD}


def test_a_wrong_guess_that_would_go_is_judged_too() -> None:
    state = state_with(TREE)
    plan = planned(state, {b"a": Told(FILE, Position(2, 9), BODY)})
    assert plan.corrections == {b"a/one": None, b"a/two": None}
    assert reasons(plan) == dict.fromkeys(ALL_OF_A, Reason.HELD)


def test_what_is_told_absent_again_without_a_release_stays_held() -> None:
    plan = planned(state_with({}, {b"z": Reason.HELD}), gone(b"z"))
    assert reasons(plan) == {b"z": Reason.HELD}
    assert planned(state_with({}, {b"z": Reason.HELD}), gone(b"z"), released=9).remove == (b"z",)


def test_a_create_at_a_held_path_is_placed() -> None:
    plan = planned(state_with({}, {b"z": Reason.HELD}), {b"z": Told(FILE, Position(2, 9), BODY)})
    assert [put.path for put in plan.contents] == [b"z"]
    assert not plan.unmet


def test_what_is_released_goes_and_takes_its_directory_with_it() -> None:
    state = state_with({}, dict.fromkeys(ALL_OF_A, Reason.RELEASED))
    again = {path: Told(None, None) for path in ALL_OF_A}
    assert planned(state, again).remove == (b"a/one", b"a/two", b"a")
    part = planned(state, {b"a": Told(None, None)})
    assert reasons(part) == {b"a": Reason.RELEASED}, "what is in it goes first"


def test_nothing_is_released_where_nothing_was_stated() -> None:
    assert not is_all_released(at(0))
    assert not is_all_released(at(9, 8))
    assert is_all_released(at(9, 9))


def test_an_absence_that_is_unmet_outlives_a_left_plan_and_what_is_below_it_too() -> None:
    state = state_with({b"b": FILE}, {b"a": Reason.HELD, b"gone": Reason.HELD})
    paths = [b"a", b"a/new", b"b", b"gone"]
    assert absences(paths, {b"a", b"a/new", b"b"}, state) == {b"a": Unmet(Reason.HELD), b"a/new": Unmet(Reason.PROBLEM)}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def departed(*names: str) -> list[Departed]:
    return [Departed(name.encode(), content_digest(name.encode())) for name in names]


def test_deletes_are_let_go_up_to_the_limit_and_then_each_waits_until_ten_minutes_are_over() -> None:
    clock = Clock()
    holds = Holds(HoldLimit(2, 0, 100), clock, lambda: Size(10, 0))
    assert not holds.too_many(departed("a", "b"), ())
    holds.went({b"a": FILE, b"b": DIRECTORY})
    assert holds.too_many(departed("c"), ()) == [b"c"]
    clock.now += 601
    assert not holds.too_many(departed("c"), ())


def test_what_went_before_a_restart_counts_as_gone_just_now() -> None:
    holds = Holds(HoldLimit(2, 0, 100), Clock(), lambda: Size(10, 0), departed("a", "b"))
    assert holds.too_many(departed("c"), ()) == [b"c"]
    holds.released()
    assert not holds.too_many(departed("c"), ())


def test_a_move_is_no_delete() -> None:
    holds = Holds(HoldLimit(0, 0, 100), Clock(), lambda: Size(10, 0))
    moved = [Departed(b"old", FILE.digest)]
    assert not holds.too_many(moved, [(b"new", None, FILE)])
    assert holds.too_many(departed("other"), ()) == [b"other"]


def _nothing_is_too_many() -> Holds:
    return Holds(HoldLimit(is_off=True), Clock(), lambda: Size(10, 0))
