"""How many deletes are too many, and which of them wait."""

import pytest

from common.departures import WINDOW_SECONDS, Departed, Departures
from common.entries import Entry, directory_entry, file_entry
from common.holds import HoldLimit, Judgement, judge, judge_again, parse_hold

OFF = HoldLimit(is_off=True)
FIVE = HoldLimit(5, 0, 100)


def _file(content: str) -> Entry:
    return file_entry(0o644, 0, 1, content.encode())


def _pending(*names: str) -> list[Departed]:
    return [Departed(name.encode(), name.encode()) for name in names]


def _of(count: int, prefix: str = "f") -> list[Departed]:
    return _pending(*(f"{prefix}{number}" for number in range(count)))


def _went(departures: Departures, departed: list[Departed], entries: int, now: float) -> None:
    departures.note([(path, _file(digest.decode()), None) for path, digest in departed], entries, now)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("5000,10%,50%", HoldLimit()),
        (" 0 , 0.5% , 100% ", HoldLimit(0, 0.5, 100)),
        ("OFF", OFF),
    ],
)
def test_a_limit_is_read(text: str, limit: HoldLimit) -> None:
    assert parse_hold(text) == limit
    assert parse_hold(str(limit)) == limit


@pytest.mark.parametrize(
    "text", ["", "5000", "5000,10,50", "10%,50%,5000", "5000,10%,101%", "-1,10%,50%", "none", None, 5]
)
def test_what_is_no_limit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="off, or"):
        parse_hold(text)


@pytest.mark.parametrize(
    ("entries", "limit"), [(0, 5000), (100, 5000), (101, 50), (9000, 4500), (20_000, 5000), (1_000_000, 100_000)]
)
def test_the_limit_follows_the_size_of_the_tree(entries: int, limit: int) -> None:
    assert HoldLimit().of(entries) == limit


def test_few_go_and_too_many_wait() -> None:
    departures = Departures(entries=1000)
    assert judge(FIVE, departures, _of(5), 0).free == _of(5)
    judgement = judge(FIVE, departures, _of(6), 0)
    assert judgement == Judgement(6, 5, 1000, held=_of(6), free=[])
    assert judgement.is_over


def test_those_that_went_and_those_that_are_held_count_too() -> None:
    departures = Departures(entries=1000)
    _went(departures, _of(3), 997, 0)
    assert not judge(FIVE, departures, _of(2, "g"), 1).is_over
    assert judge(FIVE, departures, _of(3, "g"), 1).is_over
    assert judge(FIVE, departures, _of(1, "g"), 1, held=2).is_over


def test_after_ten_minutes_they_count_no_more_unless_a_hold_is_on() -> None:
    departures = Departures(entries=1000)
    _went(departures, _of(5), 995, 0)
    departures.is_frozen = True
    assert judge(FIVE, departures, _of(1, "g"), WINDOW_SECONDS).is_over
    departures.is_frozen = False
    assert not judge(FIVE, departures, _of(1, "g"), WINDOW_SECONDS).is_over


def test_what_came_back_counts_no_more() -> None:
    departures = Departures(entries=1000)
    _went(departures, _of(5), 995, 0)
    departures.note([(path, None, _file("other")) for path, _ in _of(5)], 1000, 1)
    assert not judge(FIVE, departures, _of(5, "g"), 2).is_over


@pytest.mark.parametrize("is_first_the_delete", [True, False])
def test_a_move_does_not_count_whichever_half_is_seen_first(is_first_the_delete: bool) -> None:
    departures = Departures(entries=1000)
    came = [(b"new/" + path, None, _file(digest.decode())) for path, digest in _of(50)]
    if is_first_the_delete:
        _went(departures, _of(50), 950, 0)
    departures.note(came, 1000, 1)
    if not is_first_the_delete:
        assert not judge(FIVE, departures, _of(50), 1).is_over
        _went(departures, _of(50), 950, 2)
    assert judge(FIVE, departures, _of(6, "g"), 3).count == 6


def test_each_content_that_came_stands_in_for_one_that_went() -> None:
    departures = Departures(entries=1000)
    departures.note([(b"copy", None, _file("same"))], 1001, 0)
    pending = [Departed(b"%d" % number, b"same") for number in range(7)]
    assert judge(FIVE, departures, pending, 1).held == pending[1:]


def test_a_tree_that_is_moved_and_then_deleted_counts() -> None:
    departures = Departures(entries=1000)
    departures.note([(b"new/" + path, None, _file(digest.decode())) for path, digest in _of(50)], 1050, 1)
    _went(departures, _of(50), 1000, 2)
    gone = [Departed(b"new/" + path, digest) for path, digest in _of(50)]
    assert judge(FIVE, departures, gone, 3).held == gone


def test_what_came_within_ten_minutes_and_goes_does_not_count() -> None:
    departures = Departures(entries=1000)
    departures.note([(path, None, _file(digest.decode())) for path, digest in _of(50)], 1050, 0)
    assert not judge(FIVE, departures, _of(50), WINDOW_SECONDS - 1).is_over
    assert judge(FIVE, departures, _of(50), WINDOW_SECONDS).is_over


def test_what_was_rewritten_and_then_deleted_counts() -> None:
    departures = Departures(entries=1000)
    departures.note([(path, _file("old"), _file(digest.decode())) for path, digest in _of(50)], 1000, 0)
    assert len(judge(FIVE, departures, _of(50), 1).held) == 50


def test_directories_count_and_move_as_files_do() -> None:
    departures = Departures(entries=1000)
    pending = [Departed(b"%d" % number, b"") for number in range(7)]
    assert len(judge(FIVE, departures, pending, 0).held) == 7
    departures.note([(b"a", None, directory_entry(0o755)), (b"b", None, directory_entry(0o755))], 1002, 0)
    assert not judge(FIVE, departures, pending, 0).is_over


def test_the_share_is_of_what_the_tree_had_ten_minutes_ago() -> None:
    departures = Departures(entries=1000)
    tenth = HoldLimit(0, 10, 100)
    departures.note([(b"%d" % number, None, _file(str(number))) for number in range(9000)], 10_000, 10)
    assert judge(tenth, departures, _of(101), 11).is_over
    assert not judge(tenth, departures, _of(101), 11 + WINDOW_SECONDS).is_over


def test_what_was_released_counts_no_more() -> None:
    departures = Departures(entries=1000)
    _went(departures, _of(5), 995, 0)
    departures.forget(995, 1)
    assert not judge(FIVE, departures, _of(5, "g"), 1).is_over


def test_after_a_restart_what_is_known_to_have_gone_went_just_now() -> None:
    departures = Departures(_of(5), entries=995, now=50)
    assert departures.entries_before(51) == 1000
    assert judge(FIVE, departures, _of(1, "g"), 49 + WINDOW_SECONDS).is_over
    assert not judge(FIVE, departures, _of(1, "g"), 50 + WINDOW_SECONDS).is_over


def test_what_is_held_is_judged_anew_and_what_moved_meanwhile_is_free() -> None:
    departures = Departures(entries=1000)
    held = _of(10)
    assert judge_again(FIVE, departures, held, 0).is_over
    departures.note([(b"new/" + path, None, _file(digest.decode())) for path, digest in held[:4]], 1000, 1)
    judgement = judge_again(FIVE, departures, held, 2)
    assert (judgement.held, judgement.free) == (held[4:], held[:4])
    departures.note([(b"new/" + path, None, _file(digest.decode())) for path, digest in held[4:5]], 1000, 3)
    judgement = judge_again(FIVE, departures, held, 4)
    assert (judgement.count, judgement.held, set(judgement.free)) == (5, (), set(held))


def test_where_there_is_no_limit_everything_goes() -> None:
    departures = Departures(entries=1000)
    assert judge(OFF, departures, _of(900), 0).free == _of(900)
    assert judge_again(OFF, departures, _of(900), 0).free == _of(900)
