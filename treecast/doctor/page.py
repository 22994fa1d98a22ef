"""Decides how findings read for a person, and for a program. Knows no check; prints nothing."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from treecast.doctor.findings import Finding, Severity, verdict

WIDTH = 100
_INDENT = " " * 4
_WORST_FIRST = (Severity.ERROR, Severity.WARNING, Severity.NOTE, Severity.OK)


def page(heading: str, findings: Sequence[Finding], *, shows_all: bool, width: int = WIDTH) -> str:
    """The heading, what is not ok (or all of it), the worst first, and one line that sums up."""
    shown = [one for one in sorted(findings, key=_rank) if shows_all or one.severity is not Severity.OK]
    column = max((len(one.name) for one in shown), default=0)
    lines = [heading, ""]
    for finding in shown:
        lines += _lines(finding, column, width)
        # Never wrapped: they are to be pasted.
        lines += [_INDENT + line for line in finding.todo.splitlines()]
    if shown:
        lines.append("")
    return "\n".join([*lines, summary(findings, shows_all=shows_all)])


def _lines(finding: Finding, column: int, width: int) -> Iterator[str]:
    first = f"{finding.severity:<8} {finding.name:<{column}}  "
    text = f"{finding.found}; needed: {finding.needed}" if finding.needed else finding.found
    indent = " " * len(first)
    yield from textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def summary(findings: Sequence[Finding], *, shows_all: bool) -> str:
    """One line: how many of each kind, and how to see the rest."""
    counts = Counter(one.severity for one in findings)
    well = counts[Severity.OK]
    told = [_counted(counts[kind], kind) for kind in _WORST_FIRST[:-1] if counts[kind]]
    rest = "" if shows_all or not well else "; --all shows them too"
    if not told:
        return f"all {len(findings)} checks are well{rest}"
    return f"{', '.join(told)}; {well} of {len(findings)} checks are well{rest}"


def _counted(count: int, kind: Severity) -> str:
    return f"{count} {kind}" if count == 1 else f"{count} {kind}s"


def _rank(finding: Finding) -> int:
    return _WORST_FIRST.index(finding.severity)


def as_json(about: dict[str, Any], findings: Sequence[Finding]) -> dict[str, Any]:
    """Everything, for a program, in the order in which it was looked at."""
    return {
        **about,
        "exit_code": verdict(findings),
        "findings": [
            {
                "severity": one.severity.value,
                "name": one.name,
                "found": one.found,
                "needed": one.needed,
                "todo": one.todo,
            }
            for one in findings
        ],
    }
