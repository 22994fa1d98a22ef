"""What replicas prove and how far their scrubs are, from what they say, which may be anything."""

from dataclasses import replace
from typing import Any

import pytest

from common.entries import Position
from common.messages import Lineage, ReplicaState, Report
from consumer.errands import SHOWN_SECONDS, Errands
from consumer.scrub_tally import report_details
from producer.proofs import POSITIONS_KEPT, Proved, RecentDigests, proof_in
from producer.scrubs import GONE_SECONDS, UNTAKEN_SECONDS, Scrubbed, ScrubSeen, heard, waited

OURS = Lineage("t", 7, b"i" * 16, bytes(32))
HERE = Position(7, 100)
DIGEST = bytes(range(32))
NONCE = "ab" * 16


def report(**changes: Any) -> Report:
    details = changes.pop("details", {})
    known = Report("t", "paris", OURS.instance, HERE, True, ReplicaState.FOLLOWING, 0, "1.0", 1, details=details)
    return replace(known, **changes)


def recent() -> RecentDigests:
    digests = RecentDigests()
    digests.note(HERE, DIGEST)
    return digests


RIGHT = {"digest": DIGEST.hex()}


@pytest.mark.parametrize(
    ("said", "word", "why"),
    [
        (report(details=RIGHT), Proved.PROVED, ""),
        (report(details={"digest": bytes(32).hex()}), Proved.DIFFERS, "another"),
        (report(details={}), Proved.DIFFERS, "another"),
        (report(details={"digest": 7}), Proved.DIFFERS, "another"),
        (report(position=Position(7, 101), details=RIGHT), Proved.DIFFERS, "never published"),
        (report(details={**RIGHT, "forked": True}), Proved.DIFFERS, "never published"),
        (report(stale_buckets=4096, details=RIGHT), Proved.UNPROVED, "4,096 buckets"),
        (report(position=Position(7, 99), details=RIGHT), Proved.UNPROVED, "too far behind"),
        (report(position=Position(6, 100), details=RIGHT), Proved.UNPROVED, "follows epoch 6"),
        (report(instance=b"o" * 16, details=RIGHT), Proved.UNPROVED, "follows epoch 7"),
        (report(details={**RIGHT, "unmet_problem": 3}), Proved.UNPROVED, "equal but for 3 paths fail"),
        (report(details={**RIGHT, "unmet_held": "many"}), Proved.PROVED, ""),
    ],
)
def test_a_digest_proves_what_was_published_for_its_position(said: Report, word: Proved, why: str) -> None:
    proof = proof_in(said, OURS, HERE, recent())
    assert proof.word is word
    assert why in proof.why


def test_digests_of_the_last_positions_are_kept_alone() -> None:
    digests = RecentDigests()
    for sequence in range(POSITIONS_KEPT + 10):
        digests.note(Position(7, sequence), b"%d" % sequence)
    assert digests.at(Position(7, 9)) is None
    assert digests.at(Position(7, 10)) == b"10"


def scrubbed(*said: Report) -> ScrubSeen:
    seen = ScrubSeen()
    for one in said:
        seen = heard(seen, NONCE, one)
    return seen


ASKED = {"scrub_asked": [f"{'00' * 16} 3", f"{NONCE} 5"]}
RUNNING = report(details={
    **ASKED, "scrub_run": 5, "scrub_state": "reading", "scrub_ratio": 0.25, "scrub_findings": ["2 edited"], "scrub_repaired": 1,
})  # fmt: skip
DONE = report(details={
    "scrub_last_run": 5, "scrub_last_problems": 1, "scrub_last_repaired": 2, "scrub_last_findings": ["2 edited", "1 bit-rot"],
    "scrub_last_paths": 9, "scrub_last_bytes": 99, "scrub_last_seconds": 1.5,
})  # fmt: skip


def test_a_scrub_is_followed_from_the_command_to_its_result() -> None:
    assert scrubbed(report()).word is Scrubbed.ASKED
    running = scrubbed(report(), RUNNING)
    assert (running.word, running.ratio, running.findings, running.repaired) == (
        Scrubbed.RUNNING,
        0.25,
        {"edited": 2},
        1,
    )
    done = scrubbed(report(), RUNNING, DONE)
    assert (done.word, done.problems, done.findings) == (Scrubbed.DONE, 1, {"edited": 2, "bit-rot": 1})
    assert done.result == {"paths": 9, "bytes": 99, "seconds": 1.5}
    assert scrubbed(RUNNING, DONE, report()).word is Scrubbed.DONE, "what is over stays so"


def test_a_run_that_a_later_one_has_followed_is_over_too() -> None:
    later = report(details={**DONE.details, "scrub_last_run": 8})
    assert scrubbed(RUNNING, later).word is Scrubbed.DONE


def test_one_that_was_started_again_in_between_is_lost_unless_it_goes_on() -> None:
    assert scrubbed(RUNNING, report()).word is Scrubbed.LOST
    assert scrubbed(RUNNING, report(), RUNNING).word is Scrubbed.RUNNING


@pytest.mark.parametrize("before", [(), (RUNNING,)])
def test_one_that_halts_will_not_come_to_an_end(before: tuple[Report, ...]) -> None:
    assert scrubbed(*before, report(state=ReplicaState.HALTED)).word is Scrubbed.HALTED


def test_who_says_nothing_or_does_not_begin_is_not_waited_for() -> None:
    assert waited(ScrubSeen(), 0.0, UNTAKEN_SECONDS).word is Scrubbed.SILENT
    assert waited(scrubbed(RUNNING), GONE_SECONDS, 1e6).word is Scrubbed.GONE
    assert waited(scrubbed(RUNNING), 1.0, 1e6).word is Scrubbed.RUNNING
    assert waited(scrubbed(RUNNING, DONE), 1e6, 1e6).word is Scrubbed.DONE


@pytest.mark.parametrize(
    "details",
    [
        {"scrub_asked": 7},
        {"scrub_asked": [f"{NONCE}", f"{NONCE} -5", f"{NONCE} ²", f"{NONCE} {'9' * 5000}"]},
        {**ASKED, "scrub_run": "5", "scrub_last_run": True},
        {**ASKED, "scrub_run": 5, "scrub_state": 7, "scrub_ratio": "much", "scrub_findings": ["x", "² y", "3"]},
        {
            **ASKED,
            "scrub_last_run": 5,
            "scrub_last_paths": "many",
            "scrub_last_findings": [f"1 k{n}" for n in range(999)],
        },
    ],
)
def test_what_makes_no_sense_in_a_report_is_passed_over(details: dict[str, Any]) -> None:
    seen = scrubbed(report(details=details))
    assert len(seen.findings) <= 32
    assert seen.ratio in (0.0, 1.0)


def test_a_digest_is_shown_for_a_moment_and_the_runs_of_scrubs_for_good() -> None:
    errands = Errands()
    assert errands.details(lambda: DIGEST, 0.0) == {}
    errands.prove(b"n" * 16, 100.0)
    errands.scrub(b"m" * 16, 5)
    assert errands.count == 2
    told = errands.details(lambda: DIGEST, 100.0)
    assert told == {"proved": [(b"n" * 16).hex()], "digest": DIGEST.hex(), "scrub_asked": [f"{(b'm' * 16).hex()} 5"]}
    assert errands.details(lambda: DIGEST, 100.0 + SHOWN_SECONDS).keys() == {"scrub_asked"}


def test_a_report_tells_of_a_scrub_in_plain_values_that_are_read_again() -> None:
    told = {
        "run": 5, "state": "reading", "ratio": 0.25, "repaired": 1, "findings": {"edited": 2}, "open": 1, "ended": 9.5,
        "last": {"run": 4, "paths": 9, "bytes": 99, "repaired": 1, "problems": 0, "seconds": 1.5, "findings": {"mode": 1}},
    }  # fmt: skip
    details = report_details(told, {"bit-rot": 3})
    assert details["scrub"] == "25%"
    assert details["scrub_found_bit_rot"] == 3
    assert scrubbed(report(details={**details, **ASKED})).findings == {"edited": 2}
    assert scrubbed(report(details={**details, "scrub_asked": [f"{NONCE} 4"]})).findings == {"mode": 1}
