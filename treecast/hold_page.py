"""Decides how holds read for a person, and which of several processes is meant. Asks nobody."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

_EMPTY = "source-empty"


def summary(told: Mapping[str, Any], since: str) -> str:
    """One process's holds, on one line. `since`: when the hold began, as a person reads it."""
    name = f"{told['role']}{' ' + told['replica'] if told.get('replica') else ''} of tree {told['tree']}"
    release = f"treecast hold release --state {shlex.quote(told['state_directory'])}"
    if _is_emptied(told):
        return f"{name}: the source is empty, and nothing is deleted; if that is meant: {release}"
    if not told["held"]:
        return f"{name}: nothing is held"
    limit = f"; the limit is {told['limit']:,} within 10 minutes" if told.get("limit") is not None else ""
    return f"{name}: {told['held']:,} deletes are held since {since}{limit}; to let them go: {release}"


def release_words(done: Mapping[str, Any]) -> str:
    """What a release did."""
    if done.get("emptied"):
        return f"the source was emptied on purpose: {_counted(done['released'])} and every replica will be empty"
    if done["released"]:
        return _counted(done["released"])
    if done.get("was_behind"):
        return "nothing was held here; what replicas hold of this tree goes: all deletes up to now are taken for meant"
    return "nothing is held"


def chosen(told: Sequence[Mapping[str, Any]]) -> list[int]:
    """Which of these processes may be meant: those that hold something, else the producer."""
    holding = [number for number, one in enumerate(told) if one["held"] or _is_emptied(one)]
    return holding or [number for number, one in enumerate(told) if len(told) == 1 or one["role"] == "producer"]


def _is_emptied(told: Mapping[str, Any]) -> bool:
    return any(alarm["kind"] == _EMPTY for alarm in told.get("alarms") or ())


def _counted(released: int) -> str:
    return "1 delete goes now" if released == 1 else f"{released:,} deletes go now"
