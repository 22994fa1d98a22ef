"""Decides what one reading of everything came to: what was found, of which kinds, and how much of it was put right."""

from collections import Counter
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
