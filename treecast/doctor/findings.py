"""Decides what a finding is, how bad all of them together are, and how a line to paste is spelled. Knows no check."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from common.codes import DONE, FAILED, OUT_OF_REACH, STOPPED


class Severity(StrEnum):
    """How bad, from nothing to what keeps it from working at all."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to. `name` is short and stable; `needed` is the end of "needed: "; `todo` is a line to paste, or two.

    `is_reach`: an error because somebody is out of reach, which may come back by itself.
    """

    severity: Severity
    name: str
    found: str
    needed: str = ""
    todo: str = ""
    is_reach: bool = False


def well(name: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(Severity.OK, name, found)


def note(name: str, found: str, needed: str = "", todo: str = "") -> Finding:
    """Good to know; nothing hurts."""
    return Finding(Severity.NOTE, name, found, needed, todo)


def warning(name: str, found: str, needed: str, todo: str = "") -> Finding:
    """It works, and something will hurt."""
    return Finding(Severity.WARNING, name, found, needed, todo)


def error(name: str, found: str, needed: str, todo: str = "") -> Finding:
    """It does not work, or hurts all replicas, until a person acts."""
    return Finding(Severity.ERROR, name, found, needed, todo)


def verdict(findings: Iterable[Finding]) -> int:
    """The exit code of all of them: a person's errors weigh more than what is out of reach, that more than warnings."""
    codes = {_code(finding) for finding in findings}
    return next((code for code in (STOPPED, OUT_OF_REACH, FAILED) if code in codes), DONE)


def _code(finding: Finding) -> int:
    match finding.severity:
        case Severity.ERROR:
            return OUT_OF_REACH if finding.is_reach else STOPPED
        case Severity.WARNING:
            return FAILED
    return DONE


def quoted(word: str) -> str:
    """A word as a shell takes it, whatever is in it. In one line, so that it can be pasted."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(_escaped(sign) for sign in word) + "'"


def _escaped(sign: str) -> str:
    if sign.isprintable() and sign not in "\\'":
        return sign
    return "".join(f"\\x{one:02x}" for one in sign.encode("utf-8", "surrogateescape"))
