"""Decides how far a scrub is that a replica was asked for, from what its reports say. Knows no broker and no clock.

A report's details name the last commands that were taken, each with the number of its run, the run that is under way, and the
last one that ended. All of it is a replica's word: what makes no sense is passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from common.messages import ReplicaState, Report

UNTAKEN_SECONDS = 60.0
"""Who speaks, and has not begun for so long, is not waited for."""
GONE_SECONDS = 30.0
KINDS_LIMIT, KIND_LIMIT_CHARACTERS, DIGITS_LIMIT = 32, 32, 18


class Scrubbed(StrEnum):
    """How it is with one replica."""

    ASKED = "asked"
    """Has not said yet that it began."""
    RUNNING = "running"
    DONE = "done"
    GONE = "gone"
    """Says nothing any more, or never did."""
    HALTED = "halted"
    SILENT = "silent"
    """Speaks, and has not begun for a minute."""
    LOST = "lost"
    """Was started again, and does not know what came of it."""


ENDED = frozenset(Scrubbed) - {Scrubbed.ASKED, Scrubbed.RUNNING}


@dataclass(frozen=True, slots=True)
class ScrubSeen:
    """What is known of one replica's scrub. `run`: its number there, 0: not known. `result`: of one that is done."""

    word: Scrubbed = Scrubbed.ASKED
    run: int = 0
    state: str = ""
    ratio: float = 0.0
    repaired: int = 0
    problems: int = 0
    findings: Mapping[str, int] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.word in ENDED


def heard(seen: ScrubSeen, nonce: str, report: Report) -> ScrubSeen:
    """What a report adds. `nonce`: that of the command, in hex."""
    details = report.details
    run = seen.run or _run_of(nonce, details)
    if seen.word is Scrubbed.DONE or not run:
        return replace(seen, word=Scrubbed.HALTED) if report.state is ReplicaState.HALTED and not run else seen
    if _count(details, "scrub_last_run") >= run:
        return _done(run, details)
    if report.state is ReplicaState.HALTED:
        return replace(seen, run=run, word=Scrubbed.HALTED)
    if _count(details, "scrub_run") != run:
        return replace(seen, run=run, word=Scrubbed.LOST)
    state, ratio = details.get("scrub_state"), details.get("scrub_ratio")
    return ScrubSeen(
        Scrubbed.RUNNING,
        run,
        state if isinstance(state, str) else "",
        min(1.0, max(0.0, float(ratio))) if isinstance(ratio, int | float) else 0.0,
        _count(details, "scrub_repaired"),
        findings=_kinds(details.get("scrub_findings")),
    )


def waited(seen: ScrubSeen, silent_seconds: float, waited_seconds: float) -> ScrubSeen:
    """What time adds. `silent_seconds`: since its last word; `waited_seconds`: since it was asked."""
    if seen.word in (Scrubbed.ASKED, Scrubbed.RUNNING) and silent_seconds >= GONE_SECONDS:
        return replace(seen, word=Scrubbed.GONE)
    if seen.word is Scrubbed.ASKED and waited_seconds >= UNTAKEN_SECONDS:
        return replace(seen, word=Scrubbed.SILENT)
    return seen


def _done(run: int, details: Mapping[str, Any]) -> ScrubSeen:
    findings, repaired = _kinds(details.get("scrub_last_findings")), _count(details, "scrub_last_repaired")
    result = {name: _number(details, f"scrub_last_{name}") for name in ("paths", "bytes", "seconds")}
    problems = _count(details, "scrub_last_problems")
    return ScrubSeen(Scrubbed.DONE, run, "", 1.0, repaired, problems, findings, result)


def _run_of(nonce: str, details: Mapping[str, Any]) -> int:
    asked = details.get("scrub_asked")
    for text in asked if isinstance(asked, list) else ():
        taken, _, run = str(text).partition(" ")
        if taken == nonce:
            return _whole(run)
    return 0


def _kinds(told: object) -> dict[str, int]:
    """Texts such as "3 edited"."""
    found = {}
    for text in told if isinstance(told, list) else ():
        count, _, kind = str(text).partition(" ")
        if kind and (number := _whole(count)):
            found[kind[:KIND_LIMIT_CHARACTERS]] = number
        if len(found) == KINDS_LIMIT:
            break
    return found


def _whole(text: str) -> int:
    """A number as it was written; 0: it is none."""
    return int(text) if len(text) <= DIGITS_LIMIT and text.isascii() and text.isdigit() else 0


def _count(details: Mapping[str, Any], name: str) -> int:
    value = details.get(name)
    return value if type(value) is int and value >= 0 else 0


def _number(details: Mapping[str, Any], name: str) -> float:
    value = details.get(name)
    return value if isinstance(value, int | float) and value >= 0 else 0
