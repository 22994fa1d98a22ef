"""The verdicts on stream messages and answers, one sentence each. The rules together are tested under random storms."""

from dataclasses import replace

import pytest

from common.digests import bucket_digest, bucket_of, content_digest
from common.entries import Entry, Event, Position, file_entry
from common.messages import Batch, BodyAnswer, BucketRows, Heartbeat, Lineage, Same
from consumer import agreement, merging
from consumer.agreement import Decided, Decision, Drop, Wait
from consumer.values import Found, Outcome, Plan, Reason, Stale, Standing, Step, Told, Unmet
from tests.memory_state import MemoryState

SALT = bytes(range(32))
LINEAGE = Lineage("t", 7, b"i" * 16, SALT)
BODY = b"content"
FILE = file_entry(0o644, 5, len(BODY), content_digest(BODY))
HEAD = b"h" * 32
HERE = Position(7, 10)
PATH = b"a"
BUCKET = bucket_of(SALT, PATH)


def hash_of(number: int) -> bytes:
    return bytes([number]) * 32


def level_replica(tree: dict[bytes, Entry] | None = None, sequence: int = 10) -> MemoryState:
    """A replica that is level at (7, sequence) and holds this tree."""
    state = MemoryState(SALT)
    tree = tree or {}
    standing = Standing(7, LINEAGE.instance, SALT, sequence, HEAD, state.digest_of(tree), {}, Position(7, sequence), 0)
    want = {path: Told(entry, Position(7, sequence)) for path, entry in tree.items()}
    state.commit(Step(standing, want=want), Plan(), Outcome())
    return state


def batch(state: MemoryState, first: int = 11, event: Event | None = None, **changes: object) -> Batch:
    event = event or Event(PATH, FILE, BODY)
    before = state.entries()
    after = {path: entry for path, entry in {**before, event.path: event.entry}.items() if entry is not None}
    made = Batch(LINEAGE, first, (event,), HEAD, state.digest_of(before), state.digest_of(after), hash_of(first))
    return replace(made, **changes)  # type: ignore[arg-type]  # dataclasses.replace has no typed keywords


def on(state: MemoryState, message: Batch | Heartbeat, *, patient: bool = True) -> Decision:
    return agreement.on_stream(state.standing(), state, message, patient=patient)


def step_of(decision: Decision) -> Step:
    assert isinstance(decision, Decided)
    return decision.step


def take(state: MemoryState, decision: Decision) -> None:
    assert isinstance(decision, Decided)
    state.commit(decision.step, decision.plan, Outcome())


def stale_in(state: MemoryState, floor: Position = HERE) -> Standing:
    return replace(state.standing(), stale={BUCKET: Stale(floor, None)}, proved=None)


def test_the_next_batch_is_applied_and_proves_its_digest() -> None:
    state = level_replica()
    decision = on(state, batch(state))
    step = step_of(decision)
    assert step.want == {PATH: Told(FILE, Position(7, 11), BODY)}
    assert step.standing.position == step.standing.proved == Position(7, 11)
    assert step.standing.head == hash_of(11)
    assert step.standing.commits == 1
    assert step.recent == ((11, hash_of(11)),)


def test_the_same_batch_again_is_done_and_does_nothing() -> None:
    state = level_replica()
    message = batch(state)
    take(state, on(state, message))
    assert on(state, message) == Drop("duplicate")


def test_the_same_position_with_other_bytes_is_a_fork_and_nothing_more_of_the_epoch_is_applied() -> None:
    state = level_replica()
    message = batch(state)
    take(state, on(state, message))
    forked = on(state, replace(message, hash=hash_of(99)))
    assert step_of(forked).alarm == "fork"
    take(state, forked)
    following = batch(state, first=12, event=Event(b"b", None), prev=hash_of(11))
    assert on(state, following) == Drop("fork")


@pytest.mark.parametrize("change", [{"prev": hash_of(50)}, {"first": 10}])
def test_a_broken_chain_or_an_overlap_is_a_fork(change: dict[str, object]) -> None:
    state = level_replica()
    message = replace(batch(state), **change)  # type: ignore[arg-type]  # dataclasses.replace has no typed keywords
    if "first" in change:
        message = replace(message, events=(message.events[0], Event(b"b", None)))
    assert step_of(on(state, message)).alarm == "fork"


def test_what_forked_never_agrees_whatever_is_proved_of_it() -> None:
    """Two versions of one position: to equal one of them says nothing."""
    state = level_replica()
    proved = replace(state.standing(), proved=state.standing().position)
    assert agreement.is_agreed(proved, 0)
    assert not agreement.is_agreed(replace(proved, is_forked=True), 0)


def test_a_fork_is_healed_by_the_next_epoch() -> None:
    state = level_replica()
    take(state, on(state, batch(state, prev=hash_of(50))))
    assert state.standing().is_forked
    next_epoch = Lineage("t", 8, b"j" * 16, SALT)
    take(state, on(state, Heartbeat(next_epoch, 10, hash_of(1), state.tree_digest(), 0, 0)))
    assert not state.standing().is_forked
    assert state.standing().epoch == 8


def test_behind_a_hole_it_waits_and_then_jumps_with_everything_stale() -> None:
    state = level_replica()
    message = batch(state, first=15)
    assert on(state, message) == Wait()
    jumped = on(state, message, patient=False)
    step = step_of(jumped)
    assert isinstance(jumped, Decided)
    assert jumped.again
    assert step.standing.position == Position(7, 14)
    assert len(step.standing.stale) == 4096
    assert set(step.standing.stale.values()) == {Stale(Position(7, 14), 10)}
    assert step.closes_questions


def test_a_lower_epoch_is_fenced() -> None:
    state = level_replica()
    assert on(state, batch(state, lineage=replace(LINEAGE, epoch=6))) == Drop("fenced")


def test_another_instance_in_our_epoch_is_dropped_with_an_alarm() -> None:
    state = level_replica()
    dropped = on(state, batch(state, lineage=replace(LINEAGE, instance=b"x" * 16)))
    assert isinstance(dropped, Drop)
    assert (dropped.reason, bool(dropped.alarm)) == ("other-instance", True)


def test_another_salt_in_our_epoch_is_dropped_with_an_alarm() -> None:
    state = level_replica()
    dropped = on(state, batch(state, lineage=replace(LINEAGE, salt=bytes(32))))
    assert isinstance(dropped, Drop)
    assert dropped.alarm


def test_a_higher_epoch_that_starts_from_our_tree_makes_nothing_stale() -> None:
    state = level_replica({PATH: FILE})
    lineage = Lineage("t", 9, b"k" * 16, SALT)
    decision = on(state, Heartbeat(lineage, 10, hash_of(3), state.tree_digest(), 0, 0))
    step = step_of(decision)
    assert not step.standing.stale
    assert step.standing.proved == Position(9, 10)
    assert step.forget_recent


def test_a_higher_epoch_that_starts_from_another_tree_makes_everything_stale_without_a_base() -> None:
    state = level_replica({PATH: FILE})
    lineage = Lineage("t", 9, b"k" * 16, SALT)
    step = step_of(on(state, Heartbeat(lineage, 12, hash_of(3), hash_of(4), 0, 0)))
    assert set(step.standing.stale.values()) == {Stale(Position(9, 12), None)}
    assert step.standing.proved is None


def test_a_batch_whose_digest_would_not_hold_is_not_applied_and_everything_is_stale() -> None:
    state = level_replica()
    decision = on(state, batch(state, after=hash_of(66)))
    step = step_of(decision)
    assert isinstance(decision, Decided)
    assert decision.plan.is_empty
    assert not step.want
    assert step.alarm == "diverged"
    assert step.standing.position == Position(7, 11)
    assert len(step.standing.stale) == 4096


def test_a_batch_whose_outcome_is_no_tree_is_not_applied_and_everything_is_stale() -> None:
    state = level_replica({PATH: FILE})
    event = Event(PATH + b"/below-a-file", FILE, BODY)
    step = step_of(on(state, batch(state, event=event)))
    assert not step.want
    assert step.alarm == "diverged"


def test_a_heartbeat_for_what_is_proved_already_costs_nothing() -> None:
    state = level_replica()
    assert on(state, Heartbeat(LINEAGE, 10, HEAD, state.tree_digest(), 1, 0)) == Drop("heard")


def test_a_heartbeat_ahead_of_us_shows_a_gap() -> None:
    state = level_replica()
    heartbeat = Heartbeat(LINEAGE, 12, hash_of(12), hash_of(13), 1, 0)
    assert on(state, heartbeat) == Wait()
    assert step_of(on(state, heartbeat, patient=False)).standing.position == Position(7, 12)


def rows(state: MemoryState, at: int, *events: Event, digest: bytes | None = None) -> BucketRows:
    entries = [(event.path, event.entry) for event in events if event.entry is not None]
    return BucketRows(LINEAGE, "r", b"n" * 16, at, BUCKET, digest or bucket_digest(SALT, entries), events)


def test_an_answer_ahead_of_the_stream_waits() -> None:
    state = level_replica()
    assert merging.refuses(state.standing(), rows(state, 11)) == Wait()


def test_a_torn_bucket_answer_is_dropped() -> None:
    state = level_replica()
    refused = merging.refuses(state.standing(), rows(state, 10, digest=hash_of(5)))
    assert isinstance(refused, Drop)
    assert refused.reason == "torn-answer"


def test_a_bucket_answer_levels_its_bucket_and_removes_what_it_does_not_name() -> None:
    state = level_replica({PATH: FILE})
    standing = replace(stale_in(state), digest=state.digest_of({}))
    step = step_of(merging.merge(standing, state, [rows(state, 10)]))
    assert step.want == {PATH: Told(None, Position(7, 10))}
    assert step.levelled == {BUCKET}
    assert step.standing.proved == Position(7, 10)


def test_an_answer_from_before_the_floor_levels_nothing() -> None:
    state = level_replica({PATH: FILE})
    standing = stale_in(state, floor=Position(7, 10))
    assert merging.merge(standing, state, [rows(state, 9)]) == Drop("no-news")


def test_what_a_live_event_told_later_than_the_answer_stays() -> None:
    state = level_replica({PATH: FILE}, sequence=12)
    standing = stale_in(state, floor=Position(7, 10))
    step = step_of(merging.merge(standing, state, [rows(state, 11)]))
    assert step.want == {}
    assert step.levelled == {BUCKET}


def test_several_answers_are_merged_in_one_step() -> None:
    state = level_replica({PATH: FILE})
    standing = replace(stale_in(state), stale={b: Stale(Position(7, 10), None) for b in range(4096)})
    same = Same(LINEAGE, "r", b"n" * 16, 10, tuple(b for b in range(4096) if b != BUCKET))
    step = step_of(merging.merge(standing, state, [same, rows(state, 10, Event(PATH, FILE))]))
    assert not step.standing.stale
    assert step.standing.proved == Position(7, 10)


def test_a_body_is_taken_only_for_an_unmet_path_and_only_what_the_index_has_now() -> None:
    state = level_replica({PATH: FILE})
    answer = BodyAnswer(LINEAGE, "r", b"n" * 16, 10, PATH, FILE.digest, BODY)
    assert merging.merge(state.standing(), state, [answer]) == Drop("no-news")
    state._unmet[PATH] = Unmet(Reason.BODY)
    assert step_of(merging.merge(state.standing(), state, [answer])).want[PATH].body == BODY
    other = replace(answer, content=b"other", digest=content_digest(b"other"))
    assert merging.merge(state.standing(), state, [other]) == Drop("no-news")


def test_agreed_needs_nothing_stale_nothing_unmet_and_a_proof_at_this_very_position() -> None:
    standing = level_replica().standing()
    assert agreement.is_agreed(standing, 0)
    assert not agreement.is_agreed(standing, 1)
    assert not agreement.is_agreed(replace(standing, stale={1: Stale(Position(7, 1), None)}), 0)
    assert not agreement.is_agreed(replace(standing, sequence=11), 0)


def test_a_batch_without_room_is_skipped_like_a_gap() -> None:
    state = level_replica()
    message = batch(state)
    step = agreement.skip(state.standing(), agreement.as_run(message))
    assert step.standing.position == Position(7, 11)
    assert step.standing.head == message.hash
    assert len(step.standing.stale) == 4096


def test_what_was_found_goes_aside_also_when_the_content_that_replaces_it_comes_later() -> None:
    state = MemoryState(SALT)
    state.adopt([Found(PATH, file_entry(0o644, 5, 5, content_digest(b"local")))], first_copy_complete=False)
    take(state, on(state, Heartbeat(LINEAGE, 10, HEAD, state.digest_of({PATH: FILE}), 1, 0)))
    same = Same(LINEAGE, "r", b"n" * 16, 10, tuple(b for b in range(4096) if b != BUCKET))
    take(state, merging.merge(state.standing(), state, [same, rows(state, 10, Event(PATH, FILE))]))
    assert set(state.unmet([PATH])) == {PATH}
    answer = BodyAnswer(LINEAGE, "r", b"n" * 16, 10, PATH, FILE.digest, BODY)
    decision = merging.merge(state.standing(), state, [answer])
    assert isinstance(decision, Decided)
    assert decision.plan.foreign == {PATH}
    take(state, decision)
    assert not state.rows([PATH])[PATH].found


def test_in_a_set_of_batches_a_change_of_mode_alone_keeps_the_content_that_came_before_it() -> None:
    state = level_replica()
    first = batch(state)
    other_mode = FILE._replace(mode=0o600)
    second = Batch(
        LINEAGE,
        12,
        (Event(PATH, other_mode),),
        first.hash,
        first.after,
        state.digest_of({PATH: other_mode}),
        hash_of(12),
    )
    assert agreement.continues(first, second)
    step = step_of(agreement.apply(state.standing(), state, [first, second]))
    assert step.want == {PATH: Told(other_mode, Position(7, 12), BODY)}
    assert step.recent == ((11, hash_of(11)), (12, hash_of(12)))
    assert step.standing.position == step.standing.proved == Position(7, 12)


def test_only_what_comes_right_after_in_the_same_chain_continues_a_batch() -> None:
    state = level_replica()
    first = batch(state)
    second = batch(state, first=12, prev=first.hash)
    assert agreement.continues(first, second)
    for changed in ({"first": 13}, {"prev": hash_of(9)}, {"lineage": replace(LINEAGE, instance=b"x" * 16)}):
        assert not agreement.continues(first, replace(second, **changed))


def test_the_next_batch_is_next_for_its_lineage_and_chain_only() -> None:
    state = level_replica()
    message = batch(state)
    assert agreement.is_next(state.standing(), message)
    assert not agreement.is_next(replace(state.standing(), is_forked=True), message)
    assert not agreement.is_next(state.standing(), replace(message, prev=hash_of(1)))
    assert not agreement.is_next(state.standing(), replace(message, lineage=replace(LINEAGE, epoch=8)))


def test_a_problem_is_tried_again_only_where_it_is_known_what_must_be_there() -> None:
    state = level_replica({PATH: FILE})
    state._unmet[PATH] = Unmet(Reason.PROBLEM)
    assert step_of(merging.retry(state.standing(), state, [PATH])).want == {PATH: Told(FILE, HERE)}
    guessed = stale_in(state, floor=HERE)
    assert merging.retry(guessed, state, [PATH]) == Drop("no-news")


def test_a_large_content_is_placed_only_where_it_is_known_to_belong() -> None:
    """A path that is only guessed may be below a directory that the master has excluded meanwhile, and we know that."""
    state = level_replica({PATH: FILE})
    state._unmet[PATH] = Unmet(Reason.BODY)
    assert step_of(merging.place_stored(state.standing(), state, PATH, FILE.digest)).want
    assert merging.place_stored(stale_in(state), state, PATH, FILE.digest) == Drop("no-news")
