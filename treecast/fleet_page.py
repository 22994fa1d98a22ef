"""Decides how a fleet reads for a person: the sentence, the lines below it, and which exit code that is. Asks nobody.

It reads what `status` and `fleet` of a producer tell, as JSON (`producer.fleet_view`). `at`: says unix seconds as a
person there reads them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from common.codes import DONE, FAILED, PERSON_ALARMS, STOPPED
from common.labels import labels_text
from treecast.status_page import counted, duration, time_left

Moment = Callable[[float], str]

LISTED = 30
"""How many that are not equal have a line of their own, without `--all`."""
NAMED_IN_SENTENCE = 3
_ORDER = ("halted", "forked", "held", "gone", "new", "waiting", "problem", "copying", "behind", "equal")
"""In which words come: those that need somebody first."""
_NEEDS_PERSON = frozenset({"halted", "forked", "held"})
_SILENT = frozenset({"gone", "new"})
_DEAF = {
    "missing": "the queue that replicas speak into is not there",
    "refused": "the broker refuses this account",
    "blocked": "the broker takes nothing",
}
_WORDS = {"problem": "with problems", "waiting": "without room", "new": "never heard of", "held": "holding deletes"}


def sentence(fleet: Mapping[str, Any], at: Moment) -> str:
    """The fleet in one sentence: "297 of 300 equal at 481,223; 2 copying, 1 gone: fra7 since 14:02"; first that nobody can be
    heard, where that is so."""
    note = deaf_note(fleet, at)
    return f"{note}; as it was heard last: {_standing(fleet, at)}" if note else _standing(fleet, at)


def deaf_note(fleet: Mapping[str, Any], at: Moment) -> str:
    """Since when and why a producer hears nothing of replicas; "" while it does."""
    deaf = fleet.get("deaf")
    if not deaf:
        return ""
    since = "yet" if deaf["since"] is None else f"since {at(deaf['since'])}"
    return f"nothing is heard {since}: {_why_deaf(deaf, leads=bool(fleet.get('leading')))}"


def _why_deaf(deaf: Mapping[str, Any], *, leads: bool) -> str:
    if deaf["phase"] != "held":
        return _DEAF.get(deaf["phase"], "the broker is away")
    leader = deaf["detail"] or "another"
    return (
        f"{leader} still has the queue that replicas speak into"
        if leads
        else f"this producer does not lead, {leader} does"
    )


def _standing(fleet: Mapping[str, Any], at: Moment) -> str:
    replicas: Mapping[str, Any] = fleet["replicas"]
    if not replicas:
        return "no replica yet; add one: treecast replica add ID"
    parts = [_part(word, names, replicas, at) for word, names in _by_word(replicas) if word != "equal"]
    count = "all" if fleet["equal"] == fleet["of"] else f"{fleet['equal']:,} of"
    told = (
        f"{count} {fleet['of']:,} equal at {fleet['equal_at']:,}"
        if fleet["equal"]
        else f"none of {fleet['of']:,} equal"
    )
    return "; ".join([told, ", ".join(parts)]) if parts else told


def _part(word: str, names: Sequence[str], replicas: Mapping[str, Any], at: Moment) -> str:
    told = f"{len(names):,} {_WORDS.get(word, word)}"
    if len(names) > NAMED_IN_SENTENCE or word not in (*_NEEDS_PERSON, *_SILENT):
        return told
    return f"{told}: " + ", ".join(name + _since(word, replicas[name], at) for name in names)


def _since(word: str, one: Mapping[str, Any], at: Moment) -> str:
    return f" since {at(one['heard'])}" if word == "gone" and one.get("heard") else ""


def _by_word(replicas: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    found = [(word, [name for name, one in replicas.items() if one["word"] == word]) for word in _ORDER]
    return [(word, names) for word, names in found if names]


def lines(fleet: Mapping[str, Any], at: Moment, *, is_all: bool = False, limit_seconds: float = 120.0) -> list[str]:
    """One line for each replica that is not equal, those that need somebody first; `is_all`: for every one."""
    replicas: Mapping[str, Any] = fleet["replicas"]
    wanted = [name for word, names in _by_word(replicas) for name in names if is_all or word != "equal"]
    shown = wanted if is_all else wanted[:LISTED]
    width = max((len(name) for name in shown), default=0)
    found = [f"  {name:<{width}}  {replica_line(replicas[name], at, limit_seconds)}" for name in shown]
    if len(wanted) > len(shown):
        found.append(f"  and {len(wanted) - len(shown):,} more that are not equal; see: treecast status --all")
    return found


def replica_line(one: Mapping[str, Any], at: Moment, limit_seconds: float, *, is_short: bool = False) -> str:
    """How one replica stands. `is_short`: without what it is."""
    return ", ".join([*_parts(one, at, limit_seconds), *([] if is_short else _identity(one))])


def _parts(one: Mapping[str, Any], at: Moment, limit_seconds: float) -> Iterator[str]:
    word, details = one["word"], one.get("details") or {}
    yield _headline(one, at)
    lag = one.get("lag_seconds")
    if word not in ("equal", "new") and lag:
        over = " (over its limit)" if lag > limit_seconds else ""
        yield f"lacks what is {duration(lag)} old{over}"
    if one.get("stale_buckets"):
        yield counted(one["stale_buckets"], "bucket to compare")
    yield from time_left(details)
    for reason, text in (
        ("unmet_held", "delete held"),
        ("unmet_problem", "path with a problem"),
        ("unmet_body", "content missing"),
    ):
        count = details.get(reason)
        if isinstance(count, int) and count:
            yield counted(count, text)
    scrub = details.get("scrub")
    if isinstance(scrub, str) and scrub:
        yield f"scrub {scrub}"


def _identity(one: Mapping[str, Any]) -> Iterator[str]:
    if one.get("labels"):
        yield labels_text(one["labels"])
    if one.get("version"):
        yield f"version {one['version']}, wire {one['wire']}"


def _headline(one: Mapping[str, Any], at: Moment) -> str:
    match one["word"]:
        case "gone":
            return f"gone since {at(one['heard'])}"
        case "new":
            return "never heard of"
        case "halted":
            return "halted: a person is needed, see its log or treecast status there"
        case "forked":
            return "forked: the next epoch heals it: treecast epoch start"
        case "held":
            return "holds deletes: treecast hold release, here or there"
    return str(one["word"])


def problems(fleet: Mapping[str, Any]) -> Iterator[str]:
    """Every problem that a replica told of, one line each."""
    for name, one in fleet["replicas"].items():
        for text in one.get("problems") or ():
            yield f"  {name}: {text}"
        count = (one.get("details") or {}).get("unmet_problem")
        more = count - len(one.get("problems") or ()) if isinstance(count, int) else 0
        if more > 0:
            yield f"  {name}: and {more:,} more; see there: treecast status"


def exit_code(fleet: Mapping[str, Any], status: Mapping[str, Any], limit_seconds: float) -> int:
    """0: everyone is within the limit; 1: someone is behind it, or gone, or nobody can be heard; 4: a person is needed, there or
    here."""
    words = [one["word"] for one in fleet["replicas"].values()]
    if status.get("held") or any(alarm["kind"] in PERSON_ALARMS for alarm in status.get("alarms") or ()):
        return STOPPED
    if any(word in _NEEDS_PERSON for word in words):
        return STOPPED
    if status.get("deaf"):
        return FAILED
    return FAILED if any(is_behind(one, limit_seconds) for one in fleet["replicas"].values()) else DONE


def is_behind(one: Mapping[str, Any], limit_seconds: float) -> bool:
    """Whether a replica is behind the limit; one that is not heard of is."""
    lag = one.get("lag_seconds")
    return one["word"] in _SILENT or lag is None or lag > limit_seconds
