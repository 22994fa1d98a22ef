"""Decides which wire formats are read and written. Knows numbers only, no bytes.

A reader takes its own format and the one before; a writer writes the lowest that every replica has reported. So parts are
upgraded, and rolled back, one at a time and in any order.
"""

from collections.abc import Iterable

from common.errors import NeedsUpgradeError, SettingError

FORMAT = 1
"""The newest format: what this version reports, and writes when nobody needs an older one."""
LOWEST_WRITTEN = 1
"""The oldest format that this version can still write."""
READS = frozenset({1})
"""The formats that this version reads."""


def writes(reported: Iterable[int], pin: int | None) -> int:
    """The format to write, given the newest that each replica heard from within a day can read.

    The lowest of them, never above `FORMAT` and never below `LOWEST_WRITTEN`. A pin wins over all reports.
    Raises SettingError for TREECAST_WIRE when the pin is a format that this version does not write.
    """
    if pin is None:
        return max(LOWEST_WRITTEN, min([FORMAT, *reported]))
    if not LOWEST_WRITTEN <= pin <= FORMAT:
        raise SettingError("TREECAST_WIRE", pin, f"{LOWEST_WRITTEN} to {FORMAT}")
    return pin


def needs_upgrade(reader: str, reason: str, found: str, known: str) -> NeedsUpgradeError:
    """The error for a message that is newer than this program: a sentence that says who must be upgraded first."""
    return NeedsUpgradeError(
        reason, f"upgrade this {reader} first: the message has {found}, this version knows {known}"
    )
