"""How proofs and scrubs of a fleet read, few or many, and which exit code that is."""

from typing import Any

import pytest

from treecast import prove_page, scrub_page

NOON = 43_200.0


def at(unix: float) -> str:
    return f"{unix // 3600:02.0f}:00"


def proof(word: str = "proved", **more: Any) -> dict[str, Any]:
    return {
        "word": word,
        "position": {"epoch": 7, "sequence": 481_223},
        "why": "",
        "seconds": 0.2,
        "heard": NOON,
        **more,
    }


def proofs(**replicas: dict[str, Any]) -> dict[str, Any]:
    return {"is_done": True, "seconds": 10.0, "replicas": replicas}


def test_each_proof_is_a_line_and_the_sentence_counts_them() -> None:
    found = proofs(
        fra7=proof(), osl=proof("silent"), par=proof("differs", why="its tree digest is another"), nyc=proof("gone"),
        rio=proof("gone", heard=0.0), sea=proof("unproved", why="12 buckets are still compared"),
    )  # fmt: skip
    assert prove_page.sentence(found) == (
        "1 of 6 proved to be equal in 10.0 s; 1 DIFFER, 1 did not answer, 2 gone, 1 not proved"
    )
    assert prove_page.lines(found, at) == [
        "  par   DIFFERS at 481,223: its tree digest is another",
        "  osl   did not answer within 10 s",
        "  nyc   gone since 12:00",
        "  rio   never heard of",
        "  sea   not proved at 481,223: 12 buckets are still compared",
        "  fra7  proved 481,223 just now (0.2 s)",
    ]
    assert prove_page.exit_code(found) == 1


def test_all_proved_is_one_sentence_and_0() -> None:
    found = {**proofs(a=proof(), b=proof()), "seconds": 0.21}
    assert prove_page.sentence(found) == "all 2 proved to be equal in 0.2 s"
    assert prove_page.exit_code(found) == 0


def test_nobody_asked_proves_nothing() -> None:
    assert "no replica" in prove_page.sentence(proofs())
    assert prove_page.exit_code(proofs()) == 1


def test_of_three_hundred_proofs_those_that_are_none_have_lines() -> None:
    found = proofs(**{f"r{number}": proof() for number in range(299)}, bad=proof("silent"))
    assert prove_page.lines(found, at) == ["  bad  did not answer within 10 s"]
    assert len(prove_page.lines(found, at, is_all=True)) == 300
    silent = proofs(**{f"r{number}": proof("silent") for number in range(300)})
    assert len(prove_page.lines(silent, at)) == 31


def scrub(word: str = "done", **more: Any) -> dict[str, Any]:
    whole = {"paths": 1000, "bytes": 2_000_000, "seconds": 3.0} if word == "done" else {}
    return {
        "word": word, "state": "", "ratio": 0.0, "repaired": 0, "problems": 0, "findings": {}, "heard": NOON, **whole, **more,
    }  # fmt: skip


def scrubs(**replicas: dict[str, Any]) -> dict[str, Any]:
    return {"is_done": True, "seconds": 12.3, "replicas": replicas}


def test_progress_is_one_line_for_however_many() -> None:
    found = scrubs(
        **{f"d{number}": scrub() for number in range(12)},
        **{f"r{number}": scrub("running", ratio=0.5, findings={"edited": 1}, repaired=1) for number in range(280)},
        **{f"w{number}": scrub("asked") for number in range(7)},
        gone=scrub("gone"),
    )
    line = scrub_page.progress(found)
    assert line == "12 of 300 done, 280 at 50% on average, 7 not begun, 1 lost; 280 found, 280 repaired"


def test_at_the_end_the_sum_and_whoever_has_something_to_tell() -> None:
    found = scrubs(
        a=scrub(), b=scrub(findings={"edited": 2}, repaired=2), c=scrub(findings={"mode": 1}, problems=1),
        d=scrub("gone"), e=scrub("silent"), f=scrub("lost"), g=scrub("halted"), h=scrub("gone", heard=0),
    )  # fmt: skip
    assert scrub_page.report(found, at) == [
        "3 of 8 replicas scrubbed: 3,000 paths, 6.0 MB in 12.3 s",
        "found: 2 edited, 1 mode; 2 repaired; 1 problems remain: treecast status --problems lists them",
        "  d  gone since 12:00",
        "  e  did not begin within a minute",
        "  f  was started again, and nobody knows what came of it; ask again",
        "  g  halted: a person is needed there",
        "  h  never heard of",
        "  c  found 1 mode; 0 repaired; 1 problems remain",
        "  b  found 2 edited; 2 repaired",
    ]


def test_three_hundred_clean_ones_are_two_lines_and_three_hundred_dirty_ones_thirty_more() -> None:
    clean = scrubs(**{f"r{number}": scrub() for number in range(300)})
    assert scrub_page.report(clean, at)[1:] == ["found: nothing; 0 repaired"]
    dirty = scrubs(**{f"r{number}": scrub(findings={"mode": 1}, repaired=1) for number in range(300)})
    assert len(scrub_page.report(dirty, at)) == 2 + 30 + 1


@pytest.mark.parametrize(
    ("replicas", "code"),
    [
        ({"a": scrub(findings={"mode": 1}, repaired=1)}, 0),
        ({"a": scrub(problems=1)}, 1),
        ({"a": scrub(), "b": scrub("gone")}, 1),
        ({"a": scrub("silent")}, 1),
        ({}, 1),
    ],
)
def test_the_exit_code_of_scrubs(replicas: dict[str, Any], code: int) -> None:
    assert scrub_page.exit_code(scrubs(**replicas)) == code
