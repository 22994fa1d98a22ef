"""Decides how the change log reads, for a person and for a program. Knows rows; asks nobody. Times come as text."""

from typing import Any

from common.entries import Kind
from common.names import PATTERNS_PATH, escape
from producer.values import Logged


def line(row: Logged, time: str) -> str:
    """One line: time, epoch.sequence, what, kind and size (of what went, where it went), path."""
    kind, size = (row.kind, row.size) if row.kind else (row.old_kind, row.old_size)
    shown = str(size) if kind != Kind.DIRECTORY else "-"
    path = escape(row.path) if row.path != PATTERNS_PATH else "(what is excluded)"
    return f"{time} {row.epoch}.{row.sequence:<9} {row.what:<7} {row.kind_word(kind):<9} {shown:>9} {path}"


def as_json(row: Logged, time: str) -> dict[str, Any]:
    """The same, with what was there before."""
    return {
        "time": time,
        "epoch": row.epoch,
        "sequence": row.sequence,
        "what": row.what,
        "kind": row.kind_word(row.kind),
        "size": row.size,
        "old_kind": row.kind_word(row.old_kind),
        "old_size": row.old_size,
        "path": escape(row.path),
    }
