"""When an epoch may be announced: what the journal knows of itself, and what replicas say."""

from dataclasses import replace

from common.entries import Position
from common.holds import NO_HOLD, HoldLimit
from common.messages import Lineage, ReplicaState, Report
from producer.fleet import EPOCHS_BELIEVED, Heard
from producer.vouching import (
    CALL_SECONDS,
    GONE_SECONDS,
    REPLICAS_SPEAK_SECONDS,
    TRIAL_SECONDS,
    TRIAL_SILENCE_SECONDS,
    Act,
    Seen,
    Vouching,
    is_beyond,
)

LIMIT = HoldLimit(20, 10, 50)
OURS = b"o" * 16
NEW = Lineage("music", 200, b"n" * 16, bytes(32))
DIGEST = b"d" * 32
PUBLISHED = Position(100, 7)


def report(
    position: tuple[int, int] = (90, 3),
    *,
    name: str = "paris",
    instance: bytes = OURS,
    entries: int = 1000,
    **more: object,
) -> Report:
    details = {"entries": entries, **more}
    return Report("music", name, instance, Position(*position), True, ReplicaState.FOLLOWING, 0, "1", 1, 0, details)


def heard(*reports: Report, at: float = 0.0) -> tuple[Heard, ...]:
    return tuple(Heard(one, at) for one in reports)


def counted(creates: int, modifies: int, deletes: int, *, epoch: int = 200, **more: object) -> Report:
    """A report of a comparison that is done."""
    told = {"trial_epoch": epoch, "trial_digest": DIGEST.hex(), "trial_creates": creates}
    return report(**told, trial_modifies=modifies, trial_deletes=deletes, **more)  # type: ignore[arg-type]


VOUCHED = Seen(NEW, DIGEST, PUBLISHED, OURS, is_vouched=True, is_base_whole=True, members=frozenset({"paris"}))
UNVOUCHED = replace(VOUCHED, is_vouched=False, published=Position(0, 0), instance=b"")


def answer(position: tuple[int, int] = (100, 7), **more: object) -> Report:
    """A report that answers the call."""
    return report(position, called=NEW.instance.hex(), **more)  # type: ignore[arg-type]


def test_a_known_journal_waits_a_moment_until_all_that_it_knows_have_answered_the_call_and_keeps_what_was_released() -> (
    None
):
    vouching = Vouching(LIMIT)
    assert vouching.judge(VOUCHED, 0.0).act is Act.WAIT
    assert vouching.judge(VOUCHED, CALL_SECONDS - 0.1).act is Act.WAIT
    assert vouching.judge(VOUCHED, CALL_SECONDS).act is Act.ANNOUNCE
    verdict = Vouching(LIMIT).judge(replace(VOUCHED, heard=heard(answer())), 0.0)
    assert (verdict.act, verdict.is_released) == (Act.ANNOUNCE, None)
    both = replace(VOUCHED, members=frozenset({"paris", "rome"}))
    assert Vouching(LIMIT).judge(replace(both, heard=heard(answer())), 0.0).act is Act.WAIT
    answered = heard(answer(), answer((99, 3), name="rome"))
    assert Vouching(LIMIT).judge(replace(both, heard=answered), 0.0).act is Act.ANNOUNCE


def test_a_word_from_before_the_call_is_no_answer() -> None:
    """It may have come before what was published last was taken."""
    earlier = report((100, 7), called=b"another".hex())
    for stray in (report((100, 7)), earlier):
        assert Vouching(LIMIT).judge(replace(VOUCHED, heard=heard(stray)), 0.0).act is Act.WAIT


def test_a_fresh_replica_vouches_for_no_journal() -> None:
    """It is known since a moment ago, and has taken nothing yet: others may not have spoken."""
    fresh = replace(VOUCHED, members=frozenset({"new"}), heard=heard(answer((0, 0), name="new")))
    assert Vouching(LIMIT).judge(fresh, 0.0).act is Act.WAIT
    assert Vouching(LIMIT).judge(replace(VOUCHED, members=frozenset()), 0.0).act is Act.WAIT


def test_a_replica_beyond_the_journal_reopens_it() -> None:
    for position, instance in (((100, 8), OURS), ((101, 0), OURS), ((100, 3), b"x" * 16)):
        seen = replace(VOUCHED, heard=heard(report(), report(position, name="rome", instance=instance)))
        assert Vouching(LIMIT).judge(seen, 0.0).act is Act.REOPEN


def test_what_claims_an_epoch_that_nothing_could_go_above_is_not_believed() -> None:
    assert not is_beyond(report((EPOCHS_BELIEVED, 1)), PUBLISHED, OURS)
    assert not is_beyond(report((0, 0)), PUBLISHED, OURS)


def test_a_new_index_is_announced_when_replicas_had_time_to_speak_and_nothing_is_released() -> None:
    vouching = Vouching(LIMIT)
    assert vouching.judge(UNVOUCHED, 0.0).act is Act.WAIT
    assert vouching.judge(UNVOUCHED, REPLICAS_SPEAK_SECONDS - 0.1).act is Act.WAIT
    verdict = vouching.judge(UNVOUCHED, REPLICAS_SPEAK_SECONDS)
    assert (verdict.act, verdict.is_released) == (Act.ANNOUNCE, False)


def test_sooner_where_only_those_speak_that_have_nothing_to_lose() -> None:
    for empty in (report((0, 0)), report((90, 3), entries=0)):
        vouching, seen = Vouching(LIMIT), replace(UNVOUCHED, heard=heard(empty))
        assert vouching.judge(seen, 0.0).act is Act.WAIT
        assert vouching.judge(seen, CALL_SECONDS).act is Act.ANNOUNCE


def test_nothing_is_judged_before_the_whole_source_is_in_the_index() -> None:
    vouching = Vouching(LIMIT)
    seen = replace(UNVOUCHED, is_base_whole=False, is_approved=True)
    assert vouching.judge(seen, 0.0).act is vouching.judge(seen, 100.0).act is Act.WAIT


def test_what_a_person_approves_is_announced_and_released() -> None:
    verdict = Vouching(LIMIT).judge(replace(UNVOUCHED, is_approved=True, heard=heard(report())), 0.0)
    assert (verdict.act, verdict.is_released) == (Act.ANNOUNCE, True)


def test_who_takes_over_releases_nothing() -> None:
    verdict = Vouching(LIMIT).judge(replace(UNVOUCHED, takes_over=True), 0.0)
    assert (verdict.act, verdict.is_released) == (Act.ANNOUNCE, False)


def tried(vouching: Vouching, *reports: Report) -> str:
    """The replica that a trial is sent to, once others had time to speak."""
    seen = replace(UNVOUCHED, heard=heard(*reports))
    assert vouching.judge(seen, 0.0).act is Act.WAIT
    verdict = vouching.judge(seen, CALL_SECONDS)
    assert verdict.act is Act.TRY
    assert vouching.is_comparing
    return verdict.replica


def test_the_most_advanced_replica_is_tried_every_few_seconds() -> None:
    vouching = Vouching(LIMIT)
    behind, ahead = report((90, 3)), report((91, 0), name="rome")
    assert tried(vouching, behind, ahead) == "rome"
    seen = replace(UNVOUCHED, heard=heard(behind, ahead))
    assert vouching.judge(seen, CALL_SECONDS + 1).act is Act.WAIT
    assert vouching.judge(seen, CALL_SECONDS + TRIAL_SECONDS).replica == "rome"


def test_another_one_is_tried_when_it_says_nothing_of_the_trial_and_then_the_first_again() -> None:
    vouching = Vouching(LIMIT)
    behind, ahead = report((90, 3)), report((91, 0), name="rome")
    tried(vouching, behind, ahead)
    for number, name in enumerate(("paris", "rome", "paris"), 1):
        now = CALL_SECONDS + number * TRIAL_SILENCE_SECONDS
        verdict = vouching.judge(replace(UNVOUCHED, heard=heard(behind, ahead, at=now)), now)
        assert (verdict.act, verdict.replica) == (Act.TRY, name)


def test_one_that_compares_for_long_is_waited_for() -> None:
    vouching = Vouching(LIMIT)
    begun = report((91, 0), name="rome", trial_epoch=200, trial_digest=DIGEST.hex())
    tried(vouching, report(), begun)
    for now in range(5, 200, 5):
        verdict = vouching.judge(replace(UNVOUCHED, heard=heard(report(), begun, at=now)), now)
        assert verdict.act is Act.WAIT or verdict.replica == "rome"


def test_within_the_limit_it_goes_by_itself_and_is_released() -> None:
    vouching = Vouching(LIMIT)
    tried(vouching, report())
    verdict = vouching.judge(replace(UNVOUCHED, heard=heard(counted(50, 25, 25))), 2.0)
    assert (verdict.act, verdict.is_released) == (Act.ANNOUNCE, True)


def test_one_path_beyond_the_limit_waits_for_a_person_and_creates_count_too() -> None:
    vouching = Vouching(LIMIT)
    tried(vouching, report())
    seen = replace(UNVOUCHED, heard=heard(counted(51, 25, 25)))
    verdict = vouching.judge(seen, 2.0)
    assert (verdict.act, verdict.limit) == (Act.DOUBT, 100)
    assert not vouching.is_comparing
    doubted = replace(seen, is_doubted=True)
    assert {vouching.judge(doubted, now).act for now in (3.0, 30.0, 3000.0)} <= {Act.WAIT, Act.TRY, Act.DOUBT}


def test_without_a_hold_whatever_was_counted_goes() -> None:
    vouching = Vouching(NO_HOLD)
    tried(vouching, report())
    assert vouching.judge(replace(UNVOUCHED, heard=heard(counted(0, 0, 10**6))), 2.0).act is Act.ANNOUNCE


def test_counts_of_another_epoch_or_another_tree_are_none() -> None:
    vouching = Vouching(LIMIT)
    tried(vouching, report())
    for stray in (counted(0, 0, 0, epoch=199), report(trial_epoch=200, trial_digest="00", trial_creates=0)):
        assert vouching.judge(replace(UNVOUCHED, heard=heard(stray)), 2.0).act is Act.WAIT


def test_counts_that_are_no_counts_are_none() -> None:
    vouching = Vouching(LIMIT)
    tried(vouching, report())
    for nonsense in (-1, True, "0", None, 0.5):
        stray = report(
            trial_epoch=200, trial_digest=DIGEST.hex(), trial_creates=nonsense, trial_modifies=0, trial_deletes=0
        )
        assert vouching.judge(replace(UNVOUCHED, heard=heard(stray)), 2.0).act is Act.WAIT


def test_what_was_doubted_is_compared_again_when_the_source_has_changed() -> None:
    vouching = Vouching(LIMIT)
    tried(vouching, report())
    vouching.judge(replace(UNVOUCHED, heard=heard(counted(0, 0, 500))), 2.0)
    changed = replace(UNVOUCHED, digest=b"e" * 32, is_doubted=True, heard=heard(counted(0, 0, 500)))
    assert vouching.judge(changed, 2.0 + TRIAL_SECONDS).act is Act.TRY
    assert vouching.is_comparing


def test_a_new_epoch_is_compared_anew() -> None:
    vouching = Vouching(LIMIT)
    tried(vouching, report())
    drawn = replace(UNVOUCHED, lineage=replace(NEW, epoch=201), heard=heard(counted(0, 0, 0)))
    assert vouching.judge(drawn, 2.0).act is Act.TRY


def test_replicas_that_are_gone_are_not_waited_for_but_what_was_doubted_stays_so() -> None:
    vouching = Vouching(LIMIT)
    tried(vouching, report())
    gone = replace(UNVOUCHED, heard=heard(report()))
    assert vouching.judge(replace(gone, is_doubted=True), GONE_SECONDS).act is Act.WAIT
    verdict = vouching.judge(gone, GONE_SECONDS)
    assert (verdict.act, verdict.is_released) == (Act.ANNOUNCE, False)
