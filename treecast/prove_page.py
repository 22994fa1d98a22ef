"""Decides how it reads what replicas proved that were asked for their digest, and which exit code that is. Asks nobody."""

from collections.abc import Mapping
from typing import Any

from common.codes import DONE, FAILED
from treecast.fleet_page import LISTED, Moment

_ORDER = ("differs", "silent", "gone", "unproved", "asked", "proved")
"""In which words come: those that need somebody first."""
_WORDS = {"differs": "DIFFER", "silent": "did not answer", "unproved": "not proved", "asked": "not yet heard"}


def sentence(found: Mapping[str, Any]) -> str:
    """All of it in one sentence: "297 of 300 proved to be equal in 0.2 s; 1 DIFFER, 2 gone"."""
    replicas: Mapping[str, Any] = found["replicas"]
    if not replicas:
        return "no replica was asked: the fleet has none, or none with these labels"
    counts = [(word, sum(one["word"] == word for one in replicas.values())) for word in _ORDER]
    proved = dict(counts)["proved"]
    count = "all" if proved == len(replicas) else f"{proved:,} of"
    told = f"{count} {len(replicas):,} proved to be equal in {found['seconds']:.1f} s"
    others = [f"{number:,} {_WORDS.get(word, word)}" for word, number in counts if number and word != "proved"]
    return "; ".join([told, ", ".join(others)]) if others else told


def lines(found: Mapping[str, Any], at: Moment, *, is_all: bool = False) -> list[str]:
    """One line for each that is not proved; `is_all`: for every one, and of a few in any case."""
    replicas: Mapping[str, Any] = found["replicas"]
    ordered = [name for word in _ORDER for name, one in replicas.items() if one["word"] == word]
    is_whole = is_all or len(ordered) <= LISTED
    wanted = ordered if is_whole else [name for name in ordered if replicas[name]["word"] != "proved"]
    shown = wanted if is_all else wanted[:LISTED]
    width = max((len(name) for name in shown), default=0)
    told = [f"  {name:<{width}}  {_line(replicas[name], found, at)}" for name in shown]
    if len(wanted) > len(shown):
        told.append(f"  and {len(wanted) - len(shown):,} more; see: treecast status --prove --all")
    return told


def _line(one: Mapping[str, Any], found: Mapping[str, Any], at: Moment) -> str:
    match one["word"]:
        case "proved":
            return f"proved {one['position']['sequence']:,} just now ({one['seconds']:.1f} s)"
        case "differs":
            return f"DIFFERS at {one['position']['sequence']:,}: {one['why']}"
        case "unproved":
            return f"not proved at {one['position']['sequence']:,}: {one['why']}"
        case "gone":
            return f"gone since {at(one['heard'])}" if one["heard"] else "never heard of"
    return f"did not answer within {found['seconds']:.0f} s"


def exit_code(found: Mapping[str, Any]) -> int:
    """0: every one that was asked is proved; else 1."""
    replicas = found["replicas"].values()
    return DONE if replicas and all(one["word"] == "proved" for one in replicas) else FAILED
