"""Decides what one reading of everything came to: what was found, of which kinds, and how much of it was put right; and what of
that a report tells.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Tally:
    """What one pass came to. `run`: the number of the order, 0: paced. `began_at`: monotonic seconds. By kind of drift."""

    run: int = 0
    began_at: float = 0.0
    found: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)

    def summary(self, paths: int, size_bytes: int) -> dict[str, Any]:
        """For a status. `paths`, `size_bytes`: how much was read."""
        return {
            "run": self.run,
            "paths": paths,
            "bytes": size_bytes,
            "findings": dict(sorted(self.found.items())),
            "repaired": self.repaired.total(),
        }

    def words(self, problems: int) -> str:
        """For a log. `problems`: how many paths remain that nobody can put right."""
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(self.found.items()))
        return f"{found}; {self.repaired.total()} repaired, {problems} problems"


def report_details(told: Mapping[str, Any], total: Mapping[str, int]) -> dict[str, Any]:
    """For a report, which holds plain values alone. `told`: what a status tells of the scrub. `total`: what was found since the
    start, by kind. `scrub_last_...`: what the last run that somebody asked for came to, where one ended since the start."""
    found: dict[str, Any] = {f"scrub_found_{kind.replace('-', '_')}": count for kind, count in sorted(total.items())}
    found |= {"scrub_open": told["open"], "scrub_ended": int(told["ended"])}
    if told["run"]:
        found |= {f"scrub_{name}": told[name] for name in ("run", "state", "ratio", "repaired")}
        found |= {"scrub_findings": _kinds(told["findings"]), "scrub": _words(told["state"], told["ratio"])}
    if last := told["last"]:
        whole = ("run", "paths", "bytes", "repaired", "problems", "seconds")
        found |= {f"scrub_last_{name}": last[name] for name in whole}
        found["scrub_last_findings"] = _kinds(last["findings"])
    return found


def _kinds(findings: Mapping[str, int]) -> list[str]:
    return [f"{count} {kind}" for kind, count in findings.items()]


def _words(state: str, ratio: float) -> str:
    return f"{ratio:.0%}" if state == "reading" else state


class Unreadable:
    """Paths of which nothing is concluded, because they could not be read: in this pass, or in the last one and not since."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._seen: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._known)

    def see(self, path: bytes) -> bool:
        """This one could not be read. Whether that is new."""
        is_new = path not in self._known
        self._known.add(path)
        self._seen.add(path)
        return is_new

    def end_pass(self) -> set[bytes]:
        """Everything was tried. Those that could be read again, and are forgotten."""
        readable = self._known - self._seen
        self._known, self._seen = self._seen, set()
        return readable
