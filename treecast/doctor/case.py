"""Does: gathers what every check of one role begins with: its settings, the process that runs, its place in /proc.

A check is a function of a case that yields findings; one that fails says so in a finding, and the next goes on.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.control import ControlClient
from common.endings import line_for
from common.errors import TreecastError, UnreachableError
from common.settings import CommonSettings, ConsumeSettings, ProduceSettings
from treecast.doctor.disks import Mount, parse_mounts
from treecast.doctor.filesystems import mounts_text, user_name
from treecast.doctor.findings import Finding, Severity, warning
from treecast.doctor.kernel import PROC


@dataclass(frozen=True, slots=True)
class Case:
    """One role on this machine. `status`: what its running process says, None where none answers."""

    settings: CommonSettings
    status: Mapping[str, Any] | None = None
    management: str | None = None
    proc: Path = PROC
    user: str = field(default_factory=lambda: user_name(os.geteuid()))

    @property
    def produce(self) -> ProduceSettings | None:
        """The settings, of a producer."""
        return self.settings if isinstance(self.settings, ProduceSettings) else None

    @property
    def consume(self) -> ConsumeSettings | None:
        """The settings, of a consumer."""
        return self.settings if isinstance(self.settings, ConsumeSettings) else None

    @property
    def replica(self) -> str:
        """ "" for a producer."""
        return self.consume.replica if self.consume is not None else ""

    @property
    def unit(self) -> str:
        """What the README calls its service, and its settings' file."""
        return "treecast-consume" if self.consume is not None else "treecast-produce"

    @property
    def root(self) -> Path:
        """The source or the target."""
        return self.consume.target if self.consume is not None else self.produce.source  # type: ignore[union-attr]

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self.status.get("pid") if self.status is not None else None

    def mounts(self) -> list[Mount]:
        """As this process sees them."""
        return parse_mounts(mounts_text(self.proc))


Check = Callable[[Case], Iterator[Finding]]


def status_of(state: Path) -> Mapping[str, Any] | None:
    """What the process with this state directory says of itself; None where none answers this user."""
    try:
        return ControlClient(state).ask("status")
    except TreecastError:
        return None


def carry_out(checks: Mapping[str, Check], case: Case) -> Iterator[Finding]:
    """All of them, by name, whatever becomes of one: what could not be looked at is not well."""
    for name, check in checks.items():
        try:
            yield from check(case)
        except UnreachableError as error:
            yield Finding(Severity.ERROR, name, line_for(error), "an answer in time", is_reach=True)
        except (OSError, TreecastError) as error:
            yield warning(name, f"not checked: {line_for(error)}", "a look that succeeds")
