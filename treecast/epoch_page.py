"""Decides how a producer's epoch reads for a person. Asks nobody."""

from collections.abc import Iterator, Mapping
from typing import Any

WORDS = {
    "begun": "a new epoch has begun: every replica follows it, those that reported a fork too",
    "approved": "the source is taken as it is: what differs on the replicas is made equal to it",
    "taken over": "this producer publishes in the other's place once its source is scanned; the other ends with exit code 4",
    "noted": "no producer runs here: the next one with this journal does it",
}
"""What was done, by its word."""


def page(told: Mapping[str, Any], since: str) -> str:
    """One fact a line, what is to be done last. `since`: when the epoch was announced, as a person reads it."""
    return "\n".join(_lines(told, since))


def _lines(told: Mapping[str, Any], since: str) -> Iterator[str]:
    yield f"tree {told['tree']}: {_state(told)}"
    for label, value in _facts(told, since):
        yield f"  {label:<20} {value}"
    if told.get("doubt"):
        yield f"  {doubt_words(told['doubt'])}"
    if told.get("forked"):
        yield f"  a fork is reported by {', '.join(told['forked'])}: see that one producer is left, then: treecast epoch start"


def _facts(told: Mapping[str, Any], since: str) -> Iterator[tuple[str, str]]:
    yield "epoch", str(told["epoch"] or "none yet")
    yield "instance", told["instance"] or "none yet"
    yield "announced", since
    yield "sequence", f"{told['sequence']:,}"
    yield (
        "deletes released",
        f"up to {told['released']:,}" if told["released"] else "none: replicas judge by themselves",
    )
    yield "vouched for", "yes" if told["vouched"] else "no"
    yield "highest epoch seen", str(told["highest_epoch"])
    if told.get("leader"):
        yield "who leads", told["leader"]
    if told.get("wish"):
        yield "a person wants", f"to {told['wish']}, with the next start"


def _state(told: Mapping[str, Any]) -> str:
    standing = told.get("standing")
    if standing is None:
        return "no producer runs here"
    if told["announced"] and standing in ("leads", "takes over"):
        return "leads" if standing == "leads" else "has taken over"
    if told.get("leader") and standing == "waits":
        return "waits behind another producer"
    return "its epoch is not announced yet"


def doubt_words(doubt: Mapping[str, Any]) -> str:
    """What a comparison was, and what to do."""
    counts = f"{doubt['creates']:,} creates, {doubt['modifies']:,} modifies and {doubt['deletes']:,} deletes"
    return (
        f"compared with replica {doubt['replica']}: {counts}, more than {doubt['limit']:,}; nothing is published."
        " If the source is right: treecast epoch start; if not, bring the right files back"
    )
